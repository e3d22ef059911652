"""Draw the main screens of a project as small SVG files; `make screenshots` does so for the demo project.

    python -m tests.trials.screenshots PROJECT DIRECTORY [NAME ...]

The project is only looked at; what needs a job is drawn of a copy beside it, which is removed. The drawings
refer to no font or other file from elsewhere. A directory of this machine on one of them is an error, and the
names of machine and person are replaced, as the drawings are published.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.api import Project
from staproj.tui.app import StaprojApp
from staproj.tui.look import Look
from tests.tui_screen import drive, press, screen_text, settle, until

SIZE = (100, 30)


@dataclass(frozen=True)
class Shot:
    """One drawing: file, title, the keys that lead there from the first screen, and what is then there."""

    name: str
    title: str
    keys: tuple[str, ...]
    text: str


def down_to(step: int) -> tuple[str, ...]:
    """Return the keys that bring the cursor to a step of the demo pipeline, counted from 0."""
    return ("j",) * step


CTF, RECONSTRUCT, REFINE, FSC = 7, 9, 17, 20
TYPED = ("r", "j", "enter", "backspace", "backspace", "backspace", "5", "enter")
COMPARED = (*down_to(REFINE - 1), "space", "space", "d")
SHOTS = (
    Shot("pipeline", "staproj tui", down_to(CTF), "hand"),
    Shot("help", "? on every screen", ("question_mark",), "keys here"),
    Shot("palette", ": finds everything that can be done", ("colon", *"clean"), "clean-up:"),
    Shot("run-summary", "enter: a run", (*down_to(CTF), "enter"), "spectrum_view"),
    Shot("run-values", "a run: its values", (*down_to(CTF), "enter", "2"), "default"),
    Shot("run-curves", "a run: its curves", (*down_to(FSC), "enter", "6"), "frequency"),
    Shot("run-pictures", "a run: its pictures", (*down_to(RECONSTRUCT), "enter", "7"), "▀"),
    Shot("rerun", "r: run again with other values", (*down_to(CTF), *TYPED), "typed"),
    Shot("rerun-preview", "what another value means", (*down_to(CTF), *TYPED, "4"), "free"),
    Shot("lineage", "L: what made it", (*down_to(REFINE), "L"), "initial_reference"),
    Shot("compare", "d: marked runs compared", COMPARED, "n_iterations"),
    Shot("compare-curves", "marked runs: curves over each other", (*COMPARED, "3"), "frequency"),
    Shot("series", "T: tilt series", ("T",), "TS_01"),
    Shot("versions", "V: versions", ("V",), "new project"),
    Shot("clean-up", "C: space and clean-up", ("C",), "motion"),
    Shot("archive", "A: archive and export", ("A",), "RO-Crate"),
    Shot("import", "I: import data", ("I",), "it can be imported"),
    Shot("new", "a new project", ("colon", *"new proj", "enter"), "22 steps"),
)
AT_WORK = (
    Shot("running", "a step at work", down_to(REFINE), "left"),
    Shot("log", "l: the log follows", (*down_to(REFINE), "l"), "begins"),
    Shot("jobs", "J: jobs", ("J",), "running"),
)
"""Those that need a job: they are drawn of a copy of the project."""
JOB = ("rerun", "refine_bin1", "--set", "refine_bin1.n_iterations=3", "--detach")
TERMINAL = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
WAITING = ("looking at", "? %")
FOREIGN = ("NO_COLOR", "TMUX", "TERM_PROGRAM", "SSH_CONNECTION")


def draw(project: Path, shot: Shot) -> str:
    """Walk to a screen and return its drawing."""
    app = StaprojApp(project, look=Look())
    found: list[str] = []

    async def scenario(pilot: Any) -> None:
        from textual.widgets import Input

        await until(pilot, lambda: "✓" in screen_text(app))
        for key in shot.keys:
            await press(pilot, "space" if key == " " else key)
        await until(pilot, lambda: is_there(screen_text(app), shot.text))
        for line in app.screen.query(Input):
            line.cursor_blink = False
        await settle(pilot)
        refuse_private(screen_text(app), project)
        found.append(masked(small(app.export_screenshot(title=shot.title))))

    drive(app, scenario, SIZE)
    return found[0]


def is_there(screen: str, text: str) -> bool:
    """Tell whether a text stands on the screen, and nothing that is still being looked for."""
    return text in screen and not any(words in screen for words in WAITING)


@contextmanager
def at_work(project: Path) -> Iterator[Path]:
    """Yield a copy of a project in which a job is at work; what no run writes to is not copied but linked."""

    def copy(source: str, target: str) -> None:
        if {"out", "session"} & {*Path(source).parts}:
            with suppress(OSError):
                os.link(source, target)
                return
        shutil.copy2(source, target)

    with tempfile.TemporaryDirectory(dir=project.resolve().parent) as directory:
        root = Path(directory) / project.resolve().name
        shutil.copytree(project, root, copy_function=copy, symlinks=True)
        env = {**os.environ, "STAPROJ_STATE": str(Path(directory) / "state")}
        staproj = [sys.executable, "-m", "staproj"]
        subprocess.run([*staproj, *JOB], cwd=root, check=True, env=env, stdout=subprocess.DEVNULL)
        try:
            yield root
        finally:
            job = Project(root).jobs.all()[0]["job"]
            subprocess.run([*staproj, "cancel", job, "-C", str(root)], check=False, env=env)


def refuse_private(text: str, project: Path) -> None:
    """Raise where a screen names a directory of this machine."""
    found = [word for word in (str(project.resolve().parent), str(Path.home())) if word in text]
    if found:
        raise SystemExit(f"the screen names {', '.join(found)}:\n{text}")


def masked(svg: str) -> str:
    """Return a drawing with other names, as long, for this machine and this person."""
    for name, other in ((socket.gethostname(), "microscope"), (getpass.getuser(), "user")):
        svg = re.sub(rf"\b{re.escape(name)}\b", f"{other:-<{len(name)}}"[: len(name)], svg)
    return svg


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
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ.update(TERMINAL)

    def write(project: Path, shots: Sequence[Shot]) -> None:
        for shot in shots:
            path = asked.directory / f"{shot.name}.svg"
            path.write_text(draw(project, shot), encoding="utf-8")
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)  # noqa: T201

    wanted = {*asked.names} or {shot.name for shot in (*SHOTS, *AT_WORK)}
    write(asked.project, [shot for shot in SHOTS if shot.name in wanted])
    live = [shot for shot in AT_WORK if shot.name in wanted]
    if live:
        with at_work(asked.project) as root:
            write(root, live)
    return 0


if __name__ == "__main__":
    sys.exit(main())
