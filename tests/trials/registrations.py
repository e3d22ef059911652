"""Several processes give out run numbers of one project at once: none may be lost, none given out twice.

    python -m tests.trials.registrations [--processes 8] [--each 100] [--runs 0]

Prints how long a registration took and how long it waited for the lock; leaves with 1 where a number is wrong
or the wait at the 95th percentile is above half a second.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from staproj.project import lock, runs
from staproj.project.layout import Layout

WAIT_P95_S = 0.5


def trial(root: Path, processes: int = 8, each: int = 100) -> dict[str, Any]:
    """Register runs from several processes; return counts and times (seconds)."""
    layout = Layout(root)
    before = {name.number for name in layout.iter_runs()}
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    results: Any = context.Queue()
    workers = [context.Process(target=_register, args=(root, each, start, results)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for _ in workers:
        _answer(results.get(timeout=60))  # each says that it has loaded everything
    began = time.monotonic()
    start.set()
    told = [_answer(results.get(timeout=60)) for _ in workers]
    wall_s = time.monotonic() - began
    for worker in workers:
        worker.join()
    given = [number for numbers, _, _ in told for number in numbers]
    waits = sorted(wait for _, found, _ in told for wait in found)
    times = sorted(taken for _, _, found in told for taken in found)
    after = {name.number for name in layout.iter_runs()} - before
    highest = max(before, default=0)
    return {
        "processes": processes,
        "registrations": len(given),
        "doubled": len(given) - len(set(given)),
        "lost": len(set(given) ^ after) + len(after ^ set(range(highest + 1, highest + 1 + len(given)))),
        "wait_median_s": waits[len(waits) // 2],
        "wait_p95_s": waits[int(0.95 * (len(waits) - 1))],
        "wait_max_s": waits[-1],
        "took_p95_s": times[int(0.95 * (len(times) - 1))],
        "wall_s": wall_s,
    }


def _answer(value: Any) -> Any:
    if isinstance(value, BaseException):
        raise value
    return value


def _register(root: Path, each: int, start: Any, results: Any) -> None:
    try:
        _reserve(root, each, start, results)
    except BaseException as error:  # noqa: BLE001 - the parent says it
        results.put(error)


def _reserve(root: Path, each: int, start: Any, results: Any) -> None:
    waits: list[float] = []
    real = lock.project_lock

    @contextmanager
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        with real(*args, **kwargs):
            waits.append(time.monotonic() - began)
            yield

    runs.project_lock = timed  # type: ignore[attr-defined]
    layout = Layout(root)
    results.put(None)
    start.wait()
    numbers, times = [], []
    for turn in range(each):
        began = time.monotonic()
        numbers.append(runs.reserve(layout, f"step{turn % 7}").name.number)
        times.append(time.monotonic() - began)
    results.put((numbers, waits, times))


def main() -> int:
    """Run the trial in a temporary directory and judge it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--runs", type=int, default=0, help="how many runs there are already")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        layout = Layout(Path(directory))
        for number in range(1, asked.runs + 1):
            (layout.runs / f"r{number:04d}-old").mkdir(parents=True)
        found = trial(layout.root, asked.processes, asked.each)
    print(json.dumps(found, indent=1))  # noqa: T201
    return int(bool(found["doubled"] or found["lost"] or found["wait_p95_s"] > WAIT_P95_S))


if __name__ == "__main__":
    sys.exit(main())
