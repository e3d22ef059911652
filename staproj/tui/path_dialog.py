"""A box that asks for one pattern or path, with completion and count."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from staproj.report.visible import visible
from staproj.tui import look as looks
from staproj.tui import wizard
from staproj.tui.base import Dialog
from staproj.tui.widgets.path_input import Field


class AskPatterns(Dialog):
    """One line for patterns at the foot of the screen; relative ones start at ``base``."""

    DEFAULT_CSS = """
    AskPatterns { align: left bottom; }
    AskPatterns > .line { height: auto; width: 100%; background: ansi_default; }
    AskPatterns > .line > Static { height: auto; width: 1fr; }
    """

    def __init__(self, label: str, words: str, value: str, base: Path) -> None:
        super().__init__()
        self.label, self.words, self.value, self.base = label, words, value, base

    def compose(self) -> ComposeResult:
        """Show the line, and what matches below it."""
        told = "tab completes, enter takes it, esc leaves it; several patterns: a; b; empty: as by default"
        with Vertical(classes="line"):
            yield Static(Text(visible(told), style=looks.DIM))
            yield Field(
                self.label,
                self.words,
                self.value,
                see=lambda text: wizard.see_patterns(text, self.base),
                complete=lambda text: wizard.complete_patterns(text, self.base),
                suggestions=wizard.suggested,
                alone=True,
            )

    def on_mount(self) -> None:
        """Be ready for typing."""
        self.query_one(Field).focus()

    @on(Field.Left)
    def left(self, event: Field.Left) -> None:
        """Leave with the patterns."""
        if event.taken and event.by > 0:
            self.dismiss(event.field.value)
