"""Keys that come in a burst: as if each had waited for the one before."""

from __future__ import annotations

import sys

import pytest

from staproj.api import Project
from tests.terminal import PtyApp

STAPROJ = (sys.executable, "-m", "staproj")


@pytest.mark.parametrize("keys", ["/copy\r", "j/copy\r", "jj\x1b[A/copy\r"])
def test_a_filter_typed_ahead_is_a_filter(done: Project, keys: str) -> None:
    """The text after / is the filter, however quickly it comes."""
    with PtyApp([*STAPROJ, "tui", str(done.root)], env={"LC_ALL": "C.UTF-8"}) as app:
        app.wait_for("all 6 fresh", "import", timeout_s=20)
        app.send(keys)
        app.wait_until(lambda told: "copy" in told and "shift" not in told, "the filter")
        app.send("q")
        assert app.wait() == 0


def test_a_note_typed_ahead_is_written_whole(done: Project) -> None:
    """Every letter of a note arrives, and the next key is taken by the screen beneath again."""
    text = "the quick brown fox jumps over the lazy dog " * 3
    with PtyApp([*STAPROJ, "tui", str(done.root)], env={"LC_ALL": "C.UTF-8"}) as app:
        app.wait_for("all 6 fresh", "import", timeout_s=20)
        app.send(f"n{text}\rj")
        app.wait_for("staproj note r0001")
        app.wait_quiet(0.5)
        notes = done.annotations.of("r0001")["notes"]
        assert [note["text"] for note in notes] == [text.strip()]
        app.send("q")
        assert app.wait() == 0


def test_keys_through_several_screens(done: Project) -> None:
    """Enter, a tab, back, another step: all in one burst end where they should."""
    with PtyApp([*STAPROJ, "tui", str(done.root)], env={"LC_ALL": "C.UTF-8"}) as app:
        app.wait_for("all 6 fresh", "import", timeout_s=20)
        app.send("j\r22")
        app.wait_for("offset_px", "default")
        app.send("q")
        assert app.wait() == 0
