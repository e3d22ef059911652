"""Make outputs again from the record of their run, with whatever they need that is gone, and compare."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from staproj.engine.events import ProgressEvent
from staproj.engine.options import Options
from staproj.engine.recreate import Recreation, Unit, files_of, name_of, units_of
from staproj.engine.view import View
from staproj.engine.workshop import Remade, Workshop, last_use, workshop
from staproj.errors import StaprojError, StorageError, UsageError


def order_of(recreation: Recreation, units: Iterable[Unit]) -> list[Unit]:
    """Return ``units`` and the missing ones they need, in an order in which they can be made.

    Raises
    ------
    StaprojError
        If one cannot be made again.
    """
    wanted: dict[Unit, None] = {}
    waiting = list(units)
    while waiting:
        unit = waiting.pop()
        if unit not in wanted:
            problem = recreation.blocks(unit)
            if problem:
                raise StaprojError(
                    f"{name_of(unit)} cannot be made again: {problem}",
                    hint=f"`staproj lineage {unit[0]}` shows what it was made from",
                )
            wanted[unit] = None
            waiting += recreation.needs(unit)
    return sorted(wanted, key=lambda unit: (int(unit[0][1:]), unit[1] or ""))


def remake(
    view: View,
    units: Sequence[Unit],
    options: Options,
    *,
    recreation: Recreation | None = None,
    place: Path | None = None,
    each: Callable[[Workshop, Remade], None] = lambda shop, result: None,
) -> list[Remade]:
    """Make units again in scratch, with whatever they need that is gone, and compare each with its record.

    ``each`` is called after every unit, while its files are still there.

    Raises
    ------
    StaprojError
        If one cannot be made again.
    """
    recreation = recreation or Recreation(view)
    asked = set(units)
    order = order_of(recreation, units)
    _check_room(view, order, place)
    results = []
    with workshop(view, order, place=place) as shop:
        last = last_use(view, order)
        options.progress(ProgressEvent("plan", total=len(order)))
        for index, unit in enumerate(order):
            result = shop.make(unit, options)
            result.asked = unit in asked
            results.append(result)
            each(shop, result)
            options.progress(ProgressEvent("item-done", result.step, unit[0], unit[1], index + 1, len(order)))
            for other in [u for u, end in last.items() if end == index]:
                shop.drop(other)
    return results


def _check_room(view: View, order: Sequence[Unit], place: Path | None) -> None:
    """Refuse to begin what the disk cannot hold: outputs lie in the workshop until nothing needs them."""
    last = last_use(view, order)
    held = needed = 0
    for index, unit in enumerate(order):
        held += _size(view, unit)
        needed = max(needed, held)
        held -= sum(_size(view, other) for other, end in last.items() if end == index)
    where = place if place is not None else view.layout.root
    with suppress(OSError):
        free = shutil.disk_usage(where).free
        if free < needed:
            raise StorageError(
                f"this needs {needed / 1e9:.2f} GB of scratch space, and {free / 1e9:.2f} GB are free",
                where=str(where),
                hint="ask for fewer outputs, or give a directory on another disk with --scratch",
            )


def _size(view: View, unit: Unit) -> int:
    return sum(int(entry["size"]) for entry in files_of(view, unit))


def units_asked(view: View, run: str, items: Collection[str] | None) -> list[Unit]:
    """Return the units of a run, or those of some of its tilt series.

    Raises
    ------
    UsageError
        If the run is not complete: it has no outputs that could be made again.
    """
    directory = view.run(run)
    if not directory.is_sealed():
        raise UsageError(f"run {directory.id} is not complete", hint=f"`staproj log {directory.id}` says why")
    units = units_of(view, run)
    return [u for u in units if items is None or u[1] is None or u[1] in items]


def runs_behind(view: View, run: str) -> list[str]:
    """Return a run and all runs that it was made from, inputs first."""
    found = {run}
    waiting = [run]
    while waiting:
        new = {str(use["run"]) for use in view.spec(waiting.pop())["inputs"].values()} - found
        found |= new
        waiting += sorted(new)
    return sorted(found, key=lambda name: int(name[1:]))
