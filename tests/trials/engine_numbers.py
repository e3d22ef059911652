"""Measure the engine on a synthetic project and compare with the marks; `make bench-engine` runs it.

    python -m tests.trials.engine_numbers [--runs 10000] [--write docs/engine-numbers.md] [--keep DIR]

Leaves with 1 when a mark is missed. What is measured, and how, stands in the page that it writes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.api import Project
from staproj.engine.execute import Request, execute
from staproj.engine.options import Options
from staproj.engine.recover import recover
from staproj.engine.view import View
from staproj.kinds import ArtifactKind
from staproj.model.maps import DensityMap
from staproj.project import journal, probe
from staproj.project.layout import Layout
from staproj.stages import registry
from staproj.stages.api import Params, Port, StageContext, StageSpec, param
from tests.trials import archive_numbers, big_project, registrations

REPOSITORY = Path(__file__).resolve().parents[2]
OUTPUTS = 20
TRIES = 5
INSIDE: list[float] = []


class ManyParams(Params):
    """What to write."""

    weight: float = param(1.0, help="A number.")


def run_many(inputs: dict[str, Any], params: ManyParams, ctx: StageContext) -> dict[str, Any]:
    """Write twenty small outputs; the time this takes is taken off."""
    began = time.perf_counter()
    for number in range(OUTPUTS - 2):
        (ctx.out_dir() / f"part{number}.bin").write_bytes(b"x" * 2000)
    path = ctx.out_dir() / "map.bin"
    path.write_bytes(b"m" * 2000)
    ctx.metric("weight", params.weight)
    ctx.verdict("written")
    INSIDE.append(time.perf_counter() - began)
    return {"map": DensityMap(path, 1.0, "C1")}


MANY = StageSpec(
    "bench_many",
    "Write many outputs.",
    ManyParams,
    {},
    {"map": Port(ArtifactKind.MAP, "Map.")},
    "tests.trials.engine_numbers:run_many",
    scope="project",
)


@dataclass
class Mark:
    """One mark: what was measured, in ``unit``, and what it may be at most."""

    name: str
    measured: float
    limit: float | None
    unit: str
    how: str = ""

    @property
    def passed(self) -> bool:
        """Tell whether the mark was reached."""
        return self.limit is None or self.measured <= self.limit


@dataclass
class Numbers:
    """Everything that was measured."""

    runs: int
    marks: list[Mark] = field(default_factory=list)
    built_s: float = 0.0

    def add(self, name: str, measured: float, limit: float | None, unit: str, how: str = "") -> None:
        """Note one mark."""
        self.marks.append(Mark(name, measured, limit, unit, how))
        print(f"{name}: {measured:.4g} {unit}" + (f" (mark {limit:g})" if limit is not None else ""))  # noqa: T201


def measure(root: Path, runs: int) -> Numbers:
    """Build a project in ``root`` and measure all marks."""
    numbers = Numbers(runs)
    made = big_project.build(root, runs)
    numbers.built_s = made.wall_s
    project = Project(root)
    _lists(numbers, project)
    _status(numbers, project)
    _lineage(numbers, project, made)
    _care(numbers, project)
    _migration(numbers, project)
    with registry.temporarily(MANY):
        _bookkeeping(numbers, project, tries=min(100, max(10, runs // 100)))
        _recovery(numbers, project)
    _registrations(numbers, project)
    with tempfile.TemporaryDirectory() as folder:
        archive_numbers.measure(numbers.add, Path(folder))
    return numbers


def _lists(numbers: Numbers, project: Project) -> None:
    index = project.layout.index
    numbers.add(
        "`ls`, index deleted", _best(project.ls, before=lambda: index.unlink(missing_ok=True)), 2.0, "s"
    )
    numbers.add("`ls`, in a Python session", _best(project.ls), 0.5, "s")
    numbers.add("`ls`, whole command", _command(project, "ls"), 0.5, "s", "process start included")
    numbers.add("`ls --json`, whole command", _command(project, "ls", "--json"), None, "s")
    numbers.add(
        "the same list by reading `spec.json` and `SEALED` of every run",
        _best(lambda: _walk(project)),
        None,
        "s",
    )


def _walk(project: Project) -> int:
    """Read what a program without an index would read."""
    found = 0
    for entry in os.scandir(project.layout.runs):
        for name in ("spec.json", "SEALED"):
            try:
                json.loads((Path(entry.path) / name).read_bytes())
            except FileNotFoundError:
                continue
            found += 1
    return found


def _status(numbers: Numbers, project: Project) -> None:
    project.status()  # fingerprints of raw data are worked out once
    numbers.add("`status` with reasons, in a Python session", _best(project.status), 1.5, "s")
    numbers.add("`status` with reasons, whole command", _command(project, "status", "--json"), 1.5, "s")
    opened = payload_opened(project.root)
    numbers.add("payload files opened by `status`", opened["payload"], 0, "files", "audit hook")
    numbers.add(
        "payload bytes read by `status`", opened["bytes"], 0, "bytes", "audit hook; HDF5 is not even loaded"
    )


def payload_opened(root: Path) -> dict[str, int]:
    """Count what ``status`` opens below ``out/`` and raw data, in a process of its own."""
    code = f"""
