"""What is asked about the values of a form whenever they change: do they do together, what comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staproj.errors import StaprojError
from staproj.tui import form_how, forms
from staproj.tui.form_write import Writing
from staproj.tui.forms import Form
from staproj.tui.widgets.lines import Row


class Judging(Writing):
    """The part of the form that asks, in a thread, what its values come to; ``judged`` is the answer."""

    def __init__(self, form: Form) -> None:
        super().__init__(form)
        self.judged: dict[str, Any] = {}
        self.needs_inputs = False
        """Whether what the step reads was never made, so that it is made first."""
        self.until: str | None = None
        """The last step that variants are copies of; without, all that depends on the step."""
        self.chain: list[str] = []

    def draw(self) -> None:
        """Bring rows and lines up to date; nothing is read."""
        raise NotImplementedError

    def changed(self) -> None:
        """Show what was typed, and ask what comes of it."""
        self.judged = {}
        self.draw()
        self.judge()

    def judge(self) -> None:
        """Ask, in a thread, whether the values do together, and what would come of them."""
        form, project, starter, jobs = self.form, self.project, self.starter, self.how.jobs
        if form.problems():
            self.judged = {"problem": ""}
            self.draw()
            return
        asked, full, items = form.asked(), form.over_manifest(), form.items or None
        sweep = {name: form.values(name) for name in full} if form.sweep() else {}
        together: list[Mapping[str, Any]] = [*form.combinations()] if sweep else [full]
        run, until = form.run, self.until

        def work() -> dict[str, Any]:
            if len(together) > forms.MOST_VARIANTS:
                return {"problem": f"that makes more than {forms.MOST_VARIANTS} variants"}
            for values in together:
                if problem := project.settings.check_all(form.step, values, items):
                    return {"problem": problem}
            if sweep:
                return {"problem": "", "sweep": starter.sweep(form.step, sweep, until=until, jobs=jobs)}
            told = project.settings.preview(form.step, asked, items, run, jobs=jobs)
            return {"problem": "", "preview": told}

        def done(judged: dict[str, Any]) -> None:
            self.judged = judged
            if "preview" in judged:
                self.needs_inputs = bool(judged["preview"]["problem"])
            if "sweep" in judged and not until:
                self.chain = judged["sweep"]["steps"]
            self.draw()
            self.show_how()

        def failed(error: Exception) -> None:
            self.judged = {"problem": error.message if isinstance(error, StaprojError) else str(error)}
            self.draw()
            self.show_error(error)

        self.fetch(work, done, name="judge", failed=failed)

    def more_how(self) -> list[Row]:
        """Return the row that says how far variants go, where there are several values."""
        return [form_how.until_row(self.until, self.sta.look)] if self.form.sweep() else []

    def edit_how(self, name: str) -> None:
        """Ask for another choice."""
        if name != "until":
            super().edit_how(name)
            return

        def taken(step: str) -> None:
            self.until = step or None
            self.show_how()
            self.changed()

        steps = [(step, step) for step in self.chain]
        self.sta.choose(
            form_how.LABELS[name], [("", "the end: all that depends on it"), *steps], taken,
            note=form_how.HELP[name],
        )  # fmt: skip
