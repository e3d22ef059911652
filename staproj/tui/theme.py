"""The colours of the terminal itself as a theme, and a scroll bar for terminals with ASCII only."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.scrollbar import ScrollBarRender
from textual.theme import BUILTIN_THEMES

TERMINAL = replace(
    BUILTIN_THEMES["ansi-dark"],
    name="terminal",
    variables={
        **BUILTIN_THEMES["ansi-dark"].variables,
        "scrollbar": "ansi_bright_black",
        "scrollbar-background": "ansi_default",
        "input-cursor-text-style": "reverse",
        "input-cursor-background": "ansi_default",
        "input-cursor-foreground": "ansi_default",
        "block-cursor-text-style": "reverse",
        "block-cursor-background": "ansi_default",
        "block-cursor-foreground": "ansi_default",
    },
)
"""The terminal's own colours: they fit wherever it is dark or light."""


class AsciiScrollBar(ScrollBarRender):
    """A scroll bar of background colours only."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * len(ScrollBarRender.VERTICAL_BARS)
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * len(ScrollBarRender.HORIZONTAL_BARS)
    BLANK_GLYPH = " "
