"""Index of runs: one line a run, so that lists need not open thousands of files.

It is a cache and never a source of truth. A line counts only while the file it was read from (``SEALED`` of a
complete run, ``state.jsonl`` of one that failed or broke off) is the very same one: size, time of writing and
the time of change that nobody can set. So an index that was deleted, torn, copied along, made elsewhere or
written to by two processes at once costs time and nothing else. Runs that are not at their end are always
looked at themselves.

A line is ``["<crc32>",[...]]``, the columns in the order of :class:`Row`; the last line of a run counts.
"""

from __future__ import annotations

import gc
import json
import math
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from staproj.errors import StaprojError
from staproj.project import atomic, reading, runs
from staproj.project.index_form import fits
from staproj.project.layout import RUN_NAME, Layout, RunDir, RunName

FORMAT = 1
FINAL = ("sealed", "failed", "interrupted")
_LINE_MAX = 262_144
_BYTES_A_RUN = 16_384
_BYTES_ANYWAY = 64 << 20
_SPARE_LINES = 200
_SMALL = 1 << 20
_LARGEST = 2**63
_IS_SEALED = 0
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ANY = RunDir(Path("r0001-any"))
_SPEC, _STATE, _OUTPUTS, _SEALED = (p.name for p in (_ANY.spec, _ANY.state, _ANY.outputs, _ANY.sealed))


class Row(NamedTuple):
    """What lists, histories and estimates need of one run.

    ``state`` is what became of it (sealed, failed, interrupted, running, unreachable); ``verdict`` its last
    word; ``items`` the tilt series; ``bytes`` the sizes of its outputs by class, in bytes; ``parents`` the
    runs it took inputs from; ``reads_raw`` tells that it read raw data; ``software`` the staproj of it.
    ``warning`` is ``None`` where the record is too old to tell. What cannot be read is ``None`` or empty.
    ``stamp`` says which file the line was read from.
    """

    directory: str
    run: str
    step: str
    stage: str | None
    state: str
    created: str | None
    who: str | None
    note: str
    items: list[str]
    wall_s: float | None
    cpu_s: float | None
    peak_rss_bytes: int | None
    verdict: str
    warning: bool | None
    software: str
    key: str | None
    bytes: dict[str, int]
    files: int
    parents: list[str]
    reads_raw: bool
    started: float | None
    stamp: list[int]

    @property
    def number(self) -> int:
        """Number of the run."""
        return int(self.run[1:])

    @property
    def total_bytes(self) -> int:
        """Size of all outputs, bytes."""
        return sum(self.bytes.values())


def rows(layout: Layout, *, write: bool = True) -> list[Row]:
    """Return one row a run, numbers rising.

    Lines of the index that do not hold any more are read again from the files; the index is brought up to
    date where it may be written (``write``).
    """
    collects = gc.isenabled()
    gc.disable()  # tens of thousands of small lists are made, and none of them is garbage
    try:
        return _rows(layout, write=write)
    finally:
        if collects:
            gc.enable()


def _rows(layout: Layout, *, write: bool) -> list[Row]:
    known, lines = _load(layout)
    base = f"{layout.runs}{os.sep}"
    found: list[Row] = []
    new: list[Row] = []
    for _, directory in sorted(_directories(layout)):
        stamp = _stamp(base + directory)
        line = known.get(directory)
        if line is None or line.stamp != stamp or not stamp:
            line = _read(RunDir(layout.runs / directory), stamp)
            if line.stamp:
                new.append(line)
        found.append(line)
    if write and new:
        _bring_up_to_date(layout, found, new, lines)
    elif write and lines > 2 * len(found) + _SPARE_LINES:
        _bring_up_to_date(layout, found, found, lines)
    return found


def row(layout: Layout, run: RunDir) -> Row:
    """Return the row of one run, read from its files."""
    return _read(run, _stamp(str(run.path)))


def note(layout: Layout, run: RunDir) -> None:
    """Add a run that has just come to its end; a cache is not worth an error or a wait for the disk."""
    with suppress(OSError, StaprojError, ValueError):
        made = row(layout, run)
        if made.stamp:
            _append(layout.index, [made])


