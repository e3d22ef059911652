"""The files of an archive, in order: records first, then outputs, then everything else.

An output that stays behind (its class is left out, or it was cleared before) is listed in the run's
``CLEARED`` with size and digest, so that the project that comes out of the archive knows what it lacks.
"""

from __future__ import annotations

import json
import os
import stat
import time
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import staproj
from staproj.engine.archive import Selection, raw_is_in, raw_is_met, raw_name
from staproj.errors import CheckError, ProjectError
from staproj.project import atomic, bag, checks, cleared, versions
from staproj.project.bag import Entry
from staproj.project.bag_write import Plan
from staproj.project.layout import RUN_ID, Layout, RunDir
from staproj.project.process import user_name

NOT_ARCHIVED = "not in the archive"
_SMALL = 1 << 20
_CRATE = bag.CRATE.removeprefix(bag.DATA)

README = """This is the archive of a staproj project: subtomogram averaging (cryo-ET), from movies to maps.

Unpack it with `tar xf` (after `zstd -d` where its name ends in .zst). What comes out is a BagIt bag:
`sha256sum -c manifest-sha256.txt` checks every file, and so does any BagIt program.

data/                  the project directory as it was. `staproj restore` checks and unpacks it in one go.
data/ro-crate-metadata.json   what was computed from what, as an RO-Crate (if there is one)
data/staproj.toml      what was wanted: steps, inputs, parameters (TOML)
data/versions/         staproj.toml and the valid run of every step at earlier moments (TOML)
data/annot/            titles, ratings and notes of people (TOML)
data/runs/rNNNN-STEP/  one run of one step:
    spec.json          what it was made from: parameters and where they come from, inputs and their digests
    env.json           software and machine; state.jsonl and log/ tell how it went
    meta.h5            metrics, tables, curves and pictures (HDF5; units are the endings of names)
    out/               results: HDF5 files that describe them, images and volumes as MRC
    outputs.json       size and SHA-256 of every result
    CLEARED            results that are not here, with size and SHA-256
data/raw/ or data/raw-outside/   raw data from outside the project, if it was archived
stubs.json             everything that is only listed: results left out, raw data with fingerprints
problems.json          files that were not what their record said when archived (only if there were any)
archive-sha256.txt     one digest over all headers and contents before it; `staproj verify` checks it

Positions are in angstrom from the centre of the tomogram. Everything is text, TOML, JSON, HDF5 or MRC.
"""


def make_plan(chosen: Selection, options: Mapping[str, Any], crate: Callable[[], str | None]) -> Plan:
    """Return everything that goes into the archive; the files are looked at as the plan is read.

    ``crate`` is called for the RO-Crate metadata; where it gives none (too many files), bag-info says so.
    """
    count(chosen)
    text = crate()
    name, uuid = _identity(chosen.layout)
    left = [*chosen.without, *(["outputs of all other runs"] if chosen.partial else [])]
    info = {
        "Bagging-Date": time.strftime("%Y-%m-%d", time.gmtime()),
        "Bag-Software-Agent": f"staproj {staproj.__version__}",
        "External-Description": f"staproj project {name}" + (", part of it" if chosen.partial else ""),
        "External-Identifier": uuid or name,
        "Contact-Name": user_name(),
        "Staproj-Runs": " ".join(sorted(chosen.full)) if chosen.partial else "all",
        "Staproj-Left-Out": ", ".join(left) or "nothing",
        "Staproj-Crate": _CRATE if text is not None else "none: too many files",
    }
    return Plan(name, options, info, README, chosen.created, _entries(chosen, text), _stubs(chosen))


def count(chosen: Selection) -> None:
    """Note which outputs are only listed, and how many each run has."""
    for run in chosen.records:
        directory = chosen.dirs[run]
        if directory.is_sealed():
            base = chosen.layout.relative(directory.out)
            listed = _listed_outputs(directory)
            chosen.listed_files[run] = len(listed)
            chosen.absent.update(
                f"{base}/{entry['path']}" for entry in _only_listed(chosen, directory, listed)
            )


def _entries(chosen: Selection, text: str | None) -> Iterator[Entry]:
    """Yield the payload: records of everything first, then the files."""
    if text is not None:
        yield chosen.text(_CRATE, text)
    yield from _small_files(chosen)
    for run in chosen.records:
        yield from _records_of(chosen, chosen.dirs[run])
    for run in chosen.records:
        if chosen.dirs[run].is_sealed():
            yield from _outputs_of(chosen, chosen.dirs[run])
    if not chosen.partial:
        yield from _everything_else(chosen)
    yield from _raw_files(chosen)


