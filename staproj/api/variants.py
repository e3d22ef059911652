"""Variants: one step with several values side by side, with everything that depends on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from staproj.engine import compare, session, variants, why
from staproj.engine.execute import Options
from staproj.engine.view import View
from staproj.errors import StaprojError, UsageError
from staproj.project.layout import RUN_ID, RUN_NAME, Layout
from staproj.project.manifest import suggestion

BASE = "(as it is)"


class Variants:
    """Variants of the steps of a project."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)

    def asked_for(self, step: str, sets: Mapping[str, Any]) -> bool:
        """Tell whether ``sets`` gives some parameter several values, so that variants are meant.

        Raises
        ------
        UsageError
            If they are asked for of a run: variants are of a step as it is in the manifest.
        """
        name = self.layout.find_run(step).name.step if RUN_ID.match(step) or RUN_NAME.match(step) else step
        found = variants.is_series(View.open(self.root), name, sets)
        if found and name != step:
            raise UsageError(
                "several values make variants of a step, not of a run",
                where=step,
                hint=f"`staproj head {name} {step}` first, then `staproj rerun {name} --set …`",
            )
        return found

    def create(
        self, step: str, sets: Mapping[str, Any], *, until: str | None = None, name: str | None = None
    ) -> list[dict[str, Any]]:
        """Write variants into the manifest, one for each combination of values; nothing is computed.

        ``sets`` is ``{"param" or "step.param": "20,15,12"}``, or lists of values. Returns ``{"variant", "of",
        "steps", "values", "new"}`` each; ``run`` with those steps computes them.
        """
        made = variants.create(self.root, step, sets, until=until, name=name)
        return [one.as_dict() for one in made]

    def rerun(
        self,
        step: str,
        sets: Mapping[str, Any],
        *,
        until: str | None = None,
        name: str | None = None,
        options: Options | None = None,
    ) -> dict[str, Any]:
        """Write variants and compute them in this process; a variant that fails does not stop the others."""
        made = self.create(step, sets, until=until, name=name)
        targets = [step for one in made for step in one["steps"]]
        results = session.run_steps(self.root, targets=targets, keep_going=True, options=options)
        return {"variants": made, "steps": [result.as_dict() for result in results]}

    def remove(self, *names: str) -> list[str]:
        """Take variants out of the manifest and return the steps that went; their runs stay."""
        if not names:
            raise UsageError("which variant?", hint="`staproj variant list` shows them")
        return variants.remove(self.root, names)

    def overview(self) -> list[dict[str, Any]]:
        """Return all variants: steps with state and run, and the parameters that differ from the original."""
        view = View.open(self.root)
        groups = variants.groups(view.manifest)
        verdicts = why.assess_all(view) if groups else {}
        return [
            {
                "variant": name,
                "of": variants.base_of(view.manifest, name),
                "values": _values(view, copies),
                "steps": [
                    {
                        "step": s,
                        "copy": copies[s],
                        "state": verdicts[s].state,
                        "run": verdicts[s].run,
                        "to_do": verdicts[s].to_do,
                    }
                    for s in view.graph.nodes
                    if s in copies
                ],
            }
            for name, copies in groups.items()
        ]

    def compare(self, step: str | None = None, names: Sequence[str] = ()) -> dict[str, Any]:
        """Compare the variants of a step with each other and with the step as it is.

        Returns ``{"of", "rows": [{"variant", "values", "state", "runs", "verdict", "metrics"}], "curves"}``;
        ``metrics`` are named ``step.metric`` after the original steps; ``curves`` as in ``diff``, the lines
        with the name of their variant.
        """
        view = View.open(self.root)
        groups = variants.groups(view.manifest)
        of = _asked(view, groups, step, names)
        chosen = list(names) or [n for n in groups if variants.base_of(view.manifest, n) == of]
        chain = [s for s in view.graph.nodes if any(s in groups[name].values() for name in chosen)]
        verdicts = why.assess_all(view)
        columns = {BASE: {s: s for s in chain}}
        columns |= {name: {copy: s for s, copy in groups[name].items()} for name in chosen}
        base = _values_of_base(view, [_values(view, groups[name]) for name in chosen])
        rows = []
        for name, steps in columns.items():
            values = base if name == BASE else {**base, **_values(view, groups[name])}
            rows.append(_row(view, name, steps, values, verdicts))
        return {"of": of, "rows": rows, "curves": _curves(view, chain, columns, verdicts)}


def _asked(
    view: View, groups: Mapping[str, Mapping[str, str]], step: str | None, names: Sequence[str]
) -> str:
    """Return the step whose variants are asked for."""
    for name in names:
        if name not in groups:
            raise UsageError(f"there is no variant {name!r}", hint=suggestion(name, groups, "variants"))
    known = list(dict.fromkeys(variants.base_of(view.manifest, name) for name in (names or groups)))
    if step is not None:
        view.graph.node(step)
        if step not in known:
            raise UsageError(
                f"step {step!r} has no variants",
                hint=f"`staproj rerun {step} --set PARAM=VALUE,VALUE` makes some",
            )
        return step
    if len(known) != 1:
        many = f"variants of {', '.join(known)}" if known else "no variants"
        raise UsageError(f"there are {many}", hint="name a step: staproj variant compare STEP")
    return known[0]


def _values(view: View, copies: Mapping[str, str]) -> dict[str, Any]:
    """Return ``{"step.param": value}`` where a variant is not as the steps it is a copy of."""
    found = {}
    for copy, original in copies.items():
        mine = view.expected(copy).common.values
        if original not in view.graph.nodes:
            continue
        theirs = view.expected(original).common.values
        found.update({f"{original}.{k}": v for k, v in mine.items() if theirs.get(k) != v})
    return found


def _values_of_base(view: View, several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    keys = dict.fromkeys(key for values in several for key in values)
    base = {}
    for key in keys:
        step, _, name = key.rpartition(".")
        base[key] = view.expected(step).common.values.get(name)
    return base


def _row(
    view: View, name: str, steps: Mapping[str, str], values: Mapping[str, Any], verdicts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return one line of the comparison; ``steps`` is ``{original: step of this variant}``."""
    metrics: dict[str, float] = {}
    runs = {original: verdicts[step].run for original, step in steps.items()}
    for original, run in runs.items():
        if run is not None:
            try:
                found = compare.metrics_of(view, run)
            except StaprojError:
                continue
            metrics.update({f"{original}.{key}": value for key, value in found.items()})
    states = [verdicts[step].state for step in steps.values()]
    worst = next(
        (state for state in states if state not in (why.FRESH, why.SOFT)), states[-1] if states else ""
    )
    last = [verdicts[step].result for step in steps.values() if verdicts[step].result]
    return {
        "variant": name,
        "values": dict(values),
        "state": worst,
        "runs": runs,
        "verdict": last[-1] if last else "",
        "metrics": metrics,
    }


def _curves(
    view: View,
    chain: Sequence[str],
    columns: Mapping[str, Mapping[str, str]],
    verdicts: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return the FSC curves of each step of the chain, over each other."""
    found = []
    for original in chain:
        named = {name: verdicts[steps[original]].run for name, steps in columns.items() if original in steps}
        made = {name: run for name, run in named.items() if run is not None}
        if len(made) < 2:
            continue
        for curve in compare.curves_of(view, list(made.values())):
            for line, name in zip(curve["lines"], made, strict=True):
                line["variant"] = name
            found.append({"step": original, **curve})
    return found
