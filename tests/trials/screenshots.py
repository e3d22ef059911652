"""Draw the main screens of a project as small SVG files; `make screenshots` does so for the demo project.

    python -m tests.trials.screenshots PROJECT DIRECTORY [NAME ...]

The project is only looked at. The drawings refer to no font or other file from elsewhere. Whatever names a
directory or a person of this machine is an error, as the drawings are published.
"""

from __future__ import annotations

import argparse
import getpass
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.tui.app import StaprojApp
from staproj.tui.look import Look
from tests.tui_screen import drive, press, screen_text, settle, until

SIZE = (100, 30)


@dataclass(frozen=True)
class Shot:
    """One drawing: file, title, the keys that lead there from the first screen, and what is then to be seen.

    A key that begins with ``=`` is a text that is typed.
    """

    name: str
    title: str
    keys: tuple[str, ...]
    text: str


def down_to(step: int) -> tuple[str, ...]:
    """Return the keys that bring the cursor to a step of the demo pipeline, counted from 0."""
    return ("j",) * step


CTF, RECONSTRUCT, REFINE, FSC = 7, 9, 17, 20
SHOTS = (
    Shot("pipeline", "staproj tui", down_to(CTF), "hand"),
    Shot("help", "? on every screen", ("question_mark",), "keys here"),
    Shot("run-summary", "enter: a run", (*down_to(CTF), "enter"), "summary"),
    Shot("run-values", "a run: its values", (*down_to(CTF), "enter", "2"), "default"),
    Shot("run-curves", "a run: its curves", (*down_to(FSC), "enter", "6"), "fsc"),
    Shot("run-pictures", "a run: its pictures", (*down_to(RECONSTRUCT), "enter", "7"), "pictures"),
    Shot("rerun", "r: run again with other values", (*down_to(CTF), "r"), "ctf"),
    Shot("lineage", "L: what made it", (*down_to(REFINE), "L"), "lineage"),
    Shot("compare", "d: marked runs compared", (*down_to(REFINE - 1), "space", "j", "space", "d"), "compare"),
    Shot("series", "T: tilt series", ("T",), "TS_01"),
    Shot("jobs", "J: jobs", ("J",), "jobs"),
    Shot("versions", "V: versions", ("V",), "versions"),
    Shot("clean-up", "C: space and clean-up", ("C",), "clean"),
    Shot("archive", "A: archive and export", ("A",), "archive"),
)


def draw(project: Path, shot: Shot) -> str:
    """Walk to a screen and return its drawing."""
    app = StaprojApp(project, look=Look())
    found: list[str] = []

    async def scenario(pilot: Any) -> None:
        from textual.widgets import Input

        await until(pilot, lambda: "✓" in screen_text(app))
        for key in shot.keys:
            await press(pilot, *(key[1:] if key.startswith("=") else [key]))
        await until(pilot, lambda: shot.text in screen_text(app).casefold() or shot.text in screen_text(app))
        for line in app.screen.query(Input):
            line.cursor_blink = False
        await settle(pilot)
        refuse_private(screen_text(app), project)
        found.append(small(app.export_screenshot(title=shot.title)))

    drive(app, scenario, SIZE)
    return found[0]


def refuse_private(text: str, project: Path) -> None:
    """Raise where a screen names this machine, a person, or a directory."""
    own = [str(project.resolve().parent), str(Path.home()), socket.gethostname()]
    own += [getpass.getuser()] if len(getpass.getuser()) > 4 else []
    found = [word for word in own if len(word) > 1 and word in text]
    if found:
        raise SystemExit(f"the screen names {', '.join(found)}:\n{text}")


def small(svg: str) -> str:
    """Return a drawing without fonts from elsewhere, numbers made up for it, and what is not seen."""
    svg = re.sub(r"\s*@font-face \{.*?\}\s*(?=@|\.)", "\n    ", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "monospace").replace(
        "font-family: arial", "font-family: sans-serif"
    )
    svg = re.sub(r"terminal-\d+", "t", svg)
    svg = re.sub(r'<clipPath id="t-line-\d+">.*?</clipPath>\s*', "", svg, flags=re.DOTALL)
    svg = re.sub(r' clip-path="url\(#t-line-\d+\)"', "", svg)
    svg = re.sub(r' shape-rendering="crispEdges"', "", svg)
    svg = _RECTANGLE.sub(_joined(), svg)
    svg = re.sub(r"<[^>]+>", lambda tag: re.sub(r"\d+\.\d+", _short, tag[0]), svg)
    svg = re.sub(r"<text [^>]*>(?:&#160;|\s)*</text>\s*", "", svg)
    svg = svg.replace("&#160;", " ").replace("<svg ", '<svg xml:space="preserve" ', 1)
    return re.sub(r"\n\s*\n+", "\n", re.sub(r"(?m)^ +", "", svg)).strip() + "\n"


def _short(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}".removesuffix(".0")


_RECTANGLE = re.compile(
    r'<rect fill="(?P<fill>#\w+)" x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" width="(?P<width>[\d.]+)"'
    r' height="(?P<height>[\d.]+)"/>(?=(?P<next><rect fill="[^"]*" x="[\d.]+" y="[\d.]+")?)'
)


def _joined() -> Callable[[re.Match[str]], str]:
    """Return what makes one rectangle of those that stand side by side in one colour."""
    begin: list[float] = []

    def join(match: re.Match[str]) -> str:
        fill, y = match["fill"], match["y"]
        begin[:] = begin or [float(match["x"])]
        end = float(match["x"]) + float(match["width"])
        beside = re.match(r'<rect fill="([^"]*)" x="([\d.]+)" y="([\d.]+)"', match["next"] or "")
        if beside and (beside[1], beside[3]) == (fill, y) and abs(float(beside[2]) - end) < 0.01:
            return ""
        start = begin.pop()
        size = f'width="{end - start:.1f}" height="{match["height"]}"'
        return f'<rect fill="{fill}" x="{start:.1f}" y="{y}" {size}/>'

    return join


def main() -> int:
    """Draw all screens, or those that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    asked = parser.parse_args()
    asked.directory.mkdir(parents=True, exist_ok=True)
    for shot in SHOTS:
        if not asked.names or shot.name in asked.names:
            path = asked.directory / f"{shot.name}.svg"
            path.write_text(draw(asked.project, shot), encoding="utf-8")
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
