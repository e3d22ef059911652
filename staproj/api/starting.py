"""Begin work in a job, after the same checks whoever asks: what will run, what it takes, whether it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKS = ("run", "adopt")


@dataclass(frozen=True)
class How:
    """How work is done: nothing of this enters a key, so nothing of it makes a result stale."""

    threads: int | None = None
    device: str = "auto"
    jobs: int = 1
    priority: int = 0
    note: str = ""
    keep_going: bool = False
    force: bool = False


@dataclass
class Plan:
    """Work that can be begun. ``steps``: what a dry run says; ``work``: steps that would be computed.

    ``expected`` is what :meth:`Jobs.expect` says; ``kind`` and ``arguments`` are those of the job; ``command``
    is what a person would type for the same.
    """

    kind: str
    arguments: dict[str, Any]
    expected: dict[str, Any]
    command: list[str]
    steps: list[dict[str, Any]] = field(default_factory=list)
    work: list[str] = field(default_factory=list)
    how: How = How()


class Starting:
    """Plans and begins work in one project."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(
        self,
        steps: Sequence[str] = (),
        *,
        until: str | None = None,
        items: Sequence[str] | None = None,
        sets: Mapping[str, Any] | None = None,
        how: How = How(),
    ) -> Plan:
        """Plan to bring steps (all without) up to date."""
        from staproj.api import Project

        project = Project(self.root)
        told = project.run(
            list(steps) or None, until=until, items=items, sets=sets, dry_run=True, device=how.device
        )
        work = [step["step"] for step in told if step["action"] in WORKS]
        expected = project.jobs.expect(work, items=items, sets=sets, jobs=how.jobs)
        arguments = {
            "targets": [until] if until else list(steps) or None,
            "items": None if items is None else list(items),
            "sets": dict(sets or {}),
            "keep_going": how.keep_going,
            **_how(how),
        }
        command = ["run", *steps, *(["--until", until] if until else []), *_options(items, sets, how)]
        return Plan("run", arguments, expected, command, told, work, how)

    def rerun(
        self,
        step_or_run: str,
        sets: Mapping[str, Any] | None = None,
        *,
        items: Sequence[str] | None = None,
        how: How = How(),
    ) -> Plan:
        """Plan to run one step again with other values; keys of ``sets`` are ``param`` or ``step.param``."""
        from staproj.api import Project

        project = Project(self.root)
        which = project.jobs.step_of(step_or_run, device=how.device)
        step = which["step"]
        full = {key if "." in key else f"{step}.{key}": value for key, value in (sets or {}).items()}
        expected = project.jobs.expect(
            [step], items=items, sets=full, from_run=which["from_run"], jobs=how.jobs, rerun=True
        )
        arguments = {
            **which,
            "sets": full,
            "items": None if items is None else list(items),
            **_how(how),
        }
        short = {key.removeprefix(f"{step}."): value for key, value in full.items()}
        command = ["rerun", step_or_run, *_options(items, short, how)]
        return Plan("rerun", arguments, expected, command, [], [step], how)

    def variants(
        self, step: str, sets: Mapping[str, Any], *, until: str | None = None, how: How = How()
    ) -> Plan:
        """Write variants of a step into the manifest, one a value (or combination), and plan to compute them."""
        from staproj.api import Project

        project = Project(self.root)
        made = project.variants.create(step, sets, until=until)
        planned = self.run([name for one in made for name in one["steps"]], how=how)
        planned.arguments["keep_going"] = True
        planned.command = ["rerun", step, *_options(None, sets, how)]
        return planned

    def resume(self, run: str | None = None, *, how: How = How()) -> Plan | None:
        """Plan to go on with what was interrupted; ``None``: nothing was."""
        from staproj.api import Project

        found = Project(self.root).jobs.to_resume(run)
        if found is None:
            return None
        expected = {"steps": found.pop("expected", [])}
        found |= {"threads": how.threads} if how.threads is not None else {}
        return Plan("resume", found, expected, ["resume", *([run] if run else [])], how=how)

    def begin(self, plan: Plan) -> dict[str, Any]:
        """Check a plan against the machine and its disk, start its job, and return it (``notes``: remarks).

        Raises
        ------
        StaprojError
            If a step is being computed already, or the machine or its disk cannot hold it.
        """
        from staproj.api import Project

        jobs, how = Project(self.root).jobs, plan.how
        jobs.check_free(plan.steps)
        forced = jobs.check(
            plan.expected, threads=how.threads, jobs=how.jobs, device=how.device, force=how.force
        )
        arguments = dict(plan.arguments)
        if forced:
            arguments["note"] = f"{arguments.get('note') or ''} ({forced})".strip()
        job = jobs.start(plan.kind, arguments, command=plan.command, expected=plan.expected["steps"])
        notes = [text for text in (forced, jobs.queue_note()) if text]
        return {**jobs.describe(job), "notes": notes}


def _how(how: How) -> dict[str, Any]:
    return {
        "note": how.note,
        "threads": how.threads,
        "device": how.device,
        "jobs": how.jobs,
        "priority": how.priority,
    }


def _options(items: Sequence[str] | None, sets: Mapping[str, Any] | None, how: How) -> list[str]:
    """Return the options of a command line that ask for the same."""
    found: list[str] = []
    for key, value in (sets or {}).items():
        found += ["--set", f"{key}={set_text(value)}"]
    for item in items or ():
        found += ["--item", item]
    for name, value, usual in (
        ("--note", how.note, ""),
        ("--threads", how.threads, None),
        ("--device", how.device, "auto"),
        ("--jobs", how.jobs, 1),
        ("--priority", how.priority, 0),
    ):
        if value != usual:
            found += [name, str(value)]
    return [*found, *(["--keep-going"] if how.keep_going else []), *(["--force"] if how.force else [])]


def set_text(value: Any) -> str:
    """Return a value as it is written after ``--set NAME=``."""
    import json

    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
