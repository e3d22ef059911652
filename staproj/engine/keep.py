"""Which runs clean-up leaves alone, and why."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from staproj.engine.jobs import record as jobs
from staproj.engine.view import View
from staproj.errors import StaprojError
from staproj.project import annotations as notes
from staproj.project import runs, version_tags, versions

_AT_WORK = ("starting", "queued", "running", "unreachable")


@dataclass
class Kept:
    """What must stay.

    ``whole``: run -> why nothing of it may go. ``heads``: runs that stand for a step of the manifest (their
    final outputs stay). ``marked``: runs that somebody rated or tagged. ``used``: runs that one of all these
    was made from. ``busy``: run -> the run or job at work that may read it.
    """

    whole: dict[str, str] = field(default_factory=dict)
    heads: set[str] = field(default_factory=set)
    marked: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    busy: dict[str, str] = field(default_factory=dict)

    def superseded(self, run: str) -> bool:
        """Tell whether nothing that counts needs a run any more."""
        return not any(run in some for some in (self.heads, self.marked, self.used, self.whole, self.busy))


def kept(view: View, *, with_tagged: bool = False) -> Kept:
    """Find out what must stay. ``with_tagged``: of tagged versions only the final outputs.

    Raises
    ------
    StaprojError
        If names or files of versions cannot be read: nobody can say then what must stay.
    """
    steps = view.manifest.steps
    heads = {run for step, run in view.heads.items() if step in steps}
    found = Kept(heads=heads, busy=in_use(view))
    for step in steps.values():
        for ref in step.inputs.values():
            if ref.run is not None:
                found.whole.setdefault(view.run(ref.run).id, f"an input of step {step.name} names it")
    for name, number in version_tags.read(view.layout).items():
        for run in versions.read(view.layout, number).heads.values():
            if with_tagged:
                found.heads.add(run)
            else:
                found.whole.setdefault(run, f"in version {number}, called {name!r}")
    for run, told in notes.read_all(view.layout).items():
        if told.problem:
            found.whole.setdefault(run, f"its notes cannot be read: {told.problem}")
        if notes.FINAL in told.tags:
            found.whole.setdefault(run, f"tagged {notes.FINAL!r}")
        if told.tags or told.rating:
            found.marked.add(run)
    found.used = _ancestors(view, {*found.heads, *found.whole, *found.marked, *found.busy})
    return found


def in_use(view: View) -> dict[str, str]:
    """Return the runs that somebody at work may be reading, and who."""
    found: dict[str, str] = {}
    for name in view.layout.iter_runs():
        run = view.layout.run(name)
        if run.is_sealed() or runs.state_of(run).state not in ("running", "unreachable", "queued"):
            continue
        found[run.id] = f"{run.id} is at work"
        with suppress(StaprojError):
            for use in view.spec(run.id)["inputs"].values():
                found.setdefault(str(use["run"]), f"{run.id} is at work on it")
    for job in jobs.all_jobs(view.layout):
        if jobs.state_of(job).state in _AT_WORK:
            for head in view.heads.values():
                found.setdefault(head, f"{job.id} is at work")
    return found


def _ancestors(view: View, start: Iterable[str]) -> set[str]:
    """Return every run that some runs were made from."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        with suppress(StaprojError):
            for use in view.spec(waiting.pop())["inputs"].values():
                if use["run"] not in found:
                    found.add(str(use["run"]))
                    waiting.append(str(use["run"]))
    return found