import json, os, sys
root = {str(root)!r}
opened = []
def hook(event, args):
    if event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
        path = os.path.abspath(os.fsdecode(args[0]))
        inside = path[len(root):].split(os.sep) if path.startswith(root) else []
        if "out" in inside[3:4] or "raw" in inside[1:2] or path.endswith(".h5"):
            opened.append(path)
sys.addaudithook(hook)
from staproj.api import Project
states = [step["state"] for step in Project(__import__("pathlib").Path(root)).status()["steps"]]
sizes = sum(os.stat(path).st_size for path in opened if os.path.isfile(path))
hdf5 = int("h5py" in sys.modules)
print(json.dumps({{"payload": len(opened) + hdf5, "bytes": sizes + hdf5, "steps": len(states)}}))
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    found: dict[str, int] = json.loads(answer.stdout)
    return found


def _lineage(numbers: Numbers, project: Project, made: big_project.Made) -> None:
    step = list(made.heads)[-1]
    run = project.run_dir(made.heads[step])
    file = next(path for path in sorted((run / "out").rglob("*")) if path.is_file())
    depth = len(project.lineage(file)["chain"])
    how = f"a chain of {depth} runs"
    numbers.add(
        "what made this file, in a Python session", _best(lambda: project.lineage(file)), 0.2, "s", how
    )
    numbers.add("what made this file, whole command", _command(project, "lineage", str(file)), None, "s", how)
    raw = project.root / "raw" / f"{big_project.ITEMS[0]}.txt"
    numbers.add("who read this raw file, in a Python session", _best(lambda: project.lineage(raw)), None, "s")


def _care(numbers: Numbers, project: Project) -> None:
    took = _best(lambda: probe.probe(project.layout, quick=True))
    numbers.add("trying out the file system on first use", 1000 * took, 50.0, "ms")
    began = time.perf_counter()
    project.care.doctor()
    numbers.add("`doctor`: every record against its digest", time.perf_counter() - began, None, "s")


def _migration(numbers: Numbers, project: Project) -> None:
    layout = project.layout
    text = layout.manifest.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("uuid")]
    layout.manifest.write_text("\n".join(lines).replace("schema = 2", "schema = 1") + "\n", encoding="utf-8")
    shutil.rmtree(layout.annotations)
    layout.counter.unlink()
    layout.index.unlink(missing_ok=True)
    began = time.perf_counter()
    done = project.care.migrate()
    numbers.add(
        "migration from schema 1", time.perf_counter() - began, 10.0, "s", f"{len(done['actions'])} actions"
    )


def _bookkeeping(numbers: Numbers, project: Project, tries: int) -> None:
    """Time runs of a stage with twenty outputs, fsync on; what the stage itself does is taken off."""
    with project.layout.manifest.open("a", encoding="utf-8") as handle:
        handle.write('\n[step.bench]\nstage = "bench_many"\n')
    times = []
    for turn in range(tries + 2):
        view = View.open(project.root, project_change(turn))
        expected = view.expected("bench")
        began = time.perf_counter()
        execute(Request(view, expected, reuse=False), Options(threads=1))
        times.append(1000 * (time.perf_counter() - began - INSIDE[-1]))
    times = sorted(times[2:])
    how = f"{OUTPUTS} outputs, {tries} runs; fsync on"
    numbers.add("bookkeeping of one run, median", statistics.median(times), 60.0, "ms", how)
    numbers.add(
        "bookkeeping of one run, 95th percentile", times[int(0.95 * (len(times) - 1))], None, "ms", how
    )
    fsync_ms = probe.probe(project.layout)["fsync_ms"]
    numbers.add(
        "one small file written safely on this disk", fsync_ms, None, "ms", "write, fsync, rename, fsync"
    )