def drop(layout: Layout) -> None:
    """Delete the index; the next reader makes it again."""
    with suppress(OSError):
        layout.index.unlink()


def check(layout: Layout) -> dict[str, Any]:
    """Compare every line that counts with the files; return ``{"lines", "rows", "wrong": [run, ...]}``."""
    known, lines = _load(layout)
    wrong = []
    for name in sorted(layout.iter_runs(), key=_number):
        run = layout.run(name)
        stamp = _stamp(str(run.path))
        line = known.get(name.directory)
        if line is not None and stamp and line.stamp == stamp and line != _read(run, stamp):
            wrong.append(name.id)
    return {"lines": lines, "rows": len(known), "wrong": wrong}


def _directories(layout: Layout) -> Iterator[tuple[int, str]]:
    """Yield number and name of each run directory (unsorted, one listing; nothing is made of the names)."""
    try:
        with os.scandir(layout.runs) as entries:
            for entry in entries:
                found = RUN_NAME.match(entry.name)
                if found:
                    yield int(found[1]), entry.name
    except OSError:
        return


def _number(name: RunName) -> tuple[int, str]:
    return name.number, name.step


def _stamp(directory: str) -> list[int]:
    """Return what identifies the file a run's last word stands in (empty if there is none)."""
    for kind, name in enumerate((_SEALED, _STATE)):
        try:
            found = os.stat(f"{directory}{os.sep}{name}")  # noqa: PTH116 - thousands of them, text is quicker
        except (OSError, ValueError):
            continue
        return [kind, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    return []


def _read(run: RunDir, stamp: list[int]) -> Row:
    """Read the row of one run; without a last word it gets no stamp, so that no line is kept of it."""
    name = run.name
    spec, state_text, outputs = _contents(str(run.path))
    sealed = stamp[:1] == [_IS_SEALED]
    event = _last_event(state_text, "sealed") if sealed else {}
    started = _last_event(state_text, "started").get("time") if event else None
    state = runs.RunState("sealed", event, started) if event else _state_of(run)
    event = state.event
    last = event.get("event")
    final = (state.state == "sealed" and sealed) or (state.state == last and last in FINAL[1:])
    if state.state == "sealed" and "wall_s" not in event:
        with suppress(StaprojError):
            event = {**atomic.read_json(run.sealed), **event}
    spec = spec if spec.get("run") == name.id else {}
    sizes, files = _sizes(outputs) if state.state == "sealed" else ({}, 0)
    software = spec.get("software")
    return Row(
        directory=name.directory,
        run=name.id,
        step=name.step,
        stage=_text(spec.get("stage")),
        state=state.state,
        created=_text(spec.get("created")),
        who=_text(spec.get("who")),
        note=_text(spec.get("note")) or "",
        items=_texts(spec.get("items")),
        wall_s=_real(event.get("wall_s")),
        cpu_s=_real(event.get("cpu_s")),
        peak_rss_bytes=_whole(event.get("peak_rss_bytes")),
        verdict=_text(event.get("verdict")) or _text(event.get("message")) or "",
        warning=event.get("warning") if isinstance(event.get("warning"), bool) else None,
        software=_text(software.get("staproj")) or "" if isinstance(software, dict) else "",
        key=_text(spec.get("key")),
        bytes=sizes,
        files=files,
        parents=_texts(spec.get("parents")),
        reads_raw=bool(spec.get("data")),
        started=_real(state.started),
        stamp=list(stamp) if final else [],
    )


def _state_of(run: RunDir) -> runs.RunState:
    """Return what became of a run; one whose state cannot be read broke off."""
    try:
        return runs.state_of(run)
    except StaprojError:
        return runs.RunState("interrupted", {})


def _contents(directory: str) -> tuple[dict[str, Any], bytes, dict[str, Any]]:
    """Return spec, text of the state, and outputs of a run: regular files below its own directory only."""
    try:
        base = os.open(directory, _OPEN | os.O_DIRECTORY)
    except OSError:
        return {}, b"", {}
    try:
        return _object(_bytes(base, _SPEC)), _bytes(base, _STATE), _object(_bytes(base, _OUTPUTS))
    finally:
        os.close(base)


def _bytes(base: int, name: str) -> bytes:
    try:
        fd = os.open(name, _OPEN, dir_fd=base)
    except OSError:
        return b""
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > reading.MAX_RECORD_BYTES:
            return b""
        return os.read(fd, found.st_size)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object; what is large or unusual goes through the careful reader."""
    try:
        plain = len(raw) < _SMALL and b"\\u" not in raw
        value = json.loads(raw.decode()) if plain else reading.parse_json(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _last_event(raw: bytes, kind: str) -> dict[str, Any]:
    """Return the last whole line of an event, found without reading the others."""
    place = raw.rfind(b'"event": "%s"' % kind.encode())
    if place < 0:
        return {}
    end = raw.find(b"\n", place)
    event = _object(raw[raw.rfind(b"\n", 0, place) + 1 : end if end >= 0 else len(raw)])
    return event if event.get("event") == kind else {}


def _sizes(outputs: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """Return bytes by class and the number of outputs of a sealed run."""
    found: dict[str, int] = {}
    files = outputs.get("files")
    if not isinstance(files, list):
        return found, 0
    for entry in files:
        if isinstance(entry, dict):
            size, kind = _whole(entry.get("size")), _text(entry.get("class")) or "final"
            found[kind] = found.get(kind, 0) + (size or 0)
    return found, len(files)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str]:
    return value if isinstance(value, list) and all(isinstance(part, str) for part in value) else []


def _real(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return value if known and math.isfinite(value) and abs(value) < _LARGEST else None


def _whole(value: Any) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool)
    return value if known and abs(value) < _LARGEST else None


def _load(layout: Layout) -> tuple[dict[str, Row], int]:
    """Return the last whole line of every run, and how many lines there are."""
    try:
        with reading.open_regular(layout.index) as handle:
            size = os.fstat(handle.fileno()).st_size
            if size > _BYTES_ANYWAY and size > _BYTES_A_RUN * sum(1 for _ in layout.iter_runs()):
                return {}, size // _BYTES_A_RUN
            raw = handle.read()
    except OSError:
        return {}, 0
    lines = raw.split(b"\n")
    return _parsed(lines), len(lines)


def _parsed(lines: list[bytes]) -> dict[str, Row]:
    whole = [line[12:-1] for line in lines if 14 < len(line) < _LINE_MAX and _is_whole(line)]
    try:
        parsed = json.loads(b"[" + b",".join(whole) + b"]")
    except (ValueError, RecursionError):
        parsed = []
    width = len(Row._fields)
    known: dict[str, Row] = {}
    for values in parsed:
        if isinstance(values, list) and len(values) == width and fits(values):
            known[values[0]] = Row._make(values)
    return known


def _is_whole(line: bytes) -> bool:
    return line[:2] == b'["' and line[2:10] == b"%08x" % zlib.crc32(line[12:-1])


def _line(made: Row) -> bytes:
    body = json.dumps(made, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return b'["%08x",%s]' % (zlib.crc32(body), body)


def _bring_up_to_date(layout: Layout, found: list[Row], new: list[Row], lines: int) -> None:
    """Append what is new, or write the index again where much of it has been superseded."""
    from staproj.project import schema

    with suppress(OSError, ValueError, StaprojError):
        if not schema.may_write(layout):
            return
        keep = [row for row in found if row.stamp]
        if lines + len(new) > 2 * len(keep) + _SPARE_LINES or len(new) > len(keep) // 2:
            _replace(layout.index, keep)
        else:
            _append(layout.index, new)


def _append(path: Path, made: Iterable[Row]) -> None:
    """Add lines in one write, below a torn last line if there is one."""
    data = b"".join(_line(one) + b"\n" for one in made)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o666)
    try:
        size = os.fstat(fd).st_size
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        os.write(fd, b"\n" + data if torn else data)
    finally:
        os.close(fd)


def _replace(path: Path, made: Iterable[Row]) -> None:
    """Write the index anew; without fsync, for what is lost is only a cache."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(b"".join(_line(one) + b"\n" for one in made))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