def _small_files(chosen: Selection) -> Iterator[Entry]:
    """Yield manifest, versions and notes as they are at this moment: they may change while we write."""
    layout = chosen.layout
    yield from _copied(chosen, layout.manifest)
    for number in chosen.versions:
        yield from _copied(chosen, layout.version(number))
    yield from _copied(chosen, layout.version_tags)
    if chosen.partial:
        yield _version_of_part(chosen)
    for path in sorted(layout.annotations.glob("*")):
        if not chosen.partial or not RUN_ID.match(path.stem) or path.stem in chosen.records:
            yield from _copied(chosen, path)
    yield from _copied(chosen, layout.counter)


def _copied(chosen: Selection, path: Path) -> Iterator[Entry]:
    """Yield a small file with its content as it is now."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(facts.st_mode):
        chosen.leave_out(chosen.layout.relative(path), "not a regular file")
        return
    found = chosen.entry(chosen.layout.relative(path), facts)
    if found is None:
        return
    if facts.st_size <= _SMALL:
        with suppress(UnicodeDecodeError):
            yield bag.text_entry(found.name, path.read_bytes().decode(), facts.st_mtime_ns)
            return
    yield found


def _version_of_part(chosen: Selection) -> Entry:
    """Return a version of its own for an archive of some runs: only they stand for their steps in it."""
    layout = chosen.layout
    heads = {step: run for step, run in versions.current_heads(layout).items() if run in chosen.records}
    for run in sorted(chosen.full):
        heads.setdefault(chosen.dirs[run].name.step, run)
    last = max((directory.name.number for directory in chosen.dirs.values()), default=0)
    why = f"archive of {', '.join(sorted(chosen.full))} with the records they come from"
    version = versions.Version(
        number=max(chosen.versions, default=0) + 1,
        created=chosen.created_text,
        who=user_name(),
        why=why,
        last_run=last,
        heads=heads,
        manifest=layout.manifest.read_text(encoding="utf-8"),
    )
    return chosen.text(layout.relative(layout.version(version.number)), versions.to_toml(version))


def _records_of(chosen: Selection, run: RunDir) -> Iterator[Entry]:
    """Yield everything of a run but its outputs and what belongs to work going on."""
    sealed = run.is_sealed()
    proof = _proof(run) if sealed else {}
    base = chosen.layout.relative(run.path)
    skip = (run.out, run.heartbeat, run.cancel, run.cleared, *run.attempts())
    for stored, facts in _walk(chosen, base, {chosen.layout.relative(path) for path in skip}):
        if not sealed and stored == chosen.layout.relative(run.state):
            yield chosen.text(stored, _closed_state(run), facts.st_mtime_ns)
            continue
        found = chosen.entry(stored, facts, proof.get(stored.removeprefix(base + "/"), ""))
        if found is not None:
            yield found
    lacking = _absent_outputs(chosen, run)
    if lacking:
        yield chosen.text(chosen.layout.relative(run.cleared), _cleared_text(chosen, run, lacking))


def _outputs_of(chosen: Selection, run: RunDir) -> Iterator[Entry]:
    """Yield the outputs of a sealed run that go in; links are not followed, wherever they stand."""
    base = chosen.layout.relative(run.out)
    listed = {f"{base}/{entry['path']}": entry for entry in _listed_outputs(run)}
    others = run.id in chosen.full and "other" not in chosen.without
    for stored, facts in _walk(chosen, base, chosen.absent):
        entry = listed.pop(stored, None)
        if entry is None and not others:
            continue
        if entry is not None and facts.st_size != entry["size"]:
            _complain(chosen, stored, "an output has another size than when it was sealed", kept=True)
        found = chosen.entry(stored, facts, str(entry["sha256"]) if entry is not None else "")
        if found is not None:
            yield found
    for stored in listed:
        if stored not in chosen.absent:
            _complain(chosen, stored, "an output is missing, or not a regular file")


def _everything_else(chosen: Selection) -> Iterator[Entry]:
    """Yield exports, raw data inside the project, and whatever else people keep in the directory."""
    layout = chosen.layout
    own = (layout.manifest, layout.runs, layout.versions, layout.annotations, layout.private)
    exports = layout.relative(layout.exports) + "/"
    for stored, facts in _walk(chosen, "", {_CRATE, *(layout.relative(path) for path in own)}):
        kind = "raw" if stored in chosen.raw else "exports" if stored.startswith(exports) else "other"
        if kind not in chosen.without:
            found = chosen.entry(stored, facts)
            if found is not None:
                yield found


def _raw_files(chosen: Selection) -> Iterator[Entry]:
    """Yield raw data that the directory walk has not met: outside the project, or of an archive in part."""
    if not chosen.include_raw:
        return
    for stored in chosen.raw:
        name = raw_name(chosen, stored)
        path = chosen.layout.absolute(stored)
        if raw_is_met(chosen, stored):
            continue
        try:
            facts = path.stat()
        except OSError:
            chosen.leave_out(stored, "raw data that is not there")
            continue
        if stat.S_ISREG(facts.st_mode) and chosen.usable(name):
            yield Entry(name, facts.st_size, facts.st_mtime_ns, os.path.realpath(path))


def _stubs(chosen: Selection) -> Iterator[dict[str, Any]]:
    """Yield what is only listed: outputs left out, raw data with fingerprints, files that cannot go in."""
    for run in chosen.records:
        directory = chosen.dirs[run]
        for entry in _absent_outputs(chosen, directory):
            path = chosen.layout.relative(directory.out / str(entry["path"]))
            digest = str(entry["sha256"]).removeprefix("sha256:")
            kind = entry.get("class", "final")
            yield {"path": path, "size": entry["size"], "sha256": digest, "class": kind}
    for stored, fingerprint in chosen.raw.items():
        archived = raw_name(chosen, stored) if raw_is_in(chosen, stored) else None
        yield {"path": stored, "fingerprint": fingerprint, "class": "raw", "archived_as": archived}
    yield from chosen.left_out


def _listed_outputs(run: RunDir) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = checks.outputs(atomic.read_json(run.outputs), str(run.outputs))["files"]
    return files


def _stays_behind(chosen: Selection, run: RunDir, entry: Mapping[str, Any]) -> bool:
    return run.id not in chosen.full or entry.get("class", "final") in chosen.without


def _only_listed(
    chosen: Selection, run: RunDir, listed: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the outputs of a run that do not go in: left out, or cleared before."""
    gone = cleared.cleared_paths(run)
    for entry in listed:
        if _stays_behind(chosen, run, entry) or (
            entry["path"] in gone and not (run.out / str(entry["path"])).exists()
        ):
            yield entry


