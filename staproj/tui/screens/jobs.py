"""All jobs of the project, what else this machine works on, and how busy it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from staproj.api.logs import job_log
from staproj.api.machine import Machine
from staproj.api.starting import Starting
from staproj.errors import StaprojError, UsageError
from staproj.tui import job_rows
from staproj.tui import look as looks
from staproj.tui.actions import cancel_job
from staproj.tui.asking import whole_number
from staproj.tui.base import WIDE
from staproj.tui.fetching import error_text
from staproj.tui.job_rows import JOB, OTHER, TASK
from staproj.tui.task_watch import TaskWatch
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.text_pane import TextPane

NEWEST = 100


class JobsScreen(TaskWatch):
    """Jobs with their progress; cancel, go on with, and move them in the queue."""

    place = "jobs"
    key_order = ("open", "log", "cancel_job", "resume", "outcome", "move('up')", "move('down')")
    help_text = """
    Above: how busy this machine is, and what runs may use of it. Below: a line a job. Those at work come
    first, then those that wait, in the order in which they get their turn ("queued 2": second in line), then
    work of other projects of yours on this machine, then what has ended, newest first. A job goes on whoever
    leaves. Stopping one keeps what is finished; u goes on with it. + and - move a job that waits.
    """
    DEFAULT_CSS = """
    JobsScreen #load { height: 3; border-bottom: solid ansi_bright_black; }
    JobsScreen #detail { height: 6; border-top: solid ansi_bright_black; }
    JobsScreen.-ascii #load { border-bottom: ascii ansi_bright_black; }
    JobsScreen.-ascii #detail { border-top: ascii ansi_bright_black; }
    JobsScreen.-wide #detail { height: 9; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "log", "log", show=True),
        Binding("ctrl+x", "cancel_job", "stop", show=True),
        Binding("u", "resume", "go on with it", show=True),
        Binding("o", "outcome", "how it ended, in full", show=True),
        Binding("plus", "move('up')", "earlier in the queue", show=True),
        Binding("minus", "move('down')", "later in the queue", show=False),
        Binding("greater_than_sign", "move('up')", "earlier in the queue", show=False, key_display=">"),
        Binding("less_than_sign", "move('down')", "later in the queue", show=False, key_display="<"),
        Binding("1", "move('first')", "first in the queue", show=False),
        Binding("9", "move('last')", "last in the queue", show=False),
        Binding("p", "priority", "give it a priority", show=False),
        Binding("L", "lineage", "what made the run (lineage)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.machine: Machine | None = None
        self.jobs: list[dict[str, Any]] = []
        self._known = False
        self.queue: list[dict[str, Any]] = []
        self.load: dict[str, Any] | None = None
        self.limits: dict[str, Any] = {}
        self._looking = False

    def body(self) -> Iterable[Widget]:
        """Return load, list and details."""
        load, detail = TextPane(id="load", wrap=False), TextPane(id="detail")
        load.can_focus = detail.can_focus = False
        shown = LineList(job_rows.NARROW, id="jobs", empty="looking at the jobs ...", sortable=False)
        yield Container(load, shown, detail, classes="body")

    @property
    def job_list(self) -> LineList:
        """The list of jobs."""
        return self.query_one("#jobs", LineList)

    def on_mount(self) -> None:
        """Give the list the keys."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.job_list.focus()

    def on_resize(self) -> None:
        """Show as many columns and load figures side by side as there is room for."""
        self._show()
        self._show_load()

    def command(self) -> Sequence[str]:
        """Return the command that shows the same."""
        row = self.job_list.row if self.is_mounted else None
        return ["machine"] if row is not None and row.key.startswith(OTHER) else ["jobs"]

    # ------------------------------------------------------------------------------------------- loading
    def reload(self) -> None:
        """Look at jobs, queue and machine."""
        jobs = self.project.jobs
        self.fetch(partial(jobs.all, NEWEST), self._show_jobs, name="jobs")
        self.load_tasks()
        self._look_at_machine()

    def _show_jobs(self, jobs: list[dict[str, Any]]) -> None:
        self.jobs, self._known = jobs, True
        self.job_list.empty = "no job yet: R on the pipeline starts one"
        self._show()

    def progress(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Show how far the jobs are; the load is looked at only while one is at work."""
        now = {job["job"]: job for job in jobs}
        known = {job["job"] for job in self.jobs}
        new = [job for name, job in now.items() if name not in known]
        self.jobs = [*new, *(now.get(job["job"], job) for job in self.jobs)]
        self._show()
        if jobs:
            self._look_at_machine()

    def _look_at_machine(self) -> None:
        """Look at load and queue, unless such a look is under way (a driver may be slow)."""
        if self._looking:
            return
        self._looking = True
        if self.machine is None:
            self.machine = Machine(self.project.root)
        machine = self.machine

        def work() -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
            return machine.load(), machine.limits(), machine.queue()

        def failed(error: Exception) -> None:
            self._looking = False
            self.show_error(error)

        self.fetch(work, self._show_machine, name="machine", failed=failed)

    def _show_machine(self, told: tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]) -> None:
        self._looking = False
        self.load, self.limits, self.queue = told
        self._show_load()
        self._show()

    def show_tasks(self) -> None:
        """Show what goes on in the background."""
        self._show()

    # ------------------------------------------------------------------------------------------- showing
    def _show_load(self) -> None:
        if self.load is None:
            return
        pane = self.query_one("#load", TextPane)
        width = max(self.size.width - 1, 20)
        lines = job_rows.load_lines(self.load, self.limits, self.queue, self.sta.look, width)
        if pane.styles.height is None or pane.styles.height.value != len(lines) + 1:
            pane.styles.height = len(lines) + 1
        pane.set_lines(lines)

    def _show(self) -> None:
        if not self._known:  # else the cursor would stand on what happens to be there first
            return
        wide = self.size.width >= WIDE
        root = str(self.project.root)
        columns = job_rows.WIDE if wide else job_rows.NARROW
        rows = job_rows.job_rows(self.jobs, self.queue, self.tasks, root, self.sta.look, wide=wide)
        if list(columns) != self.job_list.columns:
            self.job_list.columns = [*columns]
            self.job_list.refresh()
        self.job_list.set_rows(rows)
        states = [job["state"] for job in self.jobs]
        running = sum(state in ("running", "starting") for state in states)
        waiting = states.count("queued")
        place = f"jobs: {running} running, {waiting} waiting" if running or waiting else "jobs: none at work"
        if place != self.place:
            self.place = place
            self.tell_place()
        self._details(self.job_list.row)

    @on(LineList.Moved)
    def moved(self, event: LineList.Moved) -> None:
        """Show what the line under the cursor means."""
        self._details(event.row)
        self.tell_place()

    def _details(self, row: Row | None) -> None:
        self.query_one("#detail", TextPane).set_lines(job_rows.details(row))

    # ------------------------------------------------------------------------------------------- actions
    def _job(self) -> dict[str, Any] | None:
        """Return the job under the cursor, or say why there is none."""
        row = self.job_list.row
        if row is None:
            self.say("there is no job")
        elif row.key.startswith(JOB):
            found: dict[str, Any] = row.data
            return found
        elif row.key.startswith(OTHER):
            self.say(f"that is work of another project: {row.data['project'] or 'unknown'}")
        else:
            self.say("that is no job, but a command in the background: A shows it")
        return None

    def _run(self) -> str | None:
        job = self._job()
        if job is not None and not job["run"]:
            self.say(f"{job['job']} has no run yet")
        return None if job is None else job["run"]

    @on(LineList.Opened)
    def opened(self, event: LineList.Opened) -> None:
        """Open the run of the job, or the screen of what goes on in the background."""
        if event.row.key.startswith(TASK):
            self.sta.show("archive", task=event.row.data["task"])
        elif run := self._run():
            self.sta.show("run", run=run)

    def action_log(self) -> None:
        """Show the log of its run."""
        if run := self._run():
            self.sta.show("run", run=run, tab="log")

    def action_lineage(self) -> None:
        """Show what made its run."""
        if run := self._run():
            self.sta.show("lineage", of=run)

    def action_cancel_job(self) -> None:
        """Stop the job, or the command in the background."""
        row = self.job_list.row
        if row is not None and row.key.startswith(TASK):
            self.cancel_task(row.data)
            return
        job = self._job()
        if job is None or self.sta.refuse_read_only():
            return
        if job["state"] not in job_rows.ACTIVE:
            self.say(f"{job['job']} is not running: it is {job['state']}")
            return
        cancel_job(self, job)

    def action_resume(self) -> None:
        """Go on with what was interrupted."""
        job = self._job()
        if job is None:
            return
        if job["state"] in (*job_rows.ACTIVE, "done"):
            self.say(f"{job['job']} is {job['state']}: there is nothing to go on with")
            return
        starting, run = Starting(self.project.root), job["run"]

        def make_plan() -> Any:
            plan = starting.resume(run)
            if plan is None:
                raise UsageError("nothing was interrupted: there is nothing to go on with")
            return plan

        self.sta.begin(make_plan, lambda job: self.reload())

    def action_move(self, move: str) -> None:
        """Move a job that waits in the queue of the machine."""
        job = self._job()
        if job is not None:
            self._reorder(job["job"], [f"--{move}"], move=move)

    def action_priority(self) -> None:
        """Ask for a priority: a higher one goes first."""
        job = self._job()
        if job is None or self.sta.refuse_read_only():
            return

        def given(text: str) -> None:
            self._reorder(job["job"], ["--priority", text.strip()], priority=int(text))

        self.sta.ask(
            f"priority of {job['job']}",
            str(job["priority"]),
            given,
            check=lambda text: "a whole number is wanted" if whole_number(text) is None else "",
            help_text="A whole number; 0 is usual, a higher one goes first on this machine.",
        )

    def _reorder(self, job: str, words: list[str], **where: Any) -> None:
        if self.sta.refuse_read_only():
            return
        jobs = self.project.jobs

        def moved(told: dict[str, Any]) -> None:
            words_of = f"number {told['place']} of {told['waiting']} that wait"
            outcome = f"{job} is {'now' if told['changed'] else 'already'} {words_of}"
            self.sta.did(["queue", job, *words], outcome)
            self.reload()

        self.fetch(lambda: jobs.reorder(job, **where), moved, name="reorder")

    def action_outcome(self) -> None:
        """Show how a job ended in full: its steps, or the error with place and remedy, and its own log."""
        row = self.job_list.row
        if row is not None and row.key.startswith(TASK):
            from staproj.report.background import task_lines

            self.sta.read(row.data["task"], task_lines(row.data))
            return
        job = self._job()
        if job is None:
            return
        jobs = self.project.jobs
        self.fetch(
            lambda: _outcome(jobs, job), lambda lines: self.sta.read(job["job"], lines), name="outcome"
        )

    def copies(self) -> dict[str, str]:
        """Return what can be copied of the line."""
        row = self.job_list.row
        if row is None or not row.key.startswith(JOB):
            return {}
        job = row.data
        found = {"job": job["job"]} | ({"run": job["run"]} if job["run"] else {})
        return found | {"what it said": job["message"]} if job["message"] else found


def _outcome(jobs: Any, job: dict[str, Any]) -> list[Any]:
    from staproj.report.runs import result_rows

    lines = job_rows.details(Row(JOB + job["job"], (), job))
    if job["state"] not in job_rows.ACTIVE:
        lines.append("")
        try:
            lines += result_rows(jobs.outcome(job["job"]))
        except (StaprojError, OSError) as error:
            lines += [(line, looks.BAD) for line in error_text(error).splitlines()]
    log = job_log(jobs.root, job["job"])
    return [*lines, "", ("what its processes wrote", looks.BOLD), *log] if log else lines
