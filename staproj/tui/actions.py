"""What can be done with a step or a run, wherever one is under the cursor: the same keys on every screen."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from staproj.api.starting import How, Starting
from staproj.errors import StaprojError
from staproj.tui.base import StaScreen

FRAME = 5
"""Columns that a box around text takes, with its scroll bar."""


class RunActions(StaScreen):
    """Keys for the step or run that :meth:`target` says."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "compare", "compare", show=True),
        Binding("l", "log", "log", show=True),
        Binding("L", "lineage", "what made it (lineage)", show=False),
        Binding("w", "why", "why it is in this state", show=False),
        Binding("n", "note", "write a note", show=False),
        Binding("asterisk", "rate", "rate from 0 to 5", show=False),
        Binding("t", "tag", "tag, or take a tag away", show=False),
        Binding("H", "set_head", "let this run stand for its step", show=False),
        Binding("m", "methods", "methods text of this", show=False),
        Binding("u", "resume", "go on with what was interrupted", show=False),
        Binding("ctrl+x", "cancel_job", "stop what is running", show=False),
    ]

    def target(self) -> tuple[str, str | None]:
        """Return step and run that are meant (a step without a run: ``None``)."""
        raise NotImplementedError

    def is_run_meant(self) -> bool:
        """Tell whether a run is meant, not the step as it is."""
        return True

    def marked_runs(self) -> list[str]:
        """Return the runs that are marked."""
        return []

    def directory_to_copy(self, run: str) -> dict[str, str]:
        """Return the directory of a run as something to copy, if it is still there."""
        try:
            return {"directory of the run": str(self.project.layout.find_run(run).path)}
        except StaprojError:
            return {}

    def _run(self) -> str | None:
        run = self.target()[1]
        if run is None:
            self.say("there is no run of this yet")
        return run

    def action_rerun(self) -> None:
        """Open the form for another run with other values."""
        step, run = self.target()
        if not step or self.sta.refuse_read_only():
            return
        self.sta.show("rerun", step=step, run=run if self.is_run_meant() else None)

    def action_run_stale(self) -> None:
        """Ask how to run what is to run."""
        if not self.sta.refuse_read_only():
            self.sta.show("start", step=self.target()[0])

    def action_compare(self) -> None:
        """Compare marked runs, oldest first; without marks this one with the one before it."""
        marked = self.marked_runs()
        if len(marked) > 1:
            self.sta.show("compare", runs=sorted(marked, key=lambda name: (len(name), name)))
            return
        step, run = self.target()
        if run is None:
            self.say("mark two runs with space, then d compares them")
            return
        if len(marked) == 1 and marked[0] != run:
            self.sta.show("compare", runs=[marked[0], run])
            return
        project = self.project

        def earlier() -> list[str]:
            return [row["run"] for row in project.ls(step) if row["run"] < run and row["state"] == "sealed"][
                :1
            ]

        def show(found: list[str]) -> None:
            if found:
                self.sta.show("compare", runs=[found[0], run])
            else:
                self.say(f"{run} is the first run of {step}; space marks runs, d compares what is marked")

        self.fetch(earlier, show, name="earlier")

    def action_log(self) -> None:
        """Show the log of the newest run (of a run: its own)."""
        step, run = self.target()
        project = self.project
        if self.is_run_meant() and run:
            self.sta.show("run", run=run, tab="log")
            return
        self.fetch(
            lambda: project.newest_run(step), lambda r: self.sta.show("run", run=r, tab="log"), name="newest"
        )

    def action_lineage(self) -> None:
        """Show what made it."""
        if run := self._run():
            self.sta.show("lineage", of=run)

    def action_why(self) -> None:
        """Say why it is in its state, and what set its head apart."""
        from staproj.report.runs import why_lines

        step, run = self.target()
        name = run if self.is_run_meant() and run else step
        project = self.project
        self.fetch(
            lambda: project.why(name), lambda told: self.sta.read(f"why {name}", why_lines(told)), name="why"
        )

    def action_note(self) -> None:
        """Write a note about the run."""
        run = self._run()
        if run and not self.sta.refuse_read_only():
            self.sta.ask(f"note on {run}", "", lambda text: self._noted(run, text))

    def _noted(self, run: str, text: str) -> None:
        if text.strip():
            self._say_about(["note", run, text], lambda: self.project.annotations.note(run, text))

    def action_rate(self) -> None:
        """Rate the run."""
        run = self._run()
        if not run or self.sta.refuse_read_only():
            return
        options = [(str(n), f"{n} of 5") for n in range(6)] + [("none", "take the rating away")]
        self.sta.choose(
            f"how good is {run}?",
            options,
            lambda value: self._say_about(
                ["rate", run, value],
                lambda: self.project.annotations.rate(run, None if value == "none" else int(value)),
            ),
        )

    def action_tag(self) -> None:
        """Tag the run, or take a tag away."""
        run = self._run()
        if not run or self.sta.refuse_read_only():
            return

        def tagged(text: str) -> None:
            words = text.split()
            away = [word.removeprefix("-") for word in words if word.startswith("-")]
            add = [word for word in words if not word.startswith("-")]
            notes = self.project.annotations
            if add:
                self._say_about(["tag", run, *add], lambda: notes.tag(run, *add))
            if away:
                self._say_about(["untag", run, *away], lambda: notes.untag(run, *away))

        help_text = 'Words; "final" protects the run from clean-up. -word takes a tag away.'
        self.sta.ask(f"tags of {run}", "", tagged, help_text=help_text)

    def _say_about(self, command: list[str], work: Any) -> None:
        def done(result: Any) -> None:
            self.sta.did(command)
            self.reload()

        self.fetch(work, done, name=command[0])

    def action_set_head(self) -> None:
        """Let an earlier run stand for its step again."""
        step, run = self.target()
        if not run or not self.is_run_meant():
            self.say("put the cursor on a run (right opens a step), then H lets it stand for the step")
            return
        if self.sta.refuse_read_only():
            return
        history = self.project.history

        def done(told: dict[str, Any]) -> None:
            stale = ", ".join(told["stale"]) or "nothing"
            self.sta.did(["head", step, run], f"{run} stands for {step}; to run now: {stale}")
            self.reload()

        self.sta.confirm(
            f"let {run} stand for {step}?",
            [
                "staproj.toml gets the values of this run; steps after it may become stale.",
                "No run is deleted.",
            ],
            "let it stand",
            lambda: self.fetch(lambda: history.set_head(step, run), done, name="head"),
            command=["head", step, run],
        )

    def action_methods(self) -> None:
        """Show the methods section of what made this."""
        from staproj.report.methods import text_lines

        if run := self._run():
            provenance, width = self.project.provenance, max(self.size.width - FRAME, 20)
            self.fetch(
                lambda: provenance.methods([run]),
                lambda told: self.sta.read(f"methods of {run}", text_lines(told, width)),
                name="methods",
            )

    def action_resume(self) -> None:
        """Go on with what was interrupted."""
        run = self.target()[1] if self.is_run_meant() else None
        starting = Starting(self.project.root)

        def make_plan() -> Any:
            from staproj.errors import UsageError

            plan = starting.resume(run, how=How())
            if plan is None:
                raise UsageError("nothing was interrupted: there is nothing to go on with")
            return plan

        self.sta.begin(make_plan)

    def action_cancel_job(self) -> None:
        """Stop the job of the step under the cursor, or the one at work."""
        step, run = self.target()
        job = next((j for j in self.sta.jobs if j.get("step") == step or (run and j.get("run") == run)), None)
        job = job or (self.sta.jobs[0] if len(self.sta.jobs) == 1 else None)
        if job is None:
            self.say(
                "nothing is running here" if not self.sta.jobs else "J shows all jobs; ctrl+x stops one there"
            )
            return
        cancel_job(self, job)


def cancel_job(screen: StaScreen, job: dict[str, Any]) -> None:
    """Ask, then stop a job; what is finished is kept."""
    name = job["job"]
    jobs = screen.project.jobs
    at = f" at {job['run']} ({job['step']})" if job.get("run") else ""
    screen.sta.confirm(
        f"stop {name}{at}?",
        ["What is finished is kept; u (resume) goes on from there."],
        "stop it",
        lambda: screen.fetch(
            lambda: jobs.cancel(name),
            lambda told: screen.sta.did(["cancel", name], f"{name} was asked to stop"),
            name="cancel",
        ),
        command=["cancel", name],
    )
