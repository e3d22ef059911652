"""How to make a run again: the recipe, a script of it, and a check that it gives the same. Plain values."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.project.layout import Layout

if TYPE_CHECKING:
    from staproj.engine.events import Progress
    from staproj.engine.workshop import Remade, Workshop


class Recipes:
    """Recipes of one project."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)

    def recipe(self, run: str) -> dict[str, Any]:
        """Return everything that is needed to make a run (or the head of a step) again.

        See :func:`staproj.engine.recipe.recipe` for what it holds.
        """
        from staproj.api import listing
        from staproj.engine.recipe import recipe
        from staproj.engine.view import View

        view = View.open(self.root)
        return recipe(view, listing.head_or_run(view, run))

    def check(
        self,
        run: str,
        *,
        items: Collection[str] | None = None,
        from_raw: bool = False,
        scratch: Path | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Make a run again in scratch, from its record alone, and compare every file with what was sealed.

        ``from_raw`` makes everything behind it again too, from the raw data. Returns ``{"run", "equal",
        "units": [...]}``; each differing file has ``told`` and ``max_abs_difference`` where both are there.

        Raises
        ------
        StaprojError
            If it cannot be made again.
        """
        from staproj.api import listing
        from staproj.engine import remake
        from staproj.engine.differences import amount
        from staproj.engine.events import ignore
        from staproj.engine.options import Options
        from staproj.engine.recreate import Recreation, units_of
        from staproj.engine.view import View

        view = View.open(self.root)
        name = view.run(listing.head_or_run(view, run)).id
        units = remake.units_asked(view, name, items)
        gone = list(units)
        if from_raw:
            gone = [unit for other in remake.runs_behind(view, name) for unit in units_of(view, other)]

        def measure(shop: Workshop, result: Remade) -> None:
            for part in result.differing:
                real = view.run(result.unit[0]).out / part["path"]
                part.update(amount(real, shop.file(result.unit, part["path"])))

        found = remake.remake(
            view,
            units,
            Options(progress=progress or ignore),
            recreation=Recreation(view, without=gone),
            place=scratch,
            each=measure,
        )
        return {
            "run": name,
            "equal": all(result.equal for result in found),
            "units": [result.as_dict() for result in found],
        }