def _absent_outputs(chosen: Selection, run: RunDir) -> list[dict[str, Any]]:
    """Return the outputs of a run that were found to be only listed."""
    if not chosen.absent or run.id not in chosen.listed_files:
        return []
    base = chosen.layout.relative(run.out)
    return [entry for entry in _listed_outputs(run) if f"{base}/{entry['path']}" in chosen.absent]


def _complain(chosen: Selection, stored: str, problem: str, *, kept: bool = False) -> None:
    """Stop at damage; with --keep-going note what is not there (what is damaged is noted when it is read)."""
    if not chosen.keep_going:
        raise CheckError(
            problem,
            where=stored,
            hint="`staproj verify` shows all that is damaged; --keep-going archives what is there",
        )
    if not kept:
        chosen.leave_out(stored, problem)


def _cleared_text(chosen: Selection, run: RunDir, lacking: Sequence[Mapping[str, Any]]) -> str:
    """Return the list of outputs that the project from this archive will lack."""
    before = cleared.read(run)
    content = {
        "format": cleared.FORMAT,
        "cleared": [{key: entry[key] for key in ("path", "size", "sha256")} for entry in lacking],
        "time": chosen.created_text,
        "who": user_name(),
        "why": NOT_ARCHIVED if any(_stays_behind(chosen, run, e) for e in lacking) else before.get("why", ""),
        "trash": None,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _closed_state(run: RunDir) -> str:
    """Return the events of a run that never came to its end, closed: no process works on it in a copy."""
    events = atomic.read_lines(run.state)
    if not any(event.get("event") in ("failed", "interrupted") for event in events[-1:]):
        last = events[-1].get("time") if events else None
        events.append({"time": last, "event": "interrupted", "message": "before it was archived"})
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)


def _proof(run: RunDir) -> dict[str, str]:
    """Return the digests of the records that the seal holds."""
    found = atomic.read_json(run.sealed).get("sha256")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _identity(layout: Layout) -> tuple[str, str]:
    """Return name and unique id of the project, as far as the manifest can be read."""
    try:
        table = tomllib.loads(layout.manifest.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError) as error:
        raise ProjectError("the manifest cannot be read", where=str(layout.manifest)) from error
    name = str(table.get("name") or layout.root.name) if isinstance(table, dict) else layout.root.name
    return name, str(table.get("uuid", "")) if isinstance(table, dict) else ""


def _walk(chosen: Selection, folder: str, skip: Collection[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the regular files below a directory in order; links and devices are noted as left out."""
    try:
        with os.scandir(chosen.layout.root / folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    prefix = folder + "/" if folder else ""
    for entry in entries:
        stored = prefix + entry.name
        if (
            stored in skip
            or stored in chosen.avoid
            or (entry.name[0] == "." and entry.name.endswith(".part"))
        ):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(chosen, stored, skip)
        elif entry.is_file(follow_symlinks=False):
            yield stored, entry.stat(follow_symlinks=False)
        else:
            chosen.leave_out(stored, "a link" if entry.is_symlink() else "not a regular file")
