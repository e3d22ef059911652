"""Measure the terminal interface through a pseudo terminal; `make bench-terminal` runs it.

    python -m tests.trials.tui_numbers [--quick] [--runs 10000] [--modes truecolor linux] [--write PAGE]

Leaves with 1 when a mark is missed. What is measured, and how, stands in the page that it writes.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from staproj.project.layout import Layout
from tests.screen_model import framed
from tests.terminal import PtyApp
from tests.trials import big_project, engine_numbers, live_stage
from tests.trials.engine_numbers import Mark

FIRST_STEP = "import_movies_1"
STATES = ("fresh", "soft")
"""The first step of the big project, and the words for its state: first paint is when they share a line."""
RUN_TABS = 9
RUN_WORDS = ("summary", "values", "record")
"""How many tabs the screen of a run has, and words that stand on it."""
SCREENS = (
    ("run", "enter", "pictures"),
    ("rerun", "r", "4 preview"),
    ("compare", "d", "verdicts"),
    ("lineage", "L", "lineage of"),
    ("jobs", "J", "jobs:"),
    ("tilt series", "T", "3 tilt series,"),
    ("versions", "V", "versions:"),
    ("space, clean-up", "C", "3 trash"),
    ("archive, export", "A", "archive, export"),
    ("import data", "I", "import data"),
    ("commands", "W", "commands given here"),
    ("help", "?", "keys here"),
    ("palette", ":", "what do you want to do"),
)
"""Screens that are opened from the first: the key, and words that then stand there (in whatever case)."""
MODES: Mapping[str, tuple[str, dict[str, str]]] = {
    "truecolor": ("xterm-256color", {"COLORTERM": "truecolor"}),
    "256 colours": ("xterm-256color", {}),
    "TERM=linux": ("linux", {}),
    "NO_COLOR": ("xterm-256color", {"NO_COLOR": "1"}),
}
FIRST_PAINT_S, RSS_MB, KEY_MS, KEY_KB, IDLE_B_S, LIVE_KB_S = 1.2, 120.0, 100.0, 6.0, 0.0, 10.0
QUIET_S = 0.25
"""So long after the last byte a repaint is over."""


@dataclass
class Effort:
    """How much is measured."""

    starts: int = 7
    moves: int = 30
    idle_s: float = 20.0
    live_s: float = 15.0


QUICK = Effort(starts=3, moves=10, idle_s=5.0, live_s=6.0)


@dataclass
class Pressed:
    """What a key brought: bytes, and when the first and the last came, milliseconds after it."""

    key: str
    size: int
    first_ms: float
    last_ms: float


@dataclass
class Numbers:
    """Everything that was measured: marks by name, then by mode."""

    marks: dict[str, dict[str, Mark]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    mode: str = ""

    def add(self, name: str, measured: float, limit: float | None, unit: str) -> None:
        """Note one number of the mode that is being measured."""
        self.marks.setdefault(name, {})[self.mode] = Mark(name, measured, limit, unit)
        told = f" (mark {limit:g})" if limit is not None else ""
        print(f"{self.mode}: {name}: {measured:.4g} {unit}{told}", flush=True)  # noqa: T201

    def remark(self, what: str) -> None:
        """Note what could not be measured."""
        self.remarks.append(f"{self.mode}: {what}")
        print(f"{self.mode}: {what}", flush=True)  # noqa: T201

    @property
    def missed(self) -> list[str]:
        """Names of the marks that were missed, with the mode."""
        found = [mark for modes in self.marks.values() for mark in modes.items()]
        return [f"{mark.name} ({mode})" for mode, mark in found if not mark.passed]


@dataclass
class Bench:
    """Starts the interface on a project in one mode of colours."""

    home: Path
    mode: str
    root: Path
    more: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> PtyApp:
        """Start the interface at 80x24."""
        term, colours = MODES[self.mode]
        return PtyApp(
            [sys.executable, str(Path(sys.executable).parent / "staproj"), "tui", str(self.root)],
            env={**self.surroundings(), **colours},
            term=term,
        )

    def surroundings(self) -> dict[str, str]:
        """Return what keeps the person's own settings out."""
        homes = {f"XDG_{name}_HOME": str(self.home / name.lower()) for name in ("CONFIG", "CACHE", "STATE")}
        return {"HOME": str(self.home), "STAPROJ_STATE": str(self.home / "state"), **homes, **self.more}


def is_painted(screen: str) -> bool:
    """Tell whether the pipeline stands on the screen with the states of its steps."""
    lines = [line for line in screen.splitlines() if FIRST_STEP in line]
    return any(state in line for line in lines for state in STATES)


def paint(app: PtyApp) -> float:
    """Wait for the first paint; return when it was."""
    return app.wait_until(is_painted, "the pipeline with the states of its steps", 30.0)


