"""Write an archive in one pass: each byte is read once, hashed in a thread beside the writing.

While it grows the archive is ``DEST.part``; ``DEST.part.d`` beside it holds the plan (what goes in, fixed at
the start), the digests so far, and marks up to where everything is on the disk. After an interruption the
work goes on at the last mark and gives the same bytes. The name ``DEST`` appears when all is there.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from staproj.errors import CancelledError, CheckError, LockedError, StorageError, UsageError
from staproj.project import atomic, bag
from staproj.project.bag import Chain, Entry, Oxum
from staproj.project.bag_copy import copy_file
from staproj.project.bag_stream import PlainSink, Sink, ZstdSink
from staproj.project.tarball import Member, header, padding

Tell = Callable[[int, int, str], None]
_CHUNK = 4 << 20
_MARK_BYTES = 1 << 30
_MARK_S = 20.0
_TELL_S = 0.1


@dataclass(frozen=True)
class Plan:
    """What goes into an archive, and what the bag is called.

    ``options`` must be the same when work is taken up again.
    """

    name: str
    options: Mapping[str, Any]
    info: Mapping[str, str]
    readme: str
    created: int
    entries: Iterable[Entry]
    stubs: Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Written:
    """What came of it."""

    files: int
    payload_bytes: int
    archive_bytes: int
    resumed_at: int
    problems: list[dict[str, str]]


def write_bag(
    dest: Path,
    make_plan: Callable[[], Plan],
    options: Mapping[str, Any],
    *,
    zstd: bool = False,
    resume: bool = False,
    keep_going: bool = False,
    tell: Tell = lambda done, total, what: None,
    check_room: Callable[[int], None] = lambda n_bytes: None,
) -> Written:
    """Write the archive ``dest``.

    Raises
    ------
    CheckError
        If a file differs from its record (``keep_going`` notes it in the archive instead).
    InputError
        If a file changed or went away while it was archived.
    UsageError
        If ``dest`` is there, or an unfinished archive that is not this one.
    """
    work = _Work(dest, zstd=zstd, keep_going=keep_going, tell=tell)
    with atomic.storage_errors(dest), work.locked(resume=resume):
        work.prepare(make_plan, options, check_room, resume=resume)
        try:
            return work.write()
        except KeyboardInterrupt:
            raise CancelledError(
                "stopped while the archive was written",
                where=str(work.part),
                hint="the same command with --resume goes on where it stopped",
            ) from None


class _Work:
    """One archive while it is written."""

    def __init__(self, dest: Path, *, zstd: bool, keep_going: bool, tell: Tell) -> None:
        self.dest = dest
        self.part = dest.with_name(dest.name + ".part")
        self.side = dest.with_name(dest.name + ".part.d")
        self.zstd, self.keep_going, self.tell = zstd, keep_going, tell
        self.head: dict[str, Any] = {}
        self.chain = Chain()
        self.tags: dict[str, str] = {}
        self.problems: list[dict[str, str]] = []
        self.done = self.count = 0
        self.safe = self.marked = (0, 0)
        self.lines: list[str] = []
        self.marked_when = (0, time.monotonic())
        self.told_when = 0.0

    @contextmanager
    def locked(self, *, resume: bool) -> Iterator[None]:
        """Let only one process write this archive."""
        if self.dest.exists() or self.dest.is_symlink():
            raise UsageError("there is such a file already", where=str(self.dest), hint="choose another name")
        if self.side.exists() and not resume:
            raise UsageError(
                "an unfinished archive of this name is there",
                where=str(self.part),
                hint=f"go on with --resume, or delete it and {self.side.name}",
            )
        self.side.mkdir(parents=True, exist_ok=True)
        with (self.side / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError("another process writes this archive", where=str(self.part)) from None
            except OSError:  # a file system without locks
                pass
            try:
                yield
            except BaseException:
                if not (self.side / "head.json").exists():  # nothing was begun
                    shutil.rmtree(self.side, ignore_errors=True)
                raise
        shutil.rmtree(self.side, ignore_errors=True)

    def prepare(
        self,
        make_plan: Callable[[], Plan],
        options: Mapping[str, Any],
        check_room: Callable[[int], None],
        *,
        resume: bool,
    ) -> None:
        """Read the plan of the unfinished archive, or make one."""
        wanted = json.loads(json.dumps(dict(options)))
        with suppress(StorageError):
            self.head = atomic.read_json(self.side / "head.json")
        if self.head and self.head["options"] != wanted:
            raise UsageError(
                "the unfinished archive was begun with other options",
                where=str(self.part),
                hint="--resume needs the same ones; or delete the unfinished archive and begin anew",
            )
        if not self.head:
            if resume and not self.part.exists():
                self.tell(0, 0, "nothing to go on with: beginning anew")
            self._write_plan(make_plan(), check_room)

    def _write_plan(self, plan: Plan, check_room: Callable[[int], None]) -> None:
        """Fix what goes in: from here on nothing of it may change."""
        self.part.unlink(missing_ok=True)
        (self.side / "done.jsonl").write_bytes(b"")
        n_bytes = n_files = 0
        with (self.side / "plan.jsonl").open("w", encoding="utf-8") as handle:
            for entry in plan.entries:
                handle.write(entry.to_line())
                n_bytes, n_files = n_bytes + entry.size, n_files + 1
        check_room(n_bytes)
        with (self.side / "stubs.json").open("w", encoding="utf-8") as handle:
            handle.writelines(bag.stubs_text(plan.stubs))
        self.head = {
            "options": dict(plan.options),
            "info": dict(plan.info),
            "readme": plan.readme,
            "created": plan.created,
            "bytes": n_bytes,
            "files": n_files,
            "bag": bag.bag_name(plan.name),
        }
        atomic.write_json(self.side / "head.json", self.head)

    # ---------------------------------------------------------------------------------------- writing
    def write(self) -> Written:
        """Write everything that is not there yet, and let the archive appear."""
        begin, offset = self.safe = self.marked = self._take_up()
        with self.part.open("r+b" if self.part.exists() else "w+b", buffering=0) as handle:
            handle.truncate(offset)
            handle.seek(offset)
            sink: Sink = ZstdSink(handle) if self.zstd else PlainSink(handle)
            resumed_at = self.done
            try:
                with ThreadPoolExecutor(1) as pool:
                    for entry in itertools.islice(self._entries(), begin, None):
                        self._one(entry, sink, pool)
                        self._mark_sometimes(sink, handle)
            except BaseException:
                with suppress(OSError):
                    sink.flush()
                    self._mark(handle)
                raise
            self._tail(sink)
            sink.finish()
            os.fsync(handle.fileno())
            size = handle.tell()
        self.part.rename(self.dest)
        atomic.fsync_dir(self.dest.parent)
        self.tell(self.total, self.total, "done")
        return Written(self.head["files"], self.head["bytes"], size, resumed_at, self.problems)

    @property
    def total(self) -> int:
        """Bytes of payload."""
        return int(self.head["bytes"])

    def _entries(self) -> Iterator[Entry]:
        """Yield the files of the archive in order, those of the bag itself first."""
        head, created = self.head, int(self.head["created"]) * 1_000_000_000
        oxum = Oxum(head["bytes"], head["files"])
        stubs = self.side / "stubs.json"
        yield bag.text_entry(bag.DECLARATION, bag.DECLARATION_TEXT, created)
        yield bag.text_entry(bag.INFO, bag.info_text(head["info"], oxum), created)
        yield bag.text_entry(bag.README, head["readme"], created)
        yield Entry(bag.STUBS, stubs.stat().st_size, created, str(stubs))
        with (self.side / "plan.jsonl").open(encoding="utf-8") as handle:
            for line in handle:
                yield Entry.from_line(line)

    def _member(self, entry: Entry) -> Member:
        plain = entry.member
        return Member(f"{self.head['bag']}/{plain.name}", plain.size, plain.mtime)

    def _one(self, entry: Entry, sink: Sink, pool: ThreadPoolExecutor) -> None:
        self._say(self.done, entry.name)
        headers = header(self._member(entry))
        sink.write(headers)
        if entry.text is not None:
            raw = entry.text.encode()
            sink.write(raw)
            found, problem = hashlib.sha256(raw).hexdigest(), ""
        else:
            found, problem = copy_file(
                entry, sink, pool, keep_going=self.keep_going, tell=self._tell_within(entry)
            )
        if entry.sha256 and found != entry.sha256:
            problem = problem or "its content differs from its record"
        if problem and not self.keep_going:
            raise CheckError(
                f"not archived: {problem}",
                where=entry.source,
                hint="`staproj verify` shows what is damaged; --keep-going archives it as it is and says so",
            )
        sink.write(bytes(padding(entry.size)))
        self._note(entry, headers, found, problem)
        self.lines.append(json.dumps([found, problem]) + "\n")
        offset = sink.end_member()
        if offset is not None:
            self.safe = (self.count, offset)

    def _tell_within(self, entry: Entry) -> Callable[[int], None]:
        """Return what is called with the bytes of a large file that are done."""
        return lambda done: self._say(self.done + done, entry.name)

    def _say(self, done: int, what: str) -> None:
        """Tell how far it is, a few times a second."""
        now = time.monotonic()
        if now - self.told_when >= _TELL_S:
            self.told_when = now
            self.tell(min(done, self.total), self.total, what)

    def _note(self, entry: Entry, headers: bytes, digest: str, problem: str) -> None:
        """Count a file that is in the archive."""
        self.chain.add(headers, bytes.fromhex(digest))
        self.count += 1
        if not entry.name.startswith(bag.DATA):
            self.tags[entry.name] = digest
        else:
            self.done += entry.size
        if problem:
            self.problems.append({"path": entry.name, "problem": problem, "sha256": digest})

    def _tail(self, sink: Sink) -> None:
        """Write the manifests (from the plan and the digests on disk) and the seal."""
        created = int(self.head["created"])
        self._flush_lines()
        if self.problems:
            text = json.dumps({"format": 1, "problems": self.problems}, indent=1, ensure_ascii=False) + "\n"
            self._tag(sink, bag.PROBLEMS, [text.encode()], created)
        self._tag(sink, bag.MANIFEST, self._manifest_lines(), created)
        self._tag(sink, bag.TAG_MANIFEST, [bag.tag_manifest(self.tags)], created)
        sink.write(bag.seal_bytes(self.head["bag"], self.chain))

    def _manifest_lines(self) -> Iterator[bytes]:
        with (self.side / "done.jsonl").open("rb") as done:
            digests = (json.loads(line)[0] for line in done if line.startswith(b"["))
            for entry, digest in zip(self._entries(), digests, strict=True):
                if entry.name.startswith(bag.DATA):
                    yield bag.manifest_line(digest, entry.name)

    def _tag(self, sink: Sink, name: str, pieces: Iterable[bytes], created: int) -> None:
        """Write a file of the bag whose size is known only when all of it is."""
        spool = self.side / "tag"
        digest, size = hashlib.sha256(), 0
        with spool.open("wb") as handle:
            for piece in pieces:
                handle.write(piece)
                digest.update(piece)
                size += len(piece)
        headers = header(Member(f"{self.head['bag']}/{name}", size, created))
        sink.write(headers)
        with spool.open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                sink.write(chunk)
        sink.write(bytes(padding(size)))
        self.chain.add(headers, digest.digest())
        self.tags[name] = digest.hexdigest()

    # ------------------------------------------------------------------------------- going on later
    def _mark_sometimes(self, sink: Sink, handle: BinaryIO) -> None:
        before, when = self.marked_when
        if self.done - before >= _MARK_BYTES or time.monotonic() - when >= _MARK_S:
            sink.flush()
            self._mark(handle)
            self.marked_when = (self.done, time.monotonic())

    def _mark(self, handle: BinaryIO) -> None:
        """Note up to where the archive is on the disk for certain (ends of files only)."""
        count, offset = self.safe
        if self.safe == self.marked or handle.tell() < offset:
            return
        os.fsync(handle.fileno())
        lines = self.lines[: count - self.marked[0]]
        with (self.side / "done.jsonl").open("a", encoding="utf-8") as done:
            done.writelines(lines)
            done.write(json.dumps({"files": count, "offset": offset}) + "\n")
            done.flush()
            os.fsync(done.fileno())
        del self.lines[: len(lines)]
        self.marked = self.safe

    def _flush_lines(self) -> None:
        with (self.side / "done.jsonl").open("a", encoding="utf-8") as done:
            done.writelines(self.lines)
        self.lines.clear()

    def _take_up(self) -> tuple[int, int]:
        """Return how many files are in the unfinished archive for certain, and where the next begins."""
        path = self.side / "done.jsonl"
        size = self.part.stat().st_size if self.part.exists() else 0
        count = offset = keep = position = 0
        with path.open("rb") as handle:
            for line in handle:
                position += len(line)
                mark = _mark_in(line)
                if mark is not None and mark[1] <= size:
                    (count, offset), keep = mark, position
        os.truncate(path, keep)
        with path.open("rb") as handle:
            digests = (json.loads(line) for line in handle if line.startswith(b"["))
            for entry, (digest, problem) in zip(self._entries(), digests, strict=False):
                self._note(entry, header(self._member(entry)), digest, problem)
        return count, offset


def _mark_in(line: bytes) -> tuple[int, int] | None:
    """Return number of files and offset that a line notes (``None``: it is of another kind, or torn)."""
    if not line.startswith(b"{"):
        return None
    try:
        found = json.loads(line)
        return int(found["files"]), int(found["offset"])
    except (ValueError, KeyError, TypeError):
        return None
