"""Writing the values of a form into staproj.toml without a run, and taking those of tilt series out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staproj.tui.form_work import WorkForm
from staproj.tui.forms import Form


class Writing(WorkForm):
    """The part of the form that writes values, as ``staproj set`` does."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.resolved: dict[str, Any] | None = None
        self.own: dict[str, dict[str, Any]] = {}

    def refused(self) -> bool:
        """Say what does not fit, and tell whether something does not."""
        raise NotImplementedError

    def action_write(self) -> None:
        """Write the values into staproj.toml; nothing is run."""
        if self.sta.refuse_read_only() or self.refused():
            return
        form = self.form
        full = form.over_manifest()
        if not full:
            self.say("staproj.toml says all this already")
        elif form.sweep():
            self.say("several values are written when they are run: R makes variants of them", "warning")
        else:
            self._set({f"{form.step}.{name}": text for name, text in full.items()}, form.items, ())

    def reset_series(self) -> None:
        """Take values of single tilt series out of staproj.toml, after a question."""
        shown, step = self.list_of("series"), self.form.step
        at = [shown.row.key] if shown.row is not None else []
        items = [item for item in (self.form.items or at) if self.own.get(item)]
        names = [*dict.fromkeys(name for item in items for name in self.own[item])]
        if self.sta.refuse_read_only():
            return
        if not items or self.form.run is not None:
            self.say("values of an old run stay" if self.form.run else "it has no values of its own")
            return
        reset = [f"{step}.{name}" for name in names]
        told = [f"{item}: {', '.join(self.own[item])}" for item in items]
        self.sta.confirm(
            f"take values of its own from {', '.join(items)}?",
            [*told, "Those of the step hold for it then. Nothing is run; no run is deleted."],
            "take them out of staproj.toml",
            lambda: self._set({}, items, reset),
            command=set_command({}, items, reset),
        )

    def _set(self, sets: Mapping[str, str], items: Sequence[str], reset: Sequence[str]) -> None:
        settings, since = self.project.settings, (self.resolved or {}).get("manifest")

        def done(told: dict[str, Any]) -> None:
            if sets:
                self.form.forget()
                self.form.run = None
            stale = ", ".join(told["stale"]) or "nothing"
            self.sta.did(set_command(sets, items, reset), f"written; to run now: {stale}")
            self.reload()

        self.fetch(lambda: settings.set(sets, items or None, reset, since=since), done, name="set")


def set_command(sets: Mapping[str, str], items: Sequence[str], reset: Sequence[str]) -> list[str]:
    """Return the command that writes values without a run."""
    words = ["set", *(f"{full}={text}" for full, text in sets.items())]
    words += [word for full in reset for word in ("--reset", full)]
    return [*words, *(word for item in items for word in ("--item", item))]
