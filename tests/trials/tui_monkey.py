"""Press keys at random in the interface while the project changes underneath; it must never break or hang.

    python -m tests.trials.tui_monkey [--seconds 300] [--seed 1] [--size 80x24] [--ascii]
    python -m tests.trials.tui_monkey --replay INPUTS.json      (what a finding was written to, once more)

Keys are those bound on the screen, those bound anywhere, letters, digits and others; text is pasted, the
window changes its size, and a thread edits, damages and deletes files of the project and makes runs. A
finding is an exception that leaves the app or a thread of it, an error on the screen that is not of
staproj's kinds (a fault of the program), a key that takes more than 20 s, a control character on the screen,
and an app that esc does not bring back to its first screen. No job is started. Each finding is told with the
inputs since the app was opened. Leaves with 1 after a finding.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from textual import events  # noqa: TID253 - a trial of the interface
from textual.binding import Binding  # noqa: TID253
from textual.dom import DOMNode  # noqa: TID253
from textual.worker import Worker  # noqa: TID253

from staproj.tui import app as tui_app
from staproj.tui.base import StaScreen
from staproj.tui.dialogs import Choose, Confirm, Reading
from staproj.tui.fetching import error_text
from staproj.tui.look import Look
from tests.trials.tui_mischief import ODD, Mischief, build, toy_stages
from tests.tui_screen import open_app, screen_text, settle

Input = tuple[str, Any]
KEY_LIMIT_S = 20.0
CHECK_EVERY = 40
RESTART_EVERY = 160
WIZARD_EVERY = 5
LOOK_EVERY_S = (0.1, 1.0, 100.0)
"""How often the app looks on, one after the other: what it shows is new, or long out of date."""
ENDING = ("q", "ctrl+q")
MOVES = ("j", "k", "g", "G", "enter", "space", "left", "right", "up", "down", "tab", "shift+tab", "pagedown",
         "left_square_bracket", "right_square_bracket", "home", "end", "backspace", "delete")  # fmt: skip
ASCII = "".join(map(chr, range(128)))
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:-_#+*!?/\\\"'~^ µÅ漢"
CONTROLS = (*(f"ctrl+{letter}" for letter in "abdefghijklnoprstuvwxy"), "f1", "f5", "insert", "ctrl+home")
WORDS = ("3.5", "-1", "²", "nan", "1e999", "0", "", "1,2,3", "1:3:1", "none", "true", "shift", "offset_px",
         "r0002", "r0002-shift", "r99999", "raw/*.txt", "raw/TS_0[", "../..", "a b; c", "!x", "first", "v 1",
         "-final", "9" * 5000, "[bold]x[/", "%s %d {x}", "漢字", "١٢", "--5", ".", "x" * 300)  # fmt: skip
PASTES = (ODD, "x" * 10_000, "漢" * 5_000, "a\nb\nc\n", "\x1b[200~", "\u202eabc\u202c", "e" + "\u0301" * 300,
          "\r\n", "[" * 500, "'\"`$(touch x)")  # fmt: skip


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def all_keys() -> list[str]:
    """Return every key that some screen, box or widget of the interface binds."""
    for place in tui_app.SCREENS.values():
        with suppress(ModuleNotFoundError):
            import_module(place.partition(":")[0])
    found: set[str] = set()
    kinds: list[type] = [DOMNode]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("staproj.tui"):
            for binding in kind.__dict__.get("BINDINGS", ()):
                keys = binding.key if isinstance(binding, Binding) else binding[0]
                found.update(keys.split(","))
    return sorted(found - {*ENDING})


class Chooser:
    """Draws inputs; the ``number``-th depends on the seed, its number, and what is bound just then."""

    def __init__(self, seed: int, kinds: Sequence[str]) -> None:
        self.seed, self.kinds, self.bound = seed, tuple(kinds), all_keys()

    def draw(self, number: int, app: Any) -> Input:
        """Return the next input."""
        rng = random.Random(f"{self.seed}/{number}")
        share, key = rng.random(), self._key(rng, app)
        if share < 0.73:
            return "key", key
        if share < 0.80:
            return "text", rng.choice(WORDS)
        if share < 0.82:
            return "paste", rng.choice(PASTES)
        if share < 0.85:
            return "size", [rng.randint(20, 250), rng.randint(5, 80)]
        if share < 0.88:
            return "click", [rng.random(), rng.random()]
        if share < 0.975 and self.kinds:
            return "mischief", [rng.choice(self.kinds), rng.randrange(10**6)]
        return "wait", round(rng.random() * 0.3, 3)

    def _key(self, rng: random.Random, app: Any) -> str:
        share, place = rng.random(), rng.random()
        active = sorted({*app.screen.active_bindings} - {*ENDING, "escape"})
        pools = ((0.45, active), (0.60, self.bound), (0.80, MOVES), (0.90, LETTERS), (0.96, CONTROLS))
        for most, pool in pools:
            if share < most and pool:
                key = pool[int(place * len(pool))]
                is_path = key in ("/", "slash") and isinstance(app.focused, tui_app.Input)
                return "x" if is_path else key  # nothing is written outside of the place of the trial
        return "escape" if share < 0.995 else "q"


class Monkey:
    """Plays on one project, one app after the other, and keeps what it finds."""

    def __init__(self, template: Path, home: Path, *, seed: int, size: tuple[int, int], look: Look) -> None:
        self.template, self.home, self.size, self.look = template, home, size, look
        self.seed = seed
        self.chooser = Chooser(seed, tuple(Mischief(template).kinds))
        self.inputs: list[Input] = []
        self.findings: list[tuple[str, list[Input]]] = []
        self.places: dict[str, int] = {}
        self.known: set[str] = set()
        self.number = self.apps = 0
        self.beat = time.monotonic()
        self.others = ThreadPoolExecutor(1)

    # ------------------------------------------------------------------------------------------- playing
    def play(self, *, until: float = 0.0, most: int = 0, inputs: Sequence[Input] | None = None) -> None:
        """Go on until then, for so many inputs, or with these inputs."""
        while True:
            before = self.number
            self._one_app(until, most, inputs)
            if inputs is not None or (most and self.number >= most) or (until and time.monotonic() > until):
                return
            if self.number == before and len(self.findings) > 20:
                return

    def _one_app(self, until: float, most: int, inputs: Sequence[Input] | None) -> None:
        root = self.home / "play" / "p"
        shutil.rmtree(root.parent, ignore_errors=True)
        shutil.copytree(self.template, root, symlinks=True)
        self.mischief = Mischief(root)
        self.apps += 1
        start_in = root.parent / "work" / "here"
        start_in.mkdir(parents=True)
        wizard = inputs[0][0] == "wizard" if inputs else self.apps % WIZARD_EVERY == 0
        self.inputs = [("wizard", "")] if wizard and not inputs else []
        app = open_app(None if wizard else root, look=self.look, start_in=start_in)
        self._hear(app)
        tui_app.LOOK_EVERY_S = LOOK_EVERY_S[self.apps % len(LOOK_EVERY_S)]
        try:
            asyncio.run(self._drive(app, until, most, inputs))
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            self._found("left the app", error)
        finally:
            self.others.submit(lambda: None).result()
            self.beat = time.monotonic()

    async def _drive(self, app: Any, until: float, most: int, inputs: Sequence[Input] | None) -> None:
        async with app.run_test(size=self.size, message_hook=self._hear_message) as pilot:
            await settle(pilot)
            given = iter(inputs) if inputs is not None else self._drawn(app, until, most)
            for one in given:
                self.inputs.append(one)
                await self._put(pilot, *one)
                self.beat = time.monotonic()
                if not app.is_running or app._exit:
                    return
                self._look_at_text(app)
                self.places[type(app.screen).__name__] = self.places.get(type(app.screen).__name__, 0) + 1
                if len(self.inputs) % CHECK_EVERY == 0 and not await self._gets_back(pilot):
                    return
            await self._gets_back(pilot)

    def _look_at_text(self, app: Any) -> None:
        """Nothing that acts on the terminal may be drawn, and in a terminal of ASCII only ASCII."""
        text = screen_text(app)
        acts = sorted({c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"})
        rich = [] if self.look.unicode or app.screen.query(tui_app.Input) else sorted({*text} - {*ASCII})
        if (acts or rich) and (
            name := f"drawn: {acts or rich} {type(app.screen).__name__}"
        ) not in self.known:
            self.known.add(name)
            self._note(f"{name}\n{text}")

    def _drawn(self, app: Any, until: float, most: int) -> Iterator[Input]:
        for _ in range(RESTART_EVERY):
            if (most and self.number >= most) or (until and time.monotonic() > until):
                return
            self.number += 1
            yield self.chooser.draw(self.number, app)

    async def _put(self, pilot: Any, kind: str, value: Any) -> None:
        app = pilot.app
        if kind == "key":
            await pilot.press(value)
        elif kind in ("text", "paste"):
            app.post_message(events.Paste(value))
            await pilot.pause(0)
            if kind == "text" and not app._exit:
                await pilot.press("enter")
        elif kind == "size":
            await pilot.resize_terminal(*value)
        elif kind == "click":
            width, height = app.screen.size
            await pilot.click(offset=(int(value[0] * width), int(value[1] * height)))
        elif kind == "mischief":
            self.others.submit(self.mischief.do, *value)
        elif kind == "wait":
            await pilot.pause(value)
            if value > 0.2:
                await settle(pilot)

    async def _gets_back(self, pilot: Any) -> bool:
        """Press esc until the first screen is there again, and look whether it answers."""
        app = pilot.app
        await settle(pilot)
        asked: set[type] = set()
        for _ in range(6 * len(app.screen_stack) + 20):
            screen = app.screen
            if app._exit:
                return False
            if len(app.screen_stack) <= 2 and isinstance(screen, StaScreen):
                break
            if type(screen) in asked and isinstance(screen, Confirm | Choose):
                await pilot.press(*(("right", "enter") if isinstance(screen, Confirm) else ("G", "enter")))
            else:
                await pilot.press("escape")
            asked.add(type(screen))
            await settle(pilot)
            self.beat = time.monotonic()
        else:
            self._note(f"esc does not lead back\n{app.screen_stack}\n{screen_text(app)}")
            return False
        if not isinstance(app.focused, tui_app.Input):
            await pilot.press("question_mark")
            await settle(pilot)
            if not isinstance(app.screen, Reading):
                self._note(f"? does not show the help\n{app.screen_stack}\n{screen_text(app)}")
                return False
            await pilot.press("escape")
        return True

    # ------------------------------------------------------------------------------------------ findings
    def _hear(self, app: Any) -> None:
        keep = app.keep_error

        def heard(error: BaseException) -> None:
            keep(error)
            if "Traceback" in error_text(error):
                self._found("shown as an error", error)

        app.keep_error = heard

    def _hear_message(self, message: Any) -> None:
        if isinstance(message, Worker.StateChanged) and isinstance(message.worker.error, Exception):
            self._found("in a thread", message.worker.error)

    def _found(self, what: str, error: BaseException) -> None:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/site-packages/" not in f.filename]
        name = f"{type(error).__name__} {[(Path(f.filename).name, f.lineno) for f in frames[-2:]]}"
        if name not in self.known:
            self.known.add(name)
            self._note(f"{what}: {''.join(traceback.format_exception(error)[-12:])}")

    def _note(self, words: str) -> None:
        self.findings.append((words, list(self.inputs)))
        path = self.home / f"finding-{self.seed}-{len(self.findings)}.json"
        path.write_text(json.dumps(self.inputs))
        where = f"seed {self.seed}, input {self.number}, {self.size}"
        say(f"\n=== finding {len(self.findings)} ({where}): {words}")
        say(f"the last inputs: {self.inputs[-12:]!r:.2000}\nall of them: {path}")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """End the process, with what all threads do, when a key takes too long."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.5):
                if time.monotonic() - self.beat > KEY_LIMIT_S:
                    self._note(f"nothing came of the last input for {KEY_LIMIT_S:.0f} s")
                    faulthandler.dump_traceback(all_threads=True)
                    os._exit(1)

        self.beat = time.monotonic()
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def quiet_place(home: Path) -> Iterator[None]:
    """Let nothing start processes or write outside of ``home``."""
    settings = {
        name: str(home / name.lower()) for name in ("STAPROJ_STATE", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
    }
    for place in settings.values():
        Path(place).mkdir(exist_ok=True)
    before = Path.cwd()
    os.chdir(home)
    try:
        with (
            mock.patch.dict(os.environ, settings | {"HOME": str(home)}),
            mock.patch("staproj.engine.jobs.launch.start"),
            mock.patch("staproj.api.background._launch"),
            toy_stages(),
        ):
            yield
    finally:
        os.chdir(before)


def main() -> int:
    """Play for some time, tell what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", default="80x24", help="columns x lines to begin with")
    parser.add_argument("--ascii", action="store_true", help="a terminal without Unicode and colour")
    parser.add_argument("--replay", type=Path, help="inputs of a finding")
    asked = parser.parse_args()
    width, _, height = asked.size.partition("x")
    look = Look(False, False) if asked.ascii else Look()
    inputs = json.loads(asked.replay.read_text()) if asked.replay else None
    if asked.ascii:
        os.environ["NO_COLOR"] = "1"
    home = Path(tempfile.mkdtemp(prefix="staproj-monkey-"))
    with quiet_place(home):
        monkey = Monkey(build(home), home, seed=asked.seed, size=(int(width), int(height)), look=look)
        with monkey.watched():
            monkey.play(until=time.monotonic() + asked.seconds, inputs=inputs)
    found = f"{monkey.number} inputs at {asked.size}, seed {asked.seed}: {len(monkey.findings)} findings"
    say(f"\n{found}; seen: {monkey.places}")
    if not monkey.findings:
        shutil.rmtree(home)
    return 1 if monkey.findings else 0


if __name__ == "__main__":
    sys.exit(main())
