"""A few screens to the last colour: what is drawn changes only when somebody means it.

`STAPROJ_DRAW_AGAIN=1 pytest tests/golden/test_tui_snapshots.py` writes the drawings anew; look at them before
you commit them. They were made by this program; their fonts and numbers are taken out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.stages import registry
from staproj.tui.look import Look
from tests.integration import toy_stages as toy
from tests.trials.screenshots import small
from tests.tui_screen import drive, open_app, press, screen_text, until

DRAWINGS = Path(__file__).parent / "data" / "tui"
SIZE = (80, 24)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Return a project of toy stages in which nothing was run, so that no time or commit is shown."""
    with registry.temporarily(*toy.ALL):
        template = tmp_path / "toy.toml"
        template.write_text(toy.TEMPLATE)
        (tmp_path / "snapshot" / "raw").mkdir(parents=True)
        (tmp_path / "snapshot" / "raw" / "TS_01.txt").write_text("10\n")
        yield Project.create(tmp_path / "snapshot", str(template))


SCREENS: dict[str, tuple[tuple[str, ...], str, bool]] = {
    "pipeline": (("j",), "r: run it again", True),
    "pipeline-ascii": (("j", "space"), "r: run it again", False),
    "filter": (("slash", *"mean"), "filter", True),
    "form": (("j", "r", "enter", *"2.5", "enter"), "1 typed", True),
    "help": (("question_mark",), "keys here", True),
    "palette": (("colon", *"offset"), "offset", True),
}
"""Keys from the first screen, a text to wait for, and whether the terminal has Unicode."""


@pytest.mark.parametrize("name", list(SCREENS))
def test_screens_are_drawn_as_they_were(project: Project, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawing of each of these screens is that which was looked at and kept."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    keys, text, unicode = SCREENS[name]
    found: list[str] = []
    app = open_app(project.root, look=Look(unicode=unicode))

    async def scenario(pilot: Any) -> None:
        await until(pilot, lambda: "never run" in screen_text(app))
        await press(pilot, *keys)
        await until(pilot, lambda: text in screen_text(app))
        await press(pilot)
        found.append(small(app.export_screenshot(title=name)))

    drive(app, scenario, SIZE)
    _compare(DRAWINGS / f"{name}.svg", found[0])


def _compare(path: Path, drawing: str) -> None:
    if os.environ.get("STAPROJ_DRAW_AGAIN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(drawing, encoding="utf-8")
    kept = path.read_text(encoding="utf-8")
    assert drawing.split("\n") == kept.split("\n"), f"{path.name} is drawn in another way"
