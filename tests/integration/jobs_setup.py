"""A project of slow toy stages on disk, and commands on it, as a person at a terminal has them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from staproj.api import Project
from staproj.project import runs
from staproj.stages import registry
from tests.integration import job_stages
from tests.integration import toy_stages as toy

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = {
    "toy_import": f"{toy.HERE}:IMPORT",
    "toy_mean": f"{toy.HERE}:MEAN",
    "toy_slow": f"{job_stages.__name__}:SLOW",
}


class Terminal:
    """A project with slow stages, and a place to call commands from."""

    def __init__(self, home: Path) -> None:
        self.root = home / "project"
        self.control = home / "control"
        self.control.mkdir(parents=True)
        raw = self.root / "raw"
        raw.mkdir(parents=True)
        for number in (1, 2, 3):
            (raw / f"TS_0{number}.txt").write_text(f"{10 * number}\n")
        (self.root / "staproj.toml").write_text(job_stages.TEMPLATE)
        facts = home / "plug-in" / "toys-0.dist-info"
        facts.mkdir(parents=True)
        facts.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 0\n")
        lines = [f"{name} = {target}" for name, target in PLUGINS.items()]
        facts.joinpath("entry_points.txt").write_text("[staproj.stages]\n" + "\n".join(lines) + "\n")
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(facts.parent), str(ROOT)]),
            "TOY_CONTROL": str(self.control),
            "STAPROJ_STATE": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
        }

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """Start a command and leave it to itself."""
        return subprocess.Popen(
            [sys.executable, "-m", "staproj", *words],
            cwd=self.root,
            env=self.environment,
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
        )

    def call(self, *words: str, code: int = 0) -> str:
        """Call a command, which must leave with ``code``; return what it printed."""
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, (process.returncode, out, err)
        return out + err

    def answer(self, *words: str, code: int = 0) -> Any:
        """Return the JSON document of a command."""
        process = self.start(*words, "--json")
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, (process.returncode, out, err)
        return json.loads(out)

    def hold(self, name: str = "hold") -> None:
        """Let the slow stage wait (``hold-TS_02``: at one item)."""
        (self.control / name).touch()

    def go(self, name: str = "hold") -> None:
        """Let the slow stage go on."""
        (self.control / name).unlink()

    def limit(self, text: str) -> None:
        """Set the limits of the machine."""
        path = Path(self.environment["XDG_CONFIG_HOME"]) / "staproj" / "machine.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def calls(self) -> list[str]:
        """Items that were begun to be computed, in order."""
        path = self.control / "calls"
        return path.read_text().split() if path.exists() else []

    def begun(self, item: str, times: int = 1) -> None:
        """Wait until an item is being computed."""
        until(lambda: self.calls.count(item) >= times)

    def job(self, name: str | None = None) -> dict[str, Any]:
        """Return a job as it is, the newest without a name."""
        jobs = Project.open(self.root).jobs
        return jobs.describe(name or jobs.all()[0]["job"])

    def processes(self, name: str = "j0001") -> dict[str, int]:
        """Return the process numbers of supervisor and worker of a job."""
        lines = (self.root / ".staproj" / "jobs" / name / "state.jsonl").read_text().splitlines()
        return {event["event"]: event["pid"] for event in map(json.loads, lines) if "pid" in event}

    def states(self) -> dict[str, str]:
        """Return the state of each step; "soft" is fresh here, somebody may commit while tests run."""
        with registry.temporarily(toy.IMPORT, job_stages.SLOW, toy.MEAN):
            told = Project.open(self.root).status()
        found = {step["step"]: step["state"] for step in told["steps"]}
        return {name: "fresh" if state == "soft" else state for name, state in found.items()}

    def run_state(self, run: str) -> str:
        """Return the state of a run, as every list has it."""
        return runs.state_of(Project.open(self.root).layout.find_run(run)).state

    def end(self) -> None:
        """End what is left of all jobs by force."""
        for job in Project.open(self.root).jobs.active():
            for number in self.processes(job).values():
                try:
                    os.kill(number, signal.SIGCONT)
                    os.kill(number, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def until(true: Callable[[], bool], timeout_s: float = 20.0) -> float:
    """Wait until something is true; return how long that took, seconds."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < timeout_s, "waited in vain"
        time.sleep(0.02)
    return time.monotonic() - began
