"""Kill -9 the worker, the supervisor, or both, of a job at a random moment; look, resume, compare every byte.

A trial passes if within two seconds nothing is shown as running, if the project opens, if `staproj resume`
(or `run`, where the job had not begun a run yet) finishes it, and if the outputs are those of a run that
nobody disturbed. Run as ``python -m tests.trials.job_kills --trials 100``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from staproj.api import Project
from tests.integration.jobs_setup import Terminal

WHOM = ("worker", "supervisor", "both")


def outputs(root: Path) -> dict[str, str]:
    """Return the digest of every output file of the heads, by step and path."""
    found = {}
    for run in sorted((root / "runs").glob("r*/SEALED")):
        out = run.parent / "out"
        step = run.parent.name.partition("-")[2]
        for path in sorted(p for p in out.rglob("*.bin")):
            found[f"{step}/{path.relative_to(out)}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


ITEM_S = 0.5


def trial(home: Path, chance: random.Random, longest_s: float) -> str:
    """Disturb one job; return what went wrong ("" for nothing)."""
    at = Terminal(home)
    at.environment["TOY_SLEEP_S"] = str(ITEM_S)
    at.call("run", "--detach")
    at.environment["TOY_SLEEP_S"] = "0"
    time.sleep(chance.uniform(0, longest_s))
    pids = at.processes()
    whom = chance.choice(WHOM)
    for name, number in (("worker", pids.get("working")), ("supervisor", pids.get("supervised"))):
        if number is not None and whom in {name, "both"}:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
    began = time.monotonic()
    while at.job()["state"] in {"running", "starting", "queued"}:
        if time.monotonic() - began > 2.0:
            return f"{whom}: still shown as {at.job()['state']} after 2 s"
        time.sleep(0.02)
    took = time.monotonic() - began
    state = at.job()["state"]
    running = [row["run"] for row in at.answer("ls") if row["state"] in {"running", "queued", "unreachable"}]
    if running:
        return f"{whom}: {running} shown as running after {took:.1f} s ({state})"
    told = at.answer("resume")
    if told["resumed"] is None:
        at.answer("run")
    return "" if set(at.states().values()) == {"fresh"} else f"{whom}: {at.states()} after resume ({state})"


def main() -> None:
    """Run the trials, print the figures, exit 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    figures: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole = Terminal(Path(folder) / "whole")
        whole.call("run")
        longest_s = 3 * ITEM_S + 1.0
        wanted = outputs(whole.root)
        for number in range(asked.trials):
            home = Path(folder) / f"t{number}"
            said = trial(home, chance, longest_s)
            if not said and outputs(home / "project") != wanted:
                said = "other bytes than undisturbed"
            figures["failed" if said else "passed"] += 1
            if said:
                sys.stdout.write(f"trial {number}: {said}\n")
            ended = Project.open(home / "project").jobs.describe("j0001")["state"]
            figures[f"first job {ended}"] += 1
    sys.stdout.write(json.dumps({"trials": asked.trials, **figures}) + "\n")
    sys.exit(bool(figures["failed"]))


if __name__ == "__main__":
    main()
