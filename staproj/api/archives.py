"""Archives: write one, check one (or a project), take a project out of one."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from staproj.engine import archive as choosing
from staproj.engine import archive_files, verify
from staproj.engine.restore import restore as restore_archive
from staproj.errors import StorageError, UsageError
from staproj.project import bag
from staproj.project.bag_write import write_bag
from staproj.project.layout import MANIFEST, Layout, find_root

Tell = Callable[[int, int, str], None]
_PACKED = (".zst", ".zstd", ".gz", ".tgz", ".bz2", ".xz", ".zip", ".7z")
CRATE_RUNS, CRATE_FILES = 500, 20_000


def ignore(done: int, total: int, what: str) -> None:
    """Tell nobody."""


class Archives:
    """Archives of one project."""

    def __init__(self, root: Path) -> None:
        self._layout = Layout(root)

    def write(
        self,
        dest: str | Path,
        *,
        zstd: bool = False,
        without: Sequence[str] = (),
        runs: Sequence[str] | None = None,
        include_raw: bool = False,
        resume: bool = False,
        keep_going: bool = False,
        tell: Tell = ignore,
    ) -> dict[str, Any]:
        """Write an archive: a BagIt bag in a tar file, every byte read once.

        ``without`` names classes of files that stay behind (final, intermediate, scratch, raw, exports,
        other); ``runs`` confines it to some runs or steps, with the records of all they come from;
        ``include_raw`` takes raw data from outside the project too. ``tell(done, total, what)`` is told how
        far it is, in bytes.

        Raises
        ------
        CheckError
            If a file differs from its record (``keep_going`` archives it as it is and says so).
        CancelledError
            If the person stopped it; ``resume`` goes on.
        """
        target = Path(dest)
        names, asked = _asked(without, runs, include_raw=include_raw)
        if target.suffix.lower() in _PACKED and not (zstd and target.suffix.lower() in (".zst", ".zstd")):
            raise UsageError(
                f"an archive is a tar file, and {target.suffix} stands for a compressed one",
                where=str(target),
                hint="name it .tar, or .tar.zst with --zstd",
            )
        if not target.parent.is_dir():
            raise UsageError("there is no such directory", where=str(target.parent))
        options = {
            "project": str(self._layout.root.resolve()),
            "zstd": zstd,
            "without": sorted(set(names)),
            "runs": asked,
            "include_raw": include_raw,
        }
        side = [target.with_name(target.name + end) for end in ("", ".part", ".part.d")]
        made: dict[str, Any] = {"left_out": []}

        def plan() -> Any:
            chosen = choosing.select(
                self._layout,
                without=names,
                only=asked,
                include_raw=include_raw,
                keep_going=keep_going,
                avoid=side,
            )
            made["left_out"] = chosen.left_out
            return archive_files.make_plan(chosen, options, lambda: _crate(chosen))

        def check_room(n_bytes: int) -> None:
            free = shutil.disk_usage(target.parent).free
            if not zstd and n_bytes > free:
                raise StorageError(
                    f"the archive needs {n_bytes} bytes, and {free} are free",
                    where=str(target.parent),
                    hint="--without intermediate leaves the bulk behind; --zstd compresses",
                )

        written = write_bag(
            target,
            plan,
            options,
            zstd=zstd,
            resume=resume,
            keep_going=keep_going,
            tell=tell,
            check_room=check_room,
        )
        return {"archive": str(target), **asdict(written), **made}

    def expect(
        self, *, without: Sequence[str] = (), runs: Sequence[str] | None = None, include_raw: bool = False
    ) -> dict[str, Any]:
        """Say how large an archive would be and what would stay behind; nothing is written.

        Returns ``{"files", "payload_bytes", "runs", "stays", "raw_outside", "left_out"}`` (the RO-Crate
        metadata, which is made on the way, is not counted). ``stays``: ``{class: {"files", "bytes"}}`` of
        outputs that would only be listed; ``raw_outside``: how many files of raw data would; ``left_out``:
        what cannot be archived (``path`` and ``why``). Files are not compared with their records here.
        """
        names, asked = _asked(without, runs, include_raw=include_raw)
        chosen = choosing.select(
            self._layout, without=names, only=asked, include_raw=include_raw, keep_going=True
        )
        plan = archive_files.make_plan(chosen, {}, lambda: None)
        files = n_bytes = raw_outside = 0
        for entry in plan.entries:
            files, n_bytes = files + 1, n_bytes + entry.size
        stays: dict[str, dict[str, int]] = {}
        for stub in plan.stubs:
            if stub.get("class") == "raw":
                raw_outside += stub["archived_as"] is None
            elif "class" in stub:
                told = stays.setdefault(str(stub["class"]), {"files": 0, "bytes": 0})
                told["files"] += 1
                told["bytes"] += int(stub["size"])
        return {
            "files": files,
            "payload_bytes": n_bytes,
            "runs": len(chosen.records),
            "stays": stays,
            "raw_outside": raw_outside,
            "left_out": chosen.left_out,
        }

    def verify(
        self, *, runs: Sequence[str] | None = None, raw: bool = False, tell: Tell = ignore
    ) -> dict[str, Any]:
        """Compare all files of sealed runs (of some, with ``runs``) with their digests."""
        asked = [text for part in runs for text in part.split(",") if text] if runs else None
        return _told(verify.verify_project(self._layout, only=asked, raw=raw, tell=tell))


def _asked(
    without: Sequence[str], runs: Sequence[str] | None, *, include_raw: bool
) -> tuple[list[str], list[str] | None]:
    """Return classes and runs one by one, of texts with commas."""
    names = [text.strip() for part in without for text in part.split(",") if text.strip()]
    asked = [text.strip() for part in runs for text in part.split(",") if text.strip()] if runs else None
    if "raw" in names and include_raw:
        raise UsageError("--without raw and --include-raw exclude each other", hint="give one of them")
    return names, asked


def verify_path(
    path: str | Path, *, runs: Sequence[str] | None = None, raw: bool = False, tell: Tell = ignore
) -> dict[str, Any]:
    """Check an archive, an archive that was unpacked with tar, or the project at (or above) a directory.

    Returns ``{"what", "ok", "files", "n_bytes", "runs", "not_there", "damage": [{"file", "run", "problem"}],
    "notes"}``.

    Raises
    ------
    FormatError
        If the file is no archive of staproj.
    """
    target = Path(path)
    if target.is_dir():
        if (target / bag.DECLARATION).is_file():
            return _told(verify.verify_bag(target, tell))
        return Archives(find_root(target)).verify(runs=runs, raw=raw, tell=tell)
    if not target.exists():
        raise UsageError("there is no such file or directory", where=str(target))
    if runs or raw:
        raise UsageError("--runs and --raw are for projects", hint="an archive is always checked as a whole")
    return _told(verify.verify_archive(target, tell))


def restore(
    archive: str | Path,
    directory: str | Path,
    *,
    run: str | None = None,
    max_bytes: int | None = None,
    tell: Tell = ignore,
) -> dict[str, Any]:
    """Take a project (or one run, into a project that has its records) out of an archive, checking all of it.

    Raises
    ------
    CheckError
        If the archive is damaged; nothing is left behind then.
    FormatError
        If it is no archive of staproj, or one that should not be unpacked.
    """
    done = restore_archive(Path(archive), Path(directory), run=run, max_bytes=max_bytes, tell=tell)
    return {**asdict(done), "directory": str(done.directory)}


def _told(found: verify.Verified) -> dict[str, Any]:
    damage = [{"file": d.file, "run": d.run, "problem": d.problem} for d in found.damage]
    return {
        "what": found.what,
        "ok": not damage,
        "files": found.files,
        "n_bytes": found.n_bytes,
        "runs": found.runs,
        "not_there": found.not_there,
        "damage": damage,
        "notes": found.notes,
    }


def _crate(chosen: choosing.Selection) -> str | None:
    """Return the RO-Crate metadata of the archive.

    Of very many runs only those that stand for a step, and what they come from, are told: such a list is for
    people and programs to read, and is made in memory. ``None`` if these have too many files as well.
    """
    from staproj.api import crate
    from staproj.engine import provenance
    from staproj.engine.view import View
    from staproj.project import versions

    view = View.open(chosen.layout.root)
    told = list(chosen.records)
    if len(told) > CRATE_RUNS or sum(chosen.listed_files.values()) > CRATE_FILES:
        told, _ = provenance.ancestry(view, versions.current_heads(chosen.layout).values())
        told = [run for run in told if run in chosen.dirs]
    if sum(chosen.listed_files.get(run, 0) for run in told) > CRATE_FILES:
        return None
    place = functools.partial(choosing.place_of, chosen)
    content = crate.crate(view, told, where=place, extra_files=[MANIFEST])
    for entity in content["@graph"]:
        if entity["@id"] == "./":  # the state of the project, not the moment: the same archive each time
            entity["datePublished"] = chosen.created_text.replace("Z", "+00:00")
    return crate.write_text(content)
