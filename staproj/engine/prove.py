"""Proof that what clean-up deletes can be made again: make some of it again in scratch, and compare."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

from staproj.engine import collect
from staproj.engine.options import Options
from staproj.engine.recreate import Memo, Recreation, Unit
from staproj.engine.remake import remake
from staproj.engine.view import View
from staproj.engine.workshop import Remade
from staproj.errors import StaprojError
from staproj.project import cleared


def prove(
    view: View,
    made: collect.Plan,
    count: int,
    options: Options,
    *,
    seed: int = 0,
    everything: bool = False,
    quick: bool = False,
    place: Path | None = None,
) -> list[Remade]:
    """Make ``count`` units again and compare them with what was sealed; nothing in the project is touched.

    They are drawn from what would be deleted (and what was) and, if that is too little or ``everything`` is
    asked for, from all outputs that can be made again. All that would be deleted is taken for gone, so inputs
    are made again too; with ``quick`` inputs that are still there are used. Units made on the way are in the
    answer as well, with ``asked`` false.
    """
    draw = random.Random(seed)
    memo: Memo = {}
    going = sorted({*made.units, *_cleared(view)}, key=_order)
    asked = Recreation(view, without=going, memo=memo)
    going = [unit for unit in going if not asked.blocks(unit)]
    first = [] if everything else draw.sample(going, min(count, len(going)))
    chosen = list(first)
    if len(chosen) < count:
        others, _ = collect.joint(view, collect.all_units(view), memo)
        rest = sorted(others - set(chosen), key=_order)
        chosen += draw.sample(rest, min(count - len(chosen), len(rest)))
    if not chosen:
        return []
    without = chosen if quick else [*going, *chosen]
    recreation = Recreation(view, without=without, memo=memo)
    return remake(view, sorted(chosen, key=_order), options, recreation=recreation, place=place)


def _cleared(view: View) -> list[Unit]:
    """Return the units whose files were deleted before."""
    found: list[Unit] = []
    asked = Recreation(view)
    for name in view.layout.iter_runs():
        run = view.layout.run(name)
        if run.is_sealed() and cleared.is_cleared(run):
            with suppress(StaprojError):
                found += asked.units_with_missing(run.id)
    return found


def _order(unit: Unit) -> tuple[int, str]:
    return int(unit[0][1:]), unit[1] or ""
