"""Kill runs at every place and at random moments; nothing sealed may be lost, and every project must go on.

    python -m tests.trials.kill_trials [--random 400] [--power 300] [--full 100] [--resume 200] [--every 1]

Kinds of trial, each on a fresh copy of a small project, each a child process of its own:

* ``points``  death before and after every single call that changes the disk, from reserving a number to the
  version that is written after the marker (all of them, or every n-th with ``--every``);
* ``power``   the same, and the disk loses bytes (or bytes and names) that were never fsynced;
* ``full``    from some call on the disk is full: one clear error, no crash, nothing half-written;
* ``random``  kill -9 after a random time;
* ``resume``  death at a random point, then death at a random point of ``resume``, then on.

After each: no run shows as running; what was sealed is sealed and every digest fits; the project opens;
recovery is timed; the same command succeeds and ends with the same bytes as one never stopped. Leaves
with 1 otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from staproj.api import Project
from staproj.engine import session
from staproj.engine.execute import Options
from staproj.engine.recover import recover
from staproj.errors import StaprojError
from staproj.project import atomic, runs
from staproj.project.layout import Layout, RunDir
from staproj.stages import registry
from tests.integration import toy_stages as toy
from tests.trials.faults import DEAD, Faults, Power

PIPELINE = """schema = 2
[template]
name = "kill"
help = "Numbers."
[project]
name = "kill"
[step.import]
stage = "toy_import"
[step.import.params]
movies = "raw/*.txt"
[step.shift]
stage = "toy_shift"
inputs = { tilt_series = "import" }
[step.mean]
stage = "toy_mean"
inputs = { tilt_series = "shift" }
"""
RECOVERY_LIMIT_S = 0.3


@dataclass
class Tally:
    """What was seen in all trials."""

    trials: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)
    sealed_by_recovery: int = 0
    resumed: int = 0


class Trials:
    """A project to copy, what it ends with, and the trials on copies of it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = random.Random(seed)
        self.tally = Tally()
        template = folder / "kill.toml"
        template.write_text(PIPELINE)
        self.base = folder / "base"
        (self.base / "raw").mkdir(parents=True)
        for number in (1, 2):
            (self.base / "raw" / f"TS_0{number}.txt").write_text(f"{10 * number}\n")
        project = Project.create(self.base, str(template))
        project.run(["import"])
        begun = time.perf_counter()
        whole = self._copy()
        run_all(whole)
        self.length_s = time.perf_counter() - begun
        self.wanted = outputs(whole)
        shutil.rmtree(whole)
        self.points = self._count()

    def _copy(self) -> Path:
        root = self.folder / f"p{self.draw.getrandbits(40):010x}"
        shutil.copytree(self.base, root)
        return root

    def _count(self) -> int:
        root = self._copy()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            faults = Faults(root, -1)
            faults.install()
            run_all(root)
            os.write(write, str(faults.count).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            found = int(pipe.read())
        os.waitpid(child, 0)
        shutil.rmtree(root)
        return found

    def die_at(self, kind: str, at: int, *, after: bool, power: Power = "") -> None:
        """Run one trial with death at a chosen call."""
        root = self._copy()
        self._die(root, at, after, power, lambda: run_all(root))
        self._check(kind, root, f"{kind} {at} {'after' if after else 'before'} {power}")

    def fill_at(self, at: int) -> None:
        """Run one trial on a disk that is full from call ``at`` on."""
        root = self._copy()
        child = os.fork()
        if child == 0:
            code = DEAD
            try:
                Faults(root, at, full=True).install()
                run_all(root)
                code = 0
            except StaprojError as error:
                code = DEAD if "disk is full" in error.message else 3
            except BaseException:  # noqa: BLE001 - told by the exit code
                code = 1
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        name = f"full {at}"
        if code not in (0, DEAD):
            self.tally.faults.append(f"{name}: not the error of a full disk (exit code {code})")
        self._check("full", root, name)

    def die_twice(self, first: int, second: int) -> None:
        """Die, resume, die again."""
        root = self._copy()
        self._die(root, first, False, "", lambda: run_all(root))
        self._die(root, second, True, "", lambda: resume_all(root))
        self._check("resume", root, f"resume {first} {second}")

    def kill_after(self, seconds: float) -> None:
        """Run one trial with kill -9 at some moment."""
        root = self._copy()
        child = os.fork()
        if child == 0:
            os.fsync = lambda fd: time.sleep(0.0005)  # type: ignore[assignment]
            run_all(root)
            os._exit(0)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self._check("random", root, f"random {1e3 * seconds:.1f} ms")

    def _die(self, root: Path, at: int, after: bool, power: Power, work: Callable[[], None]) -> None:
        child = os.fork()
        if child == 0:
            code = 0
            try:
                Faults(root, at, after=after, power=power).install()
                work()
            except BaseException as error:  # noqa: BLE001 - told by the exit code
                sys.stderr.write(f"a run that was to be killed failed: {error!r}\n")
                code = 1
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code not in (0, DEAD):
            self.tally.faults.append(f"exit code {code} at {at}")

    def _check(self, kind: str, root: Path, name: str) -> None:
        self.tally.trials[kind] += 1
        if sum(self.tally.trials.values()) % 100 == 0:
            sys.stdout.write(f"{dict(self.tally.trials)} {len(self.tally.faults)} faults\n")
            sys.stdout.flush()
        try:
            self._look(root)
        except (AssertionError, StaprojError, OSError, KeyError) as error:
            self.tally.faults.append(f"{name}: {type(error).__name__} {error} ({root})")
            sys.stdout.write(f"  {self.tally.faults[-1]}\n")
        else:
            shutil.rmtree(root)

    def _look(self, root: Path) -> None:
        layout = Layout(root)
        sealed = [run for run in all_runs(layout) if run.is_sealed()]
        assert layout.find_run("r0001").is_sealed(), "a run sealed long ago is gone"
        for run in sealed:
            verify(run)
        project = Project.open(root)
        told = {step["step"]: step["state"] for step in project.status()["steps"]}
        assert "running" not in told.values(), told
        project.ls()
        begun = time.perf_counter()
        done = recover(layout)
        self.tally.recovery_s.append(time.perf_counter() - begun)
        self.tally.sealed_by_recovery += sum(words.startswith("sealed") for words in done)
        assert recover(layout) == [], "recovering twice is not recovering once"
        for run in all_runs(layout):
            assert runs.state_of(run).state in ("sealed", "interrupted", "failed"), run.id
            assert run.is_sealed() or not run.out.exists(), f"outputs of {run.id} without a marker"
        if self.draw.random() < 0.5 and resume_all(root):
            self.tally.resumed += 1
        run_all(root)
        for run in sealed:
            verify(run)
        assert set(told) == {"import", "shift", "mean"}
        states = {step["state"] for step in project.status()["steps"]}
        assert states == {"fresh"}, states
        assert outputs(root) == self.wanted, "other bytes than without a stop"
        left = list(layout.runs.rglob("*.part"))  # those elsewhere are swept when a minute old
        assert not left, left
        assert not layout.lock.exists(), "a lock is left"


def run_all(root: Path) -> None:
    """Bring all steps up to date."""
    session.run_steps(root, options=Options(threads=1))


def resume_all(root: Path) -> bool:
    """Go on with the newest interrupted run where there is one; tell whether there was."""
    layout = Layout(root)
    recover(layout)
    newest = runs.latest_by_step(layout)
    for name in sorted(newest.values(), reverse=True):
        run = layout.run(name)
        if not run.is_sealed() and is_whole(run.spec):  # else `resume` refuses, and `run` makes a new one
            session.run_steps(root, options=Options(threads=1), resume=run.id)
            return True
    return False


def is_whole(path: Path) -> bool:
    """Tell whether a record outlived the power cut."""
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False


def all_runs(layout: Layout) -> list[RunDir]:
    """Return all runs."""
    return [layout.run(name) for name in sorted(layout.iter_runs())]


def verify(run: RunDir) -> None:
    """Check every digest of a sealed run by reading it, without help of the code under test."""
    proof = json.loads(run.sealed.read_bytes())["sha256"]
    for name, digest in proof.items():
        assert sha256(run.path / name) == digest, f"{run.id}: {name}"
    assert set(proof) == {"spec.json", "env.json", "meta.h5", "outputs.json"}
    listed = atomic.read_json(run.outputs)["files"]
    assert listed, run.id
    for entry in listed:
        assert sha256(run.out / entry["path"]) == entry["sha256"], f"{run.id}: {entry['path']}"


def sha256(path: Path) -> str:
    """Return the digest of a file as records have it."""
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def outputs(root: Path) -> dict[str, str]:
    """Return the digest of every output of the runs that stand."""
    found = {}
    heads = {
        name.step: name for name in sorted(Layout(root).iter_runs()) if Layout(root).run(name).is_sealed()
    }
    for step, name in heads.items():
        out = Layout(root).run(name).out
        for path in sorted(out.rglob("*")):
            if path.is_file():
                found[f"{step}/{path.relative_to(out)}"] = sha256(path)
    return found


def main() -> int:
    """Run the trials and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (
        ("random", 400),
        ("power", 300),
        ("full", 100),
        ("resume", 200),
        ("seed", 1),
        ("every", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    begun = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="kill-", ignore_cleanup_errors=True) as folder,
        registry.temporarily(*toy.ALL),
    ):
        trials = Trials(Path(folder), asked.seed)
        sys.stdout.write(f"{trials.points} calls change the disk; a run takes {trials.length_s:.2f} s\n")
        run_trials(trials, asked)
        if trials.tally.faults:
            keep = Path(tempfile.gettempdir()) / "kill-trials-faults"
            shutil.copytree(folder, keep, dirs_exist_ok=True, symlinks=True)
    return report(trials.tally, time.perf_counter() - begun)


def run_trials(trials: Trials, asked: argparse.Namespace) -> None:
    """Run all kinds of trial."""
    draw = trials.draw
    for at in range(1, trials.points + 1, asked.every):
        for after in (False, True):
            trials.die_at("points", at, after=after)
    for number in range(asked.power):
        power: Power = "names" if number % 2 else "bytes"
        trials.die_at("power", draw.randint(1, trials.points), after=bool(number % 4 // 2), power=power)
    for _ in range(asked.full):
        trials.fill_at(draw.randint(1, trials.points))
    for _ in range(asked.random):
        trials.kill_after(draw.uniform(0.0, 1.2 * trials.length_s))
    for _ in range(asked.resume):
        trials.die_twice(draw.randint(20, trials.points), draw.randint(1, trials.points))


def report(tally: Tally, took_s: float) -> int:
    """Print the figures; return the exit code."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in tally.trials.items())
    worst, count = max(tally.recovery_s, default=0.0), sum(tally.trials.values())
    middle = sorted(tally.recovery_s)[len(tally.recovery_s) // 2] if tally.recovery_s else 0.0
    sys.stdout.write(
        f"{count} trials ({kinds}) in {took_s:.0f} s: {len(tally.faults)} faults\n"
        f"recovery: median {1e3 * middle:.1f} ms, longest {1e3 * worst:.1f} ms; "
        f"{tally.sealed_by_recovery} runs sealed by it, {tally.resumed} resumed in place\n"
    )
    for fault in tally.faults[:20]:
        sys.stdout.write(f"  {fault}\n")
    return 1 if tally.faults or worst > RECOVERY_LIMIT_S else 0


if __name__ == "__main__":
    sys.exit(main())
