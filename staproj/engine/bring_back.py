"""Put outputs back that were cleared: from the trash while they lie there, else made again and compared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.engine import digest, outputs
from staproj.engine.options import Options
from staproj.engine.recreate import Recreation, Unit, name_of
from staproj.engine.remake import remake, units_asked
from staproj.engine.view import Expected, View
from staproj.engine.workshop import Remade, Workshop
from staproj.errors import CheckError, StaprojError
from staproj.project import atomic, cleared, trash
from staproj.project.lock import project_lock


def bring_back(view: View, run: str, options: Options, *, items: Collection[str] | None = None) -> list[str]:
    """Put back every missing file of a run (or of some of its tilt series); return their paths.

    Raises
    ------
    StaprojError
        If a file can neither be found in the trash nor be made again.
    CheckError
        If what was made again is not what was sealed; then nothing of it is put back.
    """
    return bring_back_units(view, units_asked(view, view.run(run).id, items), options)


def bring_back_inputs(
    view: View, expected: Expected, items: Collection[str] | None, options: Options, *, reuse: bool = True
) -> list[str]:
    """Put back what a step is going to read: inputs of tilt series that are not finished already."""
    beside = _finished_but_cleared(view, expected, items)
    back = bring_back_units(view, beside, options) if beside else []
    wanted = inputs_gone(view, expected, items, reuse=reuse)
    return back + (bring_back_units(view, wanted, options) if wanted else [])


def _finished_but_cleared(view: View, expected: Expected, items: Collection[str] | None) -> list[Unit]:
    """Return cleared tilt series that were not asked for but, being finished, stay beside those that were."""
    if items is None or expected.image is None:
        return []
    found: list[Unit] = []
    among = outputs.candidates(view, expected.node.name)
    marked = [run for run in among if run.is_sealed() and cleared.is_cleared(run)]
    for item in expected.units:
        key = digest.item_key(expected.image, item)
        if item in items or item is None or outputs.find_finished(view, among, key, item) is not None:
            continue
        for run in marked:
            with suppress(StaprojError):
                if atomic.read_json(run.item_done(item)).get("key") == key:
                    found.append((run.id, item))
                    break
    return found


def inputs_gone(
    view: View, expected: Expected, items: Collection[str] | None, *, reuse: bool = True
) -> list[Unit]:
    """Return what a step is going to read and what is not there.

    Tilt series that are finished stay beside those asked for: they are computed again where ``reuse`` is off.
    """
    asked = Recreation(view)
    image = expected.image
    among = outputs.candidates(view, expected.node.name)
    wanted: dict[Unit, None] = {}
    for item in expected.units:
        gone = [unit for use in expected.inputs.values() for unit in asked.gone_upstream(use.as_dict(), item)]
        if not gone:
            continue
        finished = image is not None and (
            outputs.find_finished(view, among, digest.item_key(image, item), item) is not None
        )
        asked_for = items is None or item is None or item in items
        if (finished and reuse) or not (finished or asked_for):
            continue
        wanted.update(dict.fromkeys(gone))
    return list(wanted)


def bring_back_units(view: View, units: Sequence[Unit], options: Options) -> list[str]:
    """Put back every missing file of some units, with one pass over what they have in common."""
    back = _from_trash(view, units)
    left = Recreation(view)
    lacking = [unit for unit in units if left.missing(unit)]
    if lacking:
        asked = set(lacking)

        def put_back(shop: Workshop, result: Remade) -> None:
            if not result.equal:
                raise _not_equal(result)
            if result.unit in asked:
                back.extend(_put_back(view, shop, result.unit, left.missing(result.unit)))

        remake(view, lacking, options, recreation=left, each=put_back)
    for run in {unit[0] for unit in units}:
        _tidy(view, run)
    view.memo.clear()  # what was found missing is there again
    return back


def _tidy(view: View, run: str) -> None:
    """Take outputs that are there off the list of cleared ones: a stop may have come in between."""
    directory = view.run(run)
    there = [path for path in cleared.cleared_paths(directory) if (directory.out / path).is_file()]
    if there:
        cleared.remove(directory, there)


def _from_trash(view: View, units: Iterable[Unit]) -> list[str]:
    """Take back what still lies in the trash."""
    asked = Recreation(view)
    gone = {unit: asked.missing(unit) for unit in units}
    if not any(gone.values()):
        return []
    back: list[str] = []
    everything = trash.all_trash(view.layout)
    if not everything:
        return []
    with project_lock(view.layout.lock, purpose="taking files out of the trash"):
        for unit, entries in gone.items():
            run = view.run(unit[0])
            found = [e for e in entries if _take(view, everything, run.out / e["path"], int(e["size"]))]
            if found:
                cleared.remove(run, [str(e["path"]) for e in found])
                back += [view.layout.relative(run.out / e["path"]) for e in found]
    return back


def _take(view: View, everything: Sequence[trash.Trash], target: Path, size: int) -> bool:
    """Move one file back from the newest trash that has it, if its size is what was sealed."""
    stored = view.layout.relative(target)
    for part in reversed(everything):
        source = part.directory.file(stored)
        if not trash.is_safe(part, source):
            continue
        if source.is_file() and source.stat().st_size == size:
            with atomic.storage_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)
            return True
    return False


def _put_back(view: View, shop: Workshop, unit: Unit, entries: Iterable[dict[str, Any]]) -> list[str]:
    run = view.run(unit[0])
    done = []
    for entry in entries:
        target = run.out / entry["path"]
        with atomic.storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _arrive(shop.file(unit, entry["path"]), target)
        done.append(str(entry["path"]))
    for directory in {(run.out / path).parent for path in done}:
        atomic.fsync_dir(directory)
    cleared.remove(run, done)
    return [view.layout.relative(run.out / path) for path in done]


def _arrive(source: Path, target: Path) -> None:
    """Let a finished file appear under its name in one step, read-only, with the time it was sealed with."""
    atomic.fsync_file(source)
    source.chmod(0o444)
    temporary = atomic.temporary_of(target)
    temporary.unlink(missing_ok=True)
    try:
        outputs.link_or_copy(source, temporary)  # what is made next in the workshop may read the source
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _not_equal(result: Remade) -> CheckError:
    name = name_of(result.unit)
    if result.error:
        return CheckError(
            f"{name} ({result.step}) could not be made again: {result.error}",
            hint=f"`staproj rerun {result.step}` makes a new run instead",
        )
    told = ", ".join(str(entry["path"]) for entry in result.differing[:3])
    return CheckError(
        f"{name} ({result.step}) came out otherwise than it was sealed: {told}",
        hint=f"`staproj reproduce {result.unit[0]} --check` says by how much; "
        f"`staproj rerun {result.step}` makes a new run instead",
    )
