"""Many processes race for a few GPUs (made-up UUIDs) and CPU slots, some are killed while they hold one.

Each holder makes a file named by its GPU with O_EXCL, which fails if another one holds it at the same time:
the truth does not come from the queue. Run as ``python -m tests.trials.gpu_race``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from staproj.engine.machine import Limits
from staproj.engine.slots import Need, Slots

GPUS = ("GPU-aaaa", "GPU-bbbb", "GPU-cccc")
CPUS = 6


def racer(home: Path, rounds: int, seed: int, die: float) -> None:
    """Claim a GPU and some CPUs, ``rounds`` times; with probability ``die`` be killed while holding them."""
    chance = random.Random(seed)
    slots = Slots(Limits(CPUS, 10**9, GPUS), home)
    for number in range(rounds):
        need = Need(chance.randint(1, 3), 0, chance.choice((0, 1, 1)))
        ticket = slots.enter(need, {"project": "race", "run": f"r{number:04d}"})
        while slots.try_claim(ticket):
            time.sleep(0.002)
        held = _hold(home, ticket.gpus, need.cpus)
        if chance.random() < die:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(chance.uniform(0, 0.004))
        for path in held:
            path.unlink()
        slots.leave(ticket)


def _hold(home: Path, gpus: tuple[str, ...], cpus: int) -> list[Path]:
    """Mark what is held; note what somebody alive holds as well."""
    pid = os.getpid()
    marks = [home / f"{gpu}.inuse" for gpu in gpus]
    for mark in marks:
        while True:
            try:
                with mark.open("x") as handle:
                    handle.write(str(pid))
                break
            except FileExistsError:
                with suppress(OSError, ValueError):
                    other = int(mark.read_text() or 0)
                    if other and _lives(other):
                        (home / f"doubled-{mark.name}-{pid}-{other}").touch()
                        return []
                mark.unlink(missing_ok=True)  # its holder was killed
    own = home / f"{pid}.cpus"
    own.write_text(str(cpus))
    used = 0
    for path in home.glob("*.cpus"):
        with suppress(OSError, ValueError):
            used += int(path.read_text() or 0) if _lives(int(path.stem)) else 0
    if used > CPUS:
        (home / f"crowded-{pid}-{used}").touch()
    return [*marks, own]


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def trial(home: Path, processes: int, rounds: int, die: float) -> dict[str, int]:
    """Let them race; return how often a GPU was doubled, CPUs overdrawn, how many were killed or stuck."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.trials.gpu_race", "--racer", str(seed), "--home", str(home),
             "--rounds", str(rounds), "--die", str(die)]
        )
        for seed in range(processes)
    ]  # fmt: skip
    codes = []
    for process in started:
        try:
            codes.append(process.wait(300))
        except subprocess.TimeoutExpired:
            process.kill()
            codes.append(-1000)
    left = [json.loads(path.read_text()) for path in (home / "slots").glob("*.json")]
    return {
        "doubled": len(list(home.glob("doubled-*"))),
        "crowded": len(list(home.glob("crowded-*"))),
        "killed": codes.count(-signal.SIGKILL),
        "stuck": codes.count(-1000),
        "failed": sum(code not in (0, -signal.SIGKILL, -1000) for code in codes),
        "left_by_the_living": sum(_lives(ticket["who"]["pid"]) for ticket in left),
    }


def main() -> None:
    """Race, print the figures, exit 1 if anything was given twice or anybody got stuck."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--die", type=float, default=0.01)
    parser.add_argument("--racer", type=int)
    parser.add_argument("--home", type=Path)
    asked = parser.parse_args()
    if asked.racer is not None:
        racer(asked.home, asked.rounds, asked.racer, asked.die)
        return
    with tempfile.TemporaryDirectory() as home:
        began = time.monotonic()
        figures = trial(Path(home), asked.processes, asked.rounds, asked.die)
        sys.stdout.write(json.dumps({**figures, "wall_s": round(time.monotonic() - began, 1)}) + "\n")
    bad = ("doubled", "crowded", "stuck", "failed", "left_by_the_living")
    sys.exit(any(figures[name] for name in bad))


if __name__ == "__main__":
    main()