def measure(numbers: Numbers, bench: Bench, live: Bench, effort: Effort) -> None:
    """Measure everything in one mode."""
    numbers.mode = bench.mode
    _starts(numbers, bench, effort)
    with bench.start() as app:
        paint(app)
        app.wait_quiet(1.0)
        numbers.add("memory after first paint", app.rss_bytes() / 1e6, RSS_MB, "MB")
        _idle(numbers, app, effort)
    for part in (_moves, _run_screen, _screens):
        with bench.start() as app:
            paint(app)
            app.wait_quiet(1.0)
            try:
                part(numbers, app, effort)
            except (AssertionError, OSError) as error:
                numbers.remark(f"{part.__name__.strip('_')}: {error}")
    try:
        _live(numbers, live, effort)
    except AssertionError as error:
        numbers.remark(f"live: {error}")


# ------------------------------------------------------------------------------------------------- at rest
def _starts(numbers: Numbers, bench: Bench, effort: Effort) -> None:
    """Time starts: from exec until the pipeline is there with states, and until all is painted."""
    firsts, wholes, sizes = [], [], []
    for turn in range(effort.starts + 1):
        with bench.start() as app:
            first = paint(app) - app.started
            whole = app.wait_quiet(0.8, 30.0) - app.started
            if turn:  # the first start fills the caches of the disk
                firsts, wholes, sizes = [*firsts, first], [*wholes, whole], [*sizes, len(app.output)]
    numbers.add("first paint, median", statistics.median(firsts), FIRST_PAINT_S, "s")
    numbers.add("first paint, best", min(firsts), None, "s")
    numbers.add("first paint, worst", max(firsts), None, "s")
    numbers.add("last paint after the start, median", statistics.median(wholes), None, "s")
    numbers.add("bytes of the start", statistics.median(sizes) / 1000, None, "kB")
    Layout(bench.root).index.unlink(missing_ok=True)
    with bench.start() as app:
        numbers.add("first paint, index deleted", paint(app) - app.started, None, "s")
        app.wait_quiet(1.5, 30.0)


def _idle(numbers: Numbers, app: PtyApp, effort: Effort) -> None:
    """Count what comes while nothing is going on."""
    app.wait_quiet(2.0, 30.0)
    began, worked = time.monotonic(), cpu_s(app.pid)
    time.sleep(effort.idle_s)
    took = time.monotonic() - began
    numbers.add("idle", app.bytes_between(began) / took, IDLE_B_S, "B/s")
    numbers.add("CPU while idle", 100 * (cpu_s(app.pid) - worked) / took, None, "%")


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process so far, seconds."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------------------------------------- on keys
def press(app: PtyApp, key: str, quiet_s: float = QUIET_S) -> Pressed:
    """Press a key, wait until the screen is quiet again, and tell what came."""
    pressed = app.send(key)
    app.wait_quiet(quiet_s, 30.0)
    came = app.between(pressed)
    times = [1000 * (when - pressed) for when, _ in came] or [0.0]
    return Pressed(key, sum(len(piece) for _, piece in came), times[0], times[-1])


