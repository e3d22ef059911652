"""How things look: signs with plain twins, and styles in the terminal's own sixteen colours.

Nothing is told by colour alone: every state has a sign and a word. The colours are those of the terminal, so
that light and dark, sixteen colours and none all work; without colour, bold, dim and reverse remain.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style

PLAIN = Style()
DIM = Style(dim=True)
BOLD = Style(bold=True)
CURSOR = Style(reverse=True)
UNFOCUSED = Style(bold=True)
BAR = Style(reverse=True)
HEAD = Style(bold=True, underline=True)
KEY = Style(bold=True)
GOOD = Style(color="green")
WARN = Style(color="yellow")
BAD = Style(color="red", bold=True)
LIVE = Style(color="cyan", bold=True)
MATCH = Style(reverse=True, bold=True)

STATE_STYLE: Mapping[str, Style] = {
    "fresh": GOOD,
    "soft": GOOD,
    "sealed": GOOD,
    "done": GOOD,
    "stale": WARN,
    "never-run": DIM,
    "unknown": WARN,
    "missing-recreatable": WARN,
    "missing-lost": BAD,
    "failed": BAD,
    "interrupted": WARN,
    "cancelled": WARN,
    "running": LIVE,
    "starting": LIVE,
    "queued": LIVE,
    "unreachable": WARN,
}

_SIGNS: Mapping[str, tuple[str, str]] = {
    "fresh": ("✓", "+"),
    "soft": ("✓", "+"),
    "sealed": ("✓", "+"),
    "done": ("✓", "+"),
    "stale": ("~", "~"),
    "never-run": ("·", "."),
    "unknown": ("?", "?"),
    "missing-recreatable": ("!", "!"),
    "missing-lost": ("‼", "!"),
    "failed": ("✗", "x"),
    "interrupted": ("‖", "="),
    "cancelled": ("‖", "="),
    "running": ("▶", ">"),
    "starting": ("▶", ">"),
    "queued": ("»", "&"),
    "unreachable": ("?", "?"),
    "mark": ("•", "*"),
    "cursor": ("›", ">"),
    "open": ("▾", "-"),
    "closed": ("▸", "+"),
    "head": ("★", "*"),
    "differs": ("≠", "#"),
    "rule": ("─", "-"),
    "bar": ("│", "|"),
    "up": ("↑", "^"),
    "down": ("↓", "v"),
    "more": ("…", "~"),
    "warning": ("⚠", "!"),
    "error": ("✗", "x"),
    "on": ("[x]", "[x]"),
    "off": ("[ ]", "[ ]"),
    "full": ("█", "#"),
    "empty": ("░", "-"),
    "branch": ("├─", "|-"),
    "last": ("└─", "`-"),
    "arrow": ("→", ">"),
}


@dataclass(frozen=True)
class Look:
    """What this terminal can show. ``unicode``: more than ASCII; ``colours``: any at all."""

    unicode: bool = True
    colours: bool = True

    def sign(self, name: str) -> str:
        """Return a sign by name; its plain twin where the terminal has ASCII only."""
        pair = _SIGNS.get(name, (" ", " "))
        return pair[0] if self.unicode else pair[1]

    def state(self, state: str) -> tuple[str, Style]:
        """Return the sign of a state with its style."""
        return self.sign(state), STATE_STYLE.get(state, PLAIN)

    def bar(self, share: float, width: int) -> str:
        """Return how full something is as a bar of ``width`` characters."""
        full = round(min(max(share, 0.0), 1.0) * width)
        return self.sign("full") * full + self.sign("empty") * (width - full)

    def plain(self, text: str) -> str:
        """Return text in characters that this terminal has."""
        if self.unicode or text.isascii():
            return text
        return text.translate(_PLAIN).encode("ascii", "replace").decode()


_PLAIN = str.maketrans(
    {rich: plain for rich, plain in _SIGNS.values() if len(rich) == 1}
    | {
        "Å": "A",
        "µ": "u",
        "°": "d",
        "²": "2",
        "³": "3",
        "×": "x",
        "├": "|",
        "└": "`",
        "─": "-",
        "│": "|",
        "┤": "|",
    }
    | {"╌": "-", "•": "*", "∞": "i", "±": "~", "≥": ">", "≤": "<", "–": "-", "—": "-", "▀": "^", "▄": "_"}
    | {"▁": "_", "▂": "_", "▃": "-", "▅": "=", "▆": "=", "▇": "#"}
)


def of_terminal(environment: Mapping[str, str] | None = None, *, ascii_only: bool | None = None) -> Look:
    """Return what this terminal can show, from the locale, ``TERM``, ``NO_COLOR`` and ``STAPROJ_ASCII``."""
    env = os.environ if environment is None else environment
    if ascii_only is None:
        asked = env.get("STAPROJ_ASCII", "")
        utf8 = "utf" in (locale.getpreferredencoding(False) or "").lower()
        ascii_only = asked not in ("", "0") or env.get("TERM") in ("linux", "dumb", "vt100") or not utf8
    return Look(not ascii_only, "NO_COLOR" not in env)
