"""Begin work in a job, after the same checks whoever asks: what will run, what it takes, whether it fits."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.errors import UsageError

if TYPE_CHECKING:
    from staproj.api.project import Project

WORKS = ("run", "adopt")
DEVICES = ("auto", "cpu", "gpu")


@dataclass(frozen=True)
class How:
    """How work is done: nothing of this enters a key, so nothing of it makes a result stale.

    ``jobs``: tilt series at the same time; ``force``: begin although the disk or the memory may not hold it.
    """

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

    ``expected`` is what :meth:`Jobs.expect` says; ``kind`` and ``arguments`` are those of the job;
    ``command`` is what a person would type for the same; ``made`` are variants that were written for it.
    """

    kind: str
    arguments: dict[str, Any]
    expected: dict[str, Any]
    command: list[str]
    steps: list[dict[str, Any]] = field(default_factory=list)
    work: list[str] = field(default_factory=list)
    how: How = How()
    made: list[dict[str, Any]] = field(default_factory=list)


class Starting:
    """Plans and begins work in one project."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def _project(self) -> Project:
        from staproj.api.project import Project

        return Project(self.root)

    # --------------------------------------------------------------------------------------- planning
    def run(
        self,
        steps: Sequence[str] = (),
        *,
        until: str | None = None,
        items: Sequence[str] | None = None,
        sets: Mapping[str, Any] | None = None,
        how: How = How(),
    ) -> Plan:
        """Plan to bring steps (all without), with what they need, up to date.

        Raises
        ------
        UsageError
            If a name or a value does not fit, or ``how`` asks for what cannot be.
        """
        _check(how)
        asked: dict[str, Any] = {"until": until, "items": items, "sets": sets}
        told = self._project.run(list(steps) or None, **asked, dry_run=True)
        work = [step["step"] for step in told if step["action"] in WORKS]
        arguments = {
            "targets": [until] if until else list(steps) or None,
            "items": None if items is None else list(items),
            "sets": dict(sets or {}),
            "keep_going": how.keep_going,
            **_how(how),
        }
        expected = self._project.jobs.expect(work, items=items, sets=sets, jobs=how.jobs)
        command = ["run", *steps, *(["--until", until] if until else []), *options(items, sets, how)]
        return Plan("run", arguments, expected, command, told, work, how)

    def rerun(
        self,
        step_or_run: str,
        sets: Mapping[str, Any] | None = None,
        *,
        items: Sequence[str] | None = None,
        how: How = How(),
    ) -> Plan:
        """Plan to run one step again with other values; keys of ``sets`` are ``param`` or ``step.param``.

        Raises
        ------
        UsageError
            If a name or a value does not fit, or the step cannot run yet.
        """
        _check(how)
        jobs = self._project.jobs
        which = jobs.step_of(step_or_run)
        step = which["step"]
        full = {key if "." in key else f"{step}.{key}": value for key, value in (sets or {}).items()}
        for key in full:
            if key.partition(".")[0] != step:
                raise UsageError(f"{key!r} is of another step than {step!r}", hint="rerun one step at a time")
        expected = jobs.expect(
            [step], items=items, sets=full, from_run=which["from_run"], jobs=how.jobs, rerun=True
        )
        arguments = {**which, "sets": dict(sets or {}), "items": None if items is None else list(items)}
        arguments |= _how(how)
        short = {key.removeprefix(f"{step}."): value for key, value in full.items()}
        command = ["rerun", step_or_run, *options(items, short, how)]
        return Plan("rerun", arguments, expected, command, [], [step], how)

    def variants(
        self,
        step: str,
        sets: Mapping[str, Any],
        *,
        until: str | None = None,
        name: str | None = None,
        items: Sequence[str] | None = None,
        how: How = How(),
    ) -> Plan:
        """Write variants of a step into the manifest, one a value (or combination), and plan to compute them.

        With ``items`` they are computed for those tilt series only; one that fails does not stop the others.
        """
        _check(how)
        made = self._project.variants.create(step, sets, until=until, name=name)
        planned = self.run([copy for one in made for copy in one["steps"]], items=items, how=how)
        planned.arguments["keep_going"] = True
        more = [*(["--until", until] if until else []), *(["--name", name] if name else [])]
        planned.command = ["rerun", step, *options(items, sets, how), *more]
        planned.made = made
        return planned

    def resume(self, run: str | None = None, *, how: How = How(), jobs: int | None = None) -> Plan | None:
        """Plan to go on with what was interrupted; ``None``: nothing was.

        It is done as it was begun, but for ``how.threads``, ``how.force`` and ``jobs`` where they are given.
        """
        _check(how)
        found = self._project.jobs.to_resume(run)
        if found is None:
            return None
        steps = found.pop("expected", [])
        found |= {name: v for name, v in (("threads", how.threads), ("jobs", jobs)) if v is not None}
        more = options(None, None, How(threads=how.threads, jobs=jobs or 1, force=how.force))
        command = ["resume", *([run] if run else []), *more]
        work = [str(step["step"]) for step in steps if isinstance(step.get("step"), str)]
        return Plan("resume", found, {"steps": steps}, command, [], work, how)

    # -------------------------------------------------------------------------------------- beginning
    def check(self, plan: Plan) -> list[str]:
        """Check a plan against other jobs, the machine and its disk; return remarks for the person.

        What is forced is noted with the run.

        Raises
        ------
        StaprojError
            If a step is being computed already, or the machine or its disk cannot hold it.
        """
        jobs, asked = self._project.jobs, plan.arguments
        jobs.check_free(plan.steps)
        forced = jobs.check(
            plan.expected,
            threads=asked.get("threads"),
            jobs=asked.get("jobs") or 1,
            device=asked.get("device") or "auto",
            force=plan.how.force,
        )
        if forced:
            asked["note"] = f"{asked.get('note') or ''} ({forced})".strip()
        return [text for text in (jobs.queue_note(), forced) if text]

    def start(self, plan: Plan, *, command: Sequence[str] | None = None) -> str:
        """Start the job of a plan that was checked and return its name; ``command`` is what was typed."""
        typed = plan.command if command is None else command
        return self._project.jobs.start(
            plan.kind, plan.arguments, command=typed, expected=plan.expected["steps"]
        )

    def begin(self, plan: Plan) -> dict[str, Any]:
        """Check a plan, start its job, and return it as :meth:`Jobs.describe` does, with ``notes``: remarks.

        Raises
        ------
        StaprojError
            If a step is being computed already, or the machine or its disk cannot hold it.
        """
        notes = self.check(plan)
        return {**self._project.jobs.describe(self.start(plan)), "notes": notes}

    # ---------------------------------------------------------------------------------------- looking
    def room(self, how: How = How()) -> dict[str, Any]:
        """Say whether work would begin at once on this machine, or wait for its turn.

        ``{"host", "cpu_slots", "cpus_free", "cpus_needed", "gpus", "gpus_free", "now", "holders",
        "waiting"}``: ``holders`` are ``{"run", "step", "project", "cpus"}``, ``waiting`` is how many wait
        in front of it.
        """
        from staproj.engine import machine
        from staproj.engine.slots import Slots

        limits = machine.limits()
        tickets = Slots(limits, machine.state_dir()).tickets()
        held = [ticket for ticket in tickets if ticket.held]
        threads = how.threads or min(len(os.sched_getaffinity(0)), limits.cpu_slots)
        needed = max(threads, how.jobs)
        free = max(limits.cpu_slots - sum(ticket.need.cpus for ticket in held), 0)
        gpus = len(set(limits.gpus) - {gpu for ticket in held for gpu in ticket.gpus})
        before = [t for t in tickets if not t.held and t.priority >= how.priority]
        holders = [
            {
                "run": str(ticket.about.get("run") or ""),
                "step": str(ticket.about.get("step") or ""),
                "project": Path(str(ticket.about.get("project") or "?")).name,
                "cpus": ticket.need.cpus,
            }
            for ticket in held
        ]
        return {
            "host": socket.gethostname(),
            "cpu_slots": limits.cpu_slots,
            "cpus_free": free,
            "cpus_needed": needed,
            "gpus": len(limits.gpus),
            "gpus_free": gpus,
            "now": needed <= free and not before and (how.device != "gpu" or gpus > 0),
            "holders": holders,
            "waiting": len(before),
        }

    def own_values(self, step: str) -> dict[str, dict[str, Any]]:
        """Return ``{tilt series: {param: value}}``: the tables of single tilt series in the manifest."""
        from staproj.project import manifest

        tables = manifest.load(self._project.layout.manifest).step(step).items
        return {item: dict(table) for item, table in tables.items()}

    def values_of_run(self, run: str) -> dict[str, Any]:
        """Return ``{"values": {param: value}, "items": {tilt series: {param: value}}}`` that a run had."""
        from staproj.engine.view import View

        spec = View.open(self.root).spec(run)
        return {
            "values": {name: entry["value"] for name, entry in spec["params"].items()},
            "items": {
                item: {name: entry["value"] for name, entry in table.items()}
                for item, table in spec["item_params"].items()
            },
        }

    def sweep(
        self, step: str, values: Mapping[str, Sequence[Any]], *, until: str | None = None, jobs: int = 1
    ) -> dict[str, Any]:
        """Say what variants with these values would be; nothing is written.

        Returns ``{"count", "steps", "expected"}``: how many variants, the steps each is a copy of, and what
        all of them are expected to take (the first, times their number).
        """
        from staproj.engine import variants
        from staproj.engine.view import View

        count = 1
        for choices in values.values():
            count *= len(choices)
        chain = variants.chain_of(View.open(self.root), step, until)
        first = {f"{step}.{name}": choices[0] for name, choices in values.items()}
        expected = self._project.jobs.expect(chain, sets=first, jobs=jobs)
        for name in ("wall_s", "bytes"):
            expected[name] *= count
        expected["fits"] = expected["bytes"] <= expected["free_bytes"]
        return {"count": count, "steps": chain, "expected": expected, "most": variants.MOST}


def read_values(stage: str, name: str, text: str) -> tuple[list[Any], str]:
    """Return the value (or the values, with commas) that a text gives a parameter, and "" or what is wrong.

    >>> read_values("mask", "extend_angstrom", "8, 12")
    ([8, 12], '')
    >>> read_values("mask", "extend_angstrom", "8000")
    ([], 'must be <= 500 Å')
    >>> read_values("mask", "extend_angstrom", "8, 8000")
    ([], '8000: must be <= 500 Å')
    """
    from staproj.engine import params
    from staproj.stages import registry

    spec = registry.get(stage)
    try:
        found = params.parse_values(spec, name, text.strip(), step=stage)
    except UsageError as error:
        message = " ".join(error.message.split())
        whole = f"{name} = {' '.join(text.split())}: "
        return [], message.removeprefix(whole).removeprefix(f"{name} = ")
    if None in found and spec.params.model_fields[name].default is not None:
        return [], "cannot be none: give a value"
    return found, ""


def wanted(stage: str, name: str) -> str:
    """Return what a parameter takes, in words.

    >>> wanted("mask", "extend_angstrom")
    'a number >= -500 and <= 500 Å'
    """
    from staproj.engine import values
    from staproj.stages import registry

    return values.wanted(registry.get(stage), name)


def typed(stage: str, name: str, value: Any) -> str:
    """Return a value as one types it, so that it is read as that value again."""
    from staproj.api import param_forms
    from staproj.stages import registry

    return param_forms.as_text(registry.get(stage), name, value)


def _check(how: How) -> None:
    """Refuse numbers that mean nothing, before a job is made of them."""
    from staproj.engine.resources import check_device

    check_device(how.device)
    if how.threads is not None and how.threads < 1:
        raise UsageError(f"threads must be at least 1, is {how.threads}")
    if how.jobs < 1:
        raise UsageError(f"jobs must be at least 1, is {how.jobs}", hint="one item at a time: --jobs 1")


def _how(how: How) -> dict[str, Any]:
    return {
        "note": how.note,
        "threads": how.threads,
        "device": how.device,
        "jobs": how.jobs,
        "priority": how.priority,
    }


def options(items: Sequence[str] | None, sets: Mapping[str, Any] | None, how: How) -> list[str]:
    """Return the options of a command line that ask for the same.

    >>> options(["TS_01"], {"rounds": 5}, How(threads=2))
    ['--set', 'rounds=5', '--item', 'TS_01', '--threads', '2']
    """
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
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