def _moves(numbers: Numbers, app: PtyApp, effort: Effort) -> None:
    """Move through the steps, then through the runs of one."""
    moves = [press(app, key) for key in ["j"] * effort.moves + ["k"] * (effort.moves // 2)]
    folds = [press(app, "right", 0.5)]
    moves += [press(app, key) for key in ["j"] * (effort.moves // 2)]
    silent = [move.key for move in moves if not move.size]
    if silent:
        numbers.remark(f"{len(silent)} of {len(moves)} moves of the cursor brought nothing")
    _delays(numbers, "key to repaint (j, k)", moves, KEY_MS)
    numbers.add("first byte after a key (j, k), median", _median(m.first_ms for m in moves), None, "ms")
    _sizes(numbers, "bytes of a key (j, k)", moves)
    _held(numbers, app)
    folds.append(press(app, "left", 0.5))
    _delays(numbers, "key to repaint (right, left: runs of a step)", folds, None)
    _sizes(numbers, "bytes of a key (right, left)", folds)


def _run_screen(numbers: Numbers, app: PtyApp, effort: Effort) -> None:
    """Open the run of a step twice, turn its tabs there and back, and leave it."""
    keys = []
    for _ in range(2):
        keys.append(press(app, "enter", 0.6))
        app.wait_for(*RUN_WORDS)
        keys += [press(app, key, 0.5) for key in ["]"] * RUN_TABS + ["["] * RUN_TABS]
        keys.append(press(app, "esc", 0.6))
        app.wait_until(is_pipeline, "the pipeline", 5.0)
    for name, pressed in (("[ ]", "[]"), ("enter", ("enter",)), ("esc", ("esc",))):
        _delays(numbers, f"key to repaint ({name})", [key for key in keys if key.key in pressed], None)
        _sizes(numbers, f"bytes of a key ({name})", [key for key in keys if key.key in pressed])
    _tell(keys)


def _tell(keys: Sequence[Pressed]) -> None:
    told = (f"{key.key} {key.size / 1000:.1f} kB {key.first_ms:.0f}-{key.last_ms:.0f} ms" for key in keys)
    print("; ".join(told), flush=True)  # noqa: T201


def is_pipeline(screen: str) -> bool:
    """Tell whether the first screen is on top."""
    return "pipeline" in screen.partition("\n")[0]


def _held(numbers: Numbers, app: PtyApp) -> None:
    """Hold a key down for two seconds: how far the screen is behind at the end."""
    began = time.monotonic()
    for turn in range(60):
        time.sleep(max(began + turn / 30 - time.monotonic(), 0))
        last = app.send("j")
    behind = app.wait_quiet(0.4, 30.0) - last
    numbers.add("behind a key held at 30 Hz", 1000 * max(behind, 0.0), None, "ms")
    numbers.add("bytes of a key held at 30 Hz, mean", app.bytes_between(began) / 60_000, KEY_KB, "kB")


def _screens(numbers: Numbers, app: PtyApp, effort: Effort) -> None:
    """Open each main screen by its key and come back."""
    pressed = []
    for name, key, words in SCREENS:
        opened = press(app, key, 1.0)
        screen = app.screen()
        assert app.alive(), f"the interface ended at {name!r}:\n{framed(screen)}"
        if words in "\n".join(screen).casefold():
            pressed.append(opened)
        else:
            numbers.remark(f"the screen {name!r} did not open with {key}:\n{framed(screen)}")
        for _ in range(3):
            press(app, "esc", 0.6)
            if is_pipeline(screen := "\n".join(app.screen())) and words not in screen.casefold():
                break
    _sizes(numbers, "bytes of a key that opens a screen", pressed)
    numbers.add("first byte of a screen, slowest", max(key.first_ms for key in pressed), None, "ms")
    _delays(numbers, "key to repaint (opens a screen)", pressed, None)
    _tell(pressed)
    numbers.add("memory after every main screen", app.rss_bytes() / 1e6, None, "MB")


def _delays(numbers: Numbers, name: str, keys: Sequence[Pressed], limit: float | None) -> None:
    times = sorted(key.last_ms for key in keys if key.size)
    if times:
        numbers.add(f"{name}, median", statistics.median(times), limit, "ms")
        numbers.add(f"{name}, 95th percentile", _high(times), limit, "ms")


def _sizes(numbers: Numbers, name: str, keys: Sequence[Pressed]) -> None:
    sizes = sorted(key.size / 1000 for key in keys)
    numbers.add(f"{name}, mean", statistics.fmean(sizes), KEY_KB, "kB")
    numbers.add(f"{name}, 95th percentile", _high(sizes), KEY_KB, "kB")
    numbers.add(f"{name}, most", sizes[-1], KEY_KB, "kB")


def _median(values: Any) -> float:
    return statistics.median(list(values))


def _high(ordered: Sequence[float]) -> float:
    """Return the 95th percentile of ordered values."""
    return ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)]


# ---------------------------------------------------------------------------------------------------- live
def _live(numbers: Numbers, bench: Bench, effort: Effort) -> None:
    """Watch a job that reports forty times a second and writes twenty lines a second."""
    with bench.start() as app:
        app.wait_for(live_stage.STEP, "running", timeout_s=30.0)
        _watch(numbers, app, effort, "the pipeline", lambda: _progress(app))
        app.send("J")
        app.wait_until(lambda screen: not is_pipeline(screen), "the screen of the jobs", 10.0)
        _watch(numbers, app, effort, "the jobs", lambda: "\n".join(app.screen()))
        app.send("esc")
        app.wait_until(is_pipeline, "the pipeline", 10.0)
        app.send("g", "j")
        app.send("l")
        app.wait_for(f"{live_stage.WORD} ", "residual", timeout_s=10.0)
        _watch(numbers, app, effort, "the log", lambda: _newest(app))


def _watch(numbers: Numbers, app: PtyApp, effort: Effort, what: str, told: Callable[[], Any]) -> None:
    """Count what comes from a screen on which something is going on."""
    time.sleep(2.0)
    before, began, worked = told(), time.monotonic(), cpu_s(app.pid)
    time.sleep(effort.live_s)
    took = time.monotonic() - began
    numbers.add(f"live, {what}", app.bytes_between(began) / took / 1000, LIVE_KB_S, "kB/s")
    numbers.add(f"CPU while live, {what}", 100 * (cpu_s(app.pid) - worked) / took, None, "%")
    if told() == before:
        numbers.remark(f"nothing moved on {what}:\n{framed(app.screen())}")


def _progress(app: PtyApp) -> list[str]:
    return [line for line in app.screen() if live_stage.STEP in line]


def _newest(app: PtyApp) -> int:
    """Return the number of the newest line of the log on the screen."""
    return max(map(int, re.findall(live_stage.WORD + r" (\d+)", "\n".join(app.screen()))), default=-1)


def begin(bench: Bench) -> None:
    """Start the job that talks."""
    words = [sys.executable, "-m", "staproj", "run", "--detach", "-C", str(bench.root)]
    env = {**os.environ, **bench.surroundings()}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


# ---------------------------------------------------------------------------------------------------- page
def page(numbers: Numbers, modes: Sequence[str], facts: Sequence[str]) -> str:
    """Return the page with all numbers."""
    lines = ["# Numbers of the terminal interface", ""]
    lines += ["Written by `make bench-terminal`, which leaves with an error when a mark is missed.", ""]
    lines += [f"- {fact}" for fact in facts]
    lines += ["", f"| what | mark | {' | '.join(modes)} | |", "|--" * (len(modes) + 3) + "|"]
    for name, found in numbers.marks.items():
        one = next(iter(found.values()))
        mark = "" if one.limit is None else f"{one.limit:g} {one.unit}"
        cells = [_cell(found.get(mode)) for mode in modes]
        passed = all(each.passed for each in found.values())
        said = "" if one.limit is None else "ok" if passed else "**missed**"
        lines.append(f"| {name}, {one.unit} | {mark} | {' | '.join(cells)} | {said} |")
    if numbers.remarks:
        lines += ["", "Not as expected:", ""]
        lines += [f"- {remark.splitlines()[0].rstrip(':')}" for remark in numbers.remarks]
    return "\n".join([*lines, "", *HOW.strip().splitlines(), ""])


HOW = f"""
Every start is a process of its own in a pseudo terminal of 80x24 that answers what an xterm answers; files
are in the page cache. First paint: from exec until a line of the screen holds the first step and its state.
Repaint: from the key until the last byte that follows it (quiet for {QUIET_S:g} s after). A kB is 1000 bytes,
an MB a million. Memory is the resident memory of the program and its children. Live: a job reports its
progress {live_stage.REPORTS_PER_S} times a second and writes {live_stage.LINES_PER_S} lines a second
to its log, in a small project. After `esc` a program waits for a moment to tell that key from the beginning
of another one.
"""


def _cell(mark: Mark | None) -> str:
    if mark is None:
        return ""
    value = mark.measured
    told = f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.3g}"
    return told if mark.passed else f"**{told}**"


def facts(runs: int, command: str, load: float) -> list[str]:
    """Return what the numbers are of."""
    commit, cpu = engine_numbers._commit(), engine_numbers._cpu()
    return [
        f"commit: {commit}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}; `{command}`",
        f"machine: {cpu}, {os.cpu_count()} processors, {platform.system()} {platform.release()};"
        f" load average {load:.1f} when it began",
        f"Python {platform.python_version()}, Textual {version('textual')}",
        f"project: {runs} runs of {len(big_project.ITEMS)} tilt series, built without computing",
    ]


def main() -> int:
    """Measure, write the page, judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="fewer tries, shorter waits")
    parser.add_argument("--modes", nargs="+", choices=[*MODES], default=[*MODES])
    parser.add_argument("--project", type=Path, help="measure on this project, made by big_project")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    numbers, effort = Numbers(), QUICK if asked.quick else Effort()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        root = asked.project or big_project.build(home / "big", asked.runs).root
        runs = sum(1 for _ in Layout(root).iter_runs())
        live_root, environment = live_stage.build(home)
        begin(Bench(home, asked.modes[0], live_root, environment))
        try:
            for mode in asked.modes:
                live = Bench(home, mode, live_root, environment)
                measure(numbers, Bench(home, mode, root), live, effort)
        finally:
            live_stage.end(environment)
            _until_done(Bench(home, asked.modes[0], live_root, environment))
    if asked.write:
        words = "python -m tests.trials.tui_numbers" + (" --quick" if asked.quick else "")
        asked.write.write_text(page(numbers, asked.modes, facts(runs, words, load)), encoding="utf-8")
    missed = numbers.missed
    print("all marks reached" if not missed else "missed: " + "; ".join(missed))  # noqa: T201
    return int(bool(missed or numbers.remarks))


def _until_done(bench: Bench, timeout_s: float = 30.0) -> None:
    """Wait until the job is over, so that its files can be removed."""
    from staproj.api import Project

    until = time.monotonic() + timeout_s
    while Project(bench.root).jobs.active() and time.monotonic() < until:
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
