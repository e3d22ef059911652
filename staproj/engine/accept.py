"""``accept``: a run may stand for another, judged equivalent by a person.

GPU results are not the same bytes twice, so a rerun that changes nothing of substance would make everything
below it stale. An entry says that the outputs of NEW may stand for those of OLD: what was made from OLD's
outputs counts as fresh when its inputs are NEW's now. Entries hold the digests of both, output by output and
tilt series by tilt series, so that nothing has to be opened to use them; taking one back is as if it had
never been.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from staproj.engine.view import View
from staproj.errors import UsageError
from staproj.project import accepted
from staproj.project.accepted import Accepted, Pair
from staproj.project.manifest import suggestion


def stand_in(
    entries: Iterable[Accepted], old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[Mapping[str, Any], list[str]]:
    """Return pre-image ``new`` with inputs that may stand for those of ``old`` replaced, and remarks.

    Entries chain: if r3 may stand for r2 and r2 for r1, then r3 may stand for r1.
    """
    if old["inputs"] == new["inputs"]:
        return new, []
    stands = _closure(entries)
    inputs: dict[str, Any] = {}
    used: dict[Accepted, None] = {}
    for port, now in new["inputs"].items():
        then = old["inputs"].get(port)
        if isinstance(now, Mapping) and isinstance(then, Mapping):
            swapped = {}
            for item, value in now.items():
                by = stands.get((str(value), str(then.get(item))))
                swapped[item] = then[item] if by else value
                used.update(dict.fromkeys(by or ()))
            inputs[port] = swapped
        else:
            by = stands.get((now, then)) if isinstance(now, str) and isinstance(then, str) else None
            inputs[port] = then if by else now
            used.update(dict.fromkeys(by or ()))
    notes = [
        f"accepted: {entry.new} may stand for {entry.old}" + (f" ({entry.why})" if entry.why else "")
        for entry in used
    ]
    return ({**new, "inputs": inputs} if used else new), notes


def add(
    view: View, new: str, old: str, *, why: str = "", ports: Iterable[str] = (), items: Iterable[str] = ()
) -> Accepted:
    """Record that the outputs of run ``new`` may stand for those of run ``old`` (all they share, or some).

    Raises
    ------
    UsageError
        If the runs have no such outputs in common, or all of them are equal anyhow.
    """
    first, second = view.run(new), view.run(old)
    if first.id == second.id:
        raise UsageError("a run stands for itself", hint="name two runs: staproj accept NEW --for OLD")
    for run in (first, second):
        if not run.is_sealed():
            raise UsageError(f"run {run.id} is not complete", hint=f"`staproj log {run.id}` says why")
    pairs = _pairs(view, first.id, second.id, tuple(ports), tuple(items))
    differing = tuple(pair for pair in pairs if pair.new != pair.old)
    if not differing:
        raise UsageError(
            f"the outputs of {first.id} and {second.id} are equal, so there is nothing to accept",
            hint="what was made from one of them is fresh with the other",
        )
    entry = accepted.entry(first.id, second.id, why=why, pairs=differing)
    accepted.add(view.layout, entry)
    return entry


def _pairs(view: View, new: str, old: str, ports: tuple[str, ...], items: tuple[str, ...]) -> list[Pair]:
    """Return the outputs two runs share, confined to some ports and tilt series."""
    a, b = view.outputs(new)["artifacts"], view.outputs(old)["artifacts"]
    shared = [port for port in a if port in b and a[port]["kind"] == b[port]["kind"]]
    for port in ports:
        if port not in shared:
            raise UsageError(
                f"{new} and {old} share no output {port!r}", hint=suggestion(port, shared, "shared outputs")
            )
    found, known = [], set()
    for port in ports or shared:
        mine, theirs = view.digests(new, port), view.digests(old, port)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            both = sorted(set(mine) & set(theirs))
            known.update(both)
            found += [Pair(port, i, mine[i], theirs[i]) for i in both if not items or i in items]
        elif not items and isinstance(mine, str) and isinstance(theirs, str):
            found.append(Pair(port, "", mine, theirs))
    for item in items:
        if item not in known:
            hint = suggestion(item, sorted(known), "tilt series")
            raise UsageError(f"{new} and {old} share no tilt series {item!r}", hint=hint)
    if not found:
        raise UsageError(
            f"{new} and {old} have no output in common",
            where=f"{new}: {', '.join(a)}; {old}: {', '.join(b)}",
            hint="accept a run of the same step, or of a variant of it",
        )
    return found


def _closure(entries: Iterable[Accepted]) -> dict[tuple[str, str], tuple[Accepted, ...]]:
    """Return ``{(digest now, digest then): entries that allow it}``, chains included."""
    steps: dict[str, list[tuple[str, Accepted]]] = {}
    for entry in entries:
        for pair in entry.pairs:
            steps.setdefault(pair.new, []).append((pair.old, entry))
    found: dict[tuple[str, str], tuple[Accepted, ...]] = {}
    for start in steps:
        waiting: list[tuple[str, tuple[Accepted, ...]]] = [(start, ())]
        seen = {start}
        while waiting:
            at, path = waiting.pop(0)
            for target, entry in steps.get(at, ()):
                if target not in seen:
                    seen.add(target)
                    found[start, target] = (*path, entry)
                    waiting.append((target, found[start, target]))
    return found
