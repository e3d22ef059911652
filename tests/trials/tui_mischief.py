"""A toy project with all that can be in one, and what may happen to it while somebody looks at it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from staproj.api import Project
from staproj.errors import StaprojError
from staproj.stages import registry
from tests.integration import toy_stages as toy

ODD = "\x1b[31m\x1b]0;title\x07 a\u0301 \u202eltr 漢字 👩‍🚀 \x00\x85"


@contextmanager
def toy_stages() -> Iterator[None]:
    """Register the toy stages; nothing is forced to the disk, for no power is cut here."""
    fsync, os.fsync = os.fsync, lambda fd: None
    try:
        with registry.temporarily(*toy.ALL):
            yield
    finally:
        os.fsync = fsync
        toy.SWITCH.clear()


def build(home: Path) -> Path:
    """Build a project with runs of all kinds: heads and older ones, variants, failed, interrupted."""
    root = home / "p"
    (home / "toy.toml").write_text(toy.TEMPLATE)
    (root / "raw").mkdir(parents=True)
    for number in (1, 2, 3):
        (root / "raw" / f"TS_0{number}.txt").write_text(f"{10 * number}\n")
    project = Project.create(root, str(home / "toy.toml"))
    project.run()
    project.run(sets={"shift.offset_px": 3.0})
    project.rerun("mean", sets={"weight": 2.0})
    for made in project.variants.create("again", {"offset_px": "4,5"}, until="mean"):
        project.run(made["steps"])
    for action, item in (("fail", "TS_02"), ("interrupt", "TS_03")):
        toy.SWITCH[item] = action
        with suppress(StaprojError, KeyboardInterrupt):
            project.rerun("shift", sets={"offset_px": 7.0 if action == "fail" else 8.0})
        toy.SWITCH.clear()
    runs = [str(row["run"]) for row in project.ls()]
    notes = project.annotations
    notes.note(runs[0], "a first look: 漢字, and a long line " + "x" * 300)
    notes.rate(runs[1], 4)
    notes.tag(runs[2], "final", "good")
    project.history.tag("first", "1")
    (root / "exports").mkdir(exist_ok=True)
    (root / "exports" / "Å 100%.star").write_text("data_\n")
    return root


class Mischief:
    """Things that other people and programs do to a project; each is given by its name and a number."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kinds: dict[str, Callable[[random.Random], None]] = {
            "a value in the manifest": self._value,
            "the manifest is damaged": self._damaged_manifest,
            "the manifest is good again": self._good_manifest,
            "a step has another name": self._renamed_step,
            "a run is made": self._made,
            "a run fails": self._failed,
            "a note is written": self._noted,
            "a run is deleted": self._deleted,
            "a run has another name": self._renamed,
            "a file of a run is gone": self._gone,
            "a file of a run is damaged": self._damaged,
            "notes are damaged": self._damaged_notes,
            "a version is damaged": self._damaged_version,
            "a job appears": self._job,
            "jobs are gone": self._no_jobs,
            "a log grows": self._log,
            "raw data are gone": self._no_raw,
            "clean-up": self._cleaned,
            "the project is elsewhere for a moment": self._away,
        }
        self._manifest = (root / "staproj.toml").read_text()

    def do(self, kind: str, number: int) -> None:
        """Do one of them; what goes wrong with it in a damaged project does not matter."""
        with suppress(StaprojError, OSError, KeyboardInterrupt):
            self.kinds[kind](random.Random(number))

    # ------------------------------------------------------------------------------------------ manifest
    @property
    def _path(self) -> Path:
        return self.root / "staproj.toml"

    def _value(self, rng: random.Random) -> None:
        text = self._path.read_text(errors="replace")
        self._path.write_text(text.replace("offset_px = ", f"offset_px = {rng.randint(1, 9)}", 1))

    def _damaged_manifest(self, rng: random.Random) -> None:
        text = self._manifest
        bad = (
            "", "schema = 99\n", "not toml at all [", text[: rng.randrange(len(text))], text + "\x00\x1b[2J",
            text.replace("toy_shift", ODD[:8]), text.replace('"import"', '"nowhere"'), text * 2,
            text.replace("offset_px = 2.0", 'offset_px = "two"'), "[step.x]\n" + text,
        )  # fmt: skip
        choice = rng.randrange(len(bad) + 2)
        if choice == len(bad):
            self._path.unlink()
        elif choice > len(bad):
            self._path.write_bytes(rng.randbytes(300))
        else:
            self._path.write_text(bad[choice])

    def _good_manifest(self, rng: random.Random) -> None:
        self._path.write_text(self._manifest)

    def _renamed_step(self, rng: random.Random) -> None:
        name = rng.choice(("import", "shift", "again", "mean", "other", "copy"))
        text = self._manifest.replace(f'"{name}"', '"other_name"')
        self._path.write_text(text.replace(f"step.{name}", "step.other_name"))

    # ---------------------------------------------------------------------------------------------- runs
    def _made(self, rng: random.Random) -> None:
        Project(self.root).run(sets={"shift.offset_px": float(rng.randint(-50, 50))})

    def _failed(self, rng: random.Random) -> None:
        toy.SWITCH["TS_02"] = rng.choice(("fail", "interrupt", "full"))
        try:
            self._made(rng)
        finally:
            toy.SWITCH.clear()

    def _noted(self, rng: random.Random) -> None:
        run = self._run(rng).name.split("-")[0]
        Project(self.root).annotations.note(run, rng.choice(("fine", "漢字" * 40, "\x1b[2J")))

    def _run(self, rng: random.Random) -> Path:
        found = sorted(path for path in (self.root / "runs").iterdir() if path.is_dir())
        if not found:
            raise OSError("no run is left")
        return rng.choice(found)

    def _deleted(self, rng: random.Random) -> None:
        shutil.rmtree(self._run(rng), ignore_errors=True)

    def _renamed(self, rng: random.Random) -> None:
        run = self._run(rng)
        run.rename(run.with_name(rng.choice((f"r{rng.randint(1, 12000):04d}-x", "old", "r-", "漢字"))))

    def _file(self, rng: random.Random) -> Path:
        found = sorted(path for path in self._run(rng).rglob("*") if path.is_file())
        if not found:
            raise OSError("no file is left")
        return rng.choice(found)

    def _gone(self, rng: random.Random) -> None:
        run = self._run(rng)
        names = [run / name for name in ("meta.h5", "SEALED", "spec.json", "outputs.json", "env.json", "out")]
        path = rng.choice([*names, self._file(rng)])
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def _damaged(self, rng: random.Random) -> None:
        names = ("meta.h5", "spec.json", "outputs.json", "env.json", "state.jsonl")
        self._damage(rng, rng.choice([*(self._run(rng) / name for name in names), self._file(rng)]))

    def _damage(self, rng: random.Random, path: Path) -> None:
        old = path.read_bytes() if path.is_file() else b""
        more = (b"", rng.randbytes(200), b"[]", b"{}", b"null", b'{"a": 1e999}', ODD.encode())
        path.write_bytes(rng.choice((*more, old[: len(old) // 2], old[:-1])))

    def _log(self, rng: random.Random) -> None:
        logs = sorted((self.root / "runs").glob("*/log/*"))
        if logs:
            with rng.choice(logs).open("ab") as log:
                log.write(
                    rng.choice((b"a line\n", rng.randbytes(500), b"x" * 20_000 + b"\n", b"\x1b[2J\r\n" * 50))
                )

    # --------------------------------------------------------------------------------------------- others
    def _damaged_notes(self, rng: random.Random) -> None:
        place = self.root / "annot"
        place.mkdir(exist_ok=True)
        known = [*sorted(path.name for path in place.iterdir()), "accepted.toml", "r0001.toml"]
        self._damage(rng, place / rng.choice(known))

    def _damaged_version(self, rng: random.Random) -> None:
        found = sorted((self.root / "versions").iterdir())
        if found:
            self._damage(rng, rng.choice(found))

    def _job(self, rng: random.Random) -> None:
        place = self.root / ".staproj" / "jobs" / f"j{rng.randint(1, 40):04d}"
        place.mkdir(parents=True, exist_ok=True)
        for name in ("job.json", "state.jsonl", "events.jsonl", "result.json", "log.txt", "heartbeat"):
            if rng.random() < 0.6:
                self._damage(rng, place / name)
        if rng.random() < 0.5:
            job = {"schema": 1, "kind": "run", "arguments": {}, "command": ["run"], "created": "2026-01-01"}
            (place / "job.json").write_text(json.dumps(job))

    def _no_jobs(self, rng: random.Random) -> None:
        shutil.rmtree(self.root / ".staproj" / "jobs", ignore_errors=True)

    def _no_raw(self, rng: random.Random) -> None:
        (self.root / "raw" / f"TS_0{rng.randint(1, 3)}.txt").unlink()

    def _cleaned(self, rng: random.Random) -> None:
        Project(self.root).storage.clean(superseded=rng.random() < 0.5)

    def _away(self, rng: random.Random) -> None:
        other = self.root.with_name("elsewhere")
        self.root.rename(other)
        other.rename(self.root)