def project_change(turn: int) -> list[Any]:
    """Return the edit that makes one run differ from the next."""
    from staproj.project.manifest import Change

    return [Change(("step", "bench", "params", "weight"), 1.0 + turn)]


def _recovery(numbers: Numbers, project: Project) -> None:
    """Time ``recover`` after a run that was stopped just before its marker, with an entry in the journal."""
    layout: Layout = project.layout
    times = []
    for _ in range(TRIES):
        newest = max(layout.iter_runs(), key=lambda name: name.number)
        layout.run(newest).sealed.unlink()
        events = layout.run(newest).state.read_text().replace(f'"pid": {os.getpid()}', '"pid": 999999999')
        layout.run(newest).state.write_text(events)
        began = time.perf_counter()
        recover(layout)
        times.append(time.perf_counter() - began)
        if not layout.run(newest).is_sealed() or journal.pending(layout):
            raise SystemExit("recovery did not seal the run")
    numbers.add("recovery after a kill in the middle of sealing", max(times), 0.3, "s", f"worst of {TRIES}")


def _registrations(numbers: Numbers, project: Project) -> None:
    found = registrations.trial(project.root)
    how = "8 processes x 100"
    numbers.add(
        "registrations: numbers lost or given out twice", found["lost"] + found["doubled"], 0, "", how
    )
    numbers.add("registrations: wait for the lock, 95th percentile", found["wait_p95_s"], 0.5, "s", how)


def _best(work: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> float:
    """Return the median time of some tries, seconds."""
    times = []
    for _ in range(TRIES):
        before()
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _command(project: Project, *words: str) -> float:
    """Return the median wall time of a command in a fresh process, seconds."""

    def call() -> None:
        subprocess.run(
            [sys.executable, "-m", "staproj", *words, "-C", str(project.root)],
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    call()
    return _best(call)


def page(numbers: Numbers, load: float) -> str:
    """Return the page with all numbers."""
    lines = [
        "# Numbers of the engine",
        "",
        "Written by `make bench-engine`, which leaves with an error when a mark is missed.",
        "",
        f"- commit: {_commit()}",
        f"- machine: {_cpu()}, {os.cpu_count()} processors, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}; load average {load:.1f} when it began",
        f"- project: {numbers.runs} runs of {len(big_project.ITEMS)} tilt series in 5 chains of the demo"
        f" pipeline, built in {numbers.built_s:.0f} s without computing; files are in the page cache",
        "",
        "| what | measured | mark | |",
        "|--|--|--|--|",
    ]
    for mark in numbers.marks:
        limit = "" if mark.limit is None else f"{mark.limit:g} {mark.unit}".strip()
        said = "" if mark.limit is None else "pass" if mark.passed else "**missed**"
        how = f" ({mark.how})" if mark.how else ""
        lines.append(f"| {mark.name}{how} | {_number(mark.measured)} {mark.unit} | {limit} | {said} |")
    lines += [
        "",
        f"Times are medians of {TRIES} tries. Bookkeeping is the time of a whole run less the time inside",
        "the stage function: number, records, digests of outputs, sealing. Payload is everything below",
        "`out/`, raw data, and every HDF5 file.",
        "",
    ]
    return "\n".join(lines)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _commit() -> str:
    def ask(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = ask("status", "--porcelain", "--untracked-files=no", "--", "staproj")
        return ask("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def main() -> int:
    """Measure, write the page, judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--keep", type=Path, help="build the project here and leave it there")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as directory:
        numbers = measure(asked.keep or Path(directory) / "big", asked.runs)
    if asked.write:
        asked.write.write_text(page(numbers, load), encoding="utf-8")
    missed = [mark.name for mark in numbers.marks if not mark.passed]
    print("all marks reached" if not missed else "missed: " + "; ".join(missed))  # noqa: T201
    return int(bool(missed))


if __name__ == "__main__":
    from tests.trials import engine_numbers  # the stage is loaded from there, with what it notes

    sys.exit(engine_numbers.main())
