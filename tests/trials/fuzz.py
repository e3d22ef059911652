"""Damage every kind of file a project holds, by the hundred thousand; reading it must never go wrong.

    python -m tests.trials.fuzz [--inputs 100000] [--seed 1] [--targets manifest,spec.json]
    python -m tests.trials.fuzz --targets meta.h5 --only 1234      (one input again; its bytes are kept)
    python -m tests.trials.fuzz --atheris manifest --seconds 120   (coverage-guided, with atheris)

Each input is a file of a toy project with bytes, lines or parts of its tree changed. Reading it gives an
answer or an error of staproj that says where or what to do; anything else is a fault: another exception, the
end of the process, more than 10 s or 500 MB, a file written outside of the project. Inputs are read in
processes of their own, so that a crash of a library is seen and counted. Leaves with 1 after a fault.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from staproj.errors import StaprojError
from staproj.project import atomic
from staproj.stages import registry
from tests.integration import toy_stages as toy
from tests.trials import fuzz_targets
from tests.trials.fuzz_targets import Target

LIMIT_S = 10
LIMIT_HDF5_S = 40
LIMIT_MB = 400
"""Memory that reading may take on top of what the process had: tests before it may have taken much."""
CHUNK = 2000
MOST_SHOWN = 5


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Hang(BaseException):
    """Reading took too long."""


def judge(target: Target, data: bytes, canary: Path) -> str:
    """Read one input and return what came of it; a fault begins with an exclamation mark."""
    put(target, data)
    limit = LIMIT_HDF5_S if target.name.endswith(".h5") else LIMIT_S  # the reader's own limit is 5 s of CPU
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        target.read(target.path)
        said = "read"
    except StaprojError as error:
        said = (
            type(error).__name__
            if error.message and (error.where or error.hint)
            else "! an error without a place"
        )
    except Hang:
        return f"! more than {limit} s\n" + traceback.format_exc(limit=-6)
    except BaseException as error:  # noqa: BLE001 - this is what is looked for
        return f"! {type(error).__name__}\n" + "".join(traceback.format_exception(error)[-8:])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if target.path.is_dir() or target.name == "journal":
            target.fresh()
    return said if canary.read_bytes() == b"untouched" else "! a file outside was written"


def put(target: Target, data: bytes) -> None:
    """Lay the damaged file where it belongs."""
    if target.path.is_dir() and target.name == "project":
        fuzz_targets.damage(target.path, data)
        return
    target.path.parent.mkdir(parents=True, exist_ok=True)
    target.path.unlink(missing_ok=True)
    target.path.write_bytes(data)


def chunk(target: Target, numbers: range, seed: int, place: mmap.mmap, canary: Path) -> dict[str, Any]:
    """Judge some inputs of one target (in a process of its own)."""
    counts: Counter[str] = Counter()
    faults: list[tuple[int, str]] = []
    before = target.path.read_bytes() if target.path.is_file() else None
    inherited = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1024**2
    for number in numbers:
        place[:8] = number.to_bytes(8, "little")
        said = judge(target, target.make(draw_of(target, number, seed)), canary)
        if said.startswith("!"):
            faults.append((number, said))
            said = said.split("\n", 1)[0]
        counts[said] += 1
    if before is not None:
        put(target, before)
    elif target.name == "lock":
        shutil.rmtree(target.path.parent)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"counts": counts, "faults": faults, "peak_mb": max(peak - inherited, 0.0)}


def draw_of(target: Target, number: int, seed: int) -> random.Random:
    """Return the random numbers of one input: the same whenever it is made again."""
    return random.Random(f"{seed} {target.name} {number}")


def in_child(target: Target, numbers: range, seed: int, canary: Path, folder: Path) -> dict[str, Any]:
    """Run :func:`chunk` in a forked process; go on behind an input that ended it or held it up."""
    total: dict[str, Any] = {"counts": Counter(), "faults": [], "peak_mb": 0.0}
    place, answer = mmap.mmap(-1, 8), folder / "answer.json"
    while numbers:
        answer.unlink(missing_ok=True)
        place[:8] = numbers.start.to_bytes(8, "little")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                atomic._READ_TRIES = 1  # waiting for a network disk is no part of this
                answer.write_text(json.dumps(chunk(target, numbers, seed, place, canary)))
                code = 0
            except BaseException:  # noqa: BLE001 - shown, then the process ends
                traceback.print_exc()
            finally:
                os._exit(code)
        status = wait(child, place)
        if status == 0:
            part = json.loads(answer.read_text())
            total["counts"] += Counter(part["counts"])
            total["faults"] += part["faults"]
            total["peak_mb"] = max(total["peak_mb"], part["peak_mb"])
            break
        number = int.from_bytes(place[:8], "little")
        word = f"! the process ended with {status}" if status else "! it never returned"
        total["counts"][word] += 1
        total["faults"].append((number, word))
        if number > numbers.start:  # those before it are judged again, up to it
            part = in_child(target, range(numbers.start, number), seed, canary, folder)
            total["counts"] += part["counts"]
            total["faults"] += part["faults"]
            total["peak_mb"] = max(total["peak_mb"], part["peak_mb"])
        target.fresh()
        numbers = range(number + 1, numbers.stop)
    return total


def wait(child: int, place: mmap.mmap) -> int:
    """Wait for a process; one that stays at an input far too long is killed. Return how it ended."""
    seen, since = b"", time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if bytes(place[:8]) != seen:
            seen, since = bytes(place[:8]), time.monotonic()
        elif time.monotonic() - since > 4 * LIMIT_S:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def alarm(number: int, frame: FrameType | None) -> None:
    """Stop a reading that takes too long."""
    raise Hang


def prepare(folder: Path) -> tuple[list[Target], Path]:
    """Make the project and its archives; return all targets and the file that nobody may write to."""
    canary = folder / fuzz_targets.CANARY
    canary.write_bytes(b"untouched")
    base = fuzz_targets.make_project(folder / "base")
    base.archives.write(folder / "a.tar")
    try:
        base.archives.write(folder / "a.tar.zst", zstd=True)
    except StaprojError:  # zstandard is not installed
        shutil.copy(folder / "a.tar", folder / "a.tar.zst")
    return fuzz_targets.targets(base, folder / "work"), canary


def main() -> int:
    """Run the trial."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--targets", default="")
    parser.add_argument("--only", type=int, default=None)
    parser.add_argument("--atheris", default="")
    parser.add_argument("--seconds", type=int, default=120)
    given = parser.parse_args()
    signal.signal(signal.SIGALRM, alarm)
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name,
        registry.temporarily(*toy.ALL),
    ):
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        found, canary = prepare(folder)
        wanted = [word for word in (given.atheris or given.targets).split(",") if word]
        chosen = [target for target in found if not wanted or target.name in wanted]
        if given.atheris:
            return guided(chosen[0], canary, given.seconds)
        if given.only is not None:
            return once(chosen[0], given.only, given.seed, canary)
        return report(chosen, given.inputs, given.seed, canary, folder)


def once(target: Target, number: int, seed: int, canary: Path) -> int:
    """Judge one input in this process, and keep its bytes."""
    data = target.make(draw_of(target, number, seed))
    kept = Path(tempfile.gettempdir()) / f"fuzz-{target.name.replace(' ', '-')}-{number}"
    kept.write_bytes(data)
    said = judge(target, data, canary)
    say(f"{target.name} {number} ({len(data)} bytes, kept as {kept}): {said}")
    return int(said.startswith("!"))


def report(chosen: list[Target], inputs: int, seed: int, canary: Path, folder: Path) -> int:
    """Judge all inputs and print what came of them."""
    shares = sum(target.share for target in chosen)
    begun, done, faults = time.monotonic(), 0, 0
    for target in chosen:
        start, n, part_peak = time.monotonic(), -(-inputs * target.share // shares), 0.0
        counts: Counter[str] = Counter()
        shown: list[tuple[int, str]] = []
        for first in range(0, n, CHUNK):
            part = in_child(target, range(first, min(first + CHUNK, n)), seed, canary, folder)
            counts += part["counts"]
            shown += part["faults"]
            part_peak = max(part_peak, part["peak_mb"])
        if part_peak > LIMIT_MB:
            shown.append((-1, f"! {part_peak:.0f} MB of memory"))
        done, faults = done + sum(counts.values()), faults + len(shown)
        told = ", ".join(f"{word} {count}" for word, count in counts.most_common())
        seconds = time.monotonic() - start
        say(f"{target.name:14} {sum(counts.values()):6} in {seconds:5.1f} s, {part_peak:4.0f} MB: {told}")
        for number, words in shown[:MOST_SHOWN]:
            say(
                f"  --targets {target.name!r} --seed {seed} --only {number}\n    "
                + words.replace("\n", "\n    ")
            )
    say(f"{done} inputs, {faults} faults, {time.monotonic() - begun:.0f} s")
    return int(faults > 0)


def guided(target: Target, canary: Path, seconds: int) -> int:
    """Let atheris look for inputs by coverage; a fault ends the process with its bytes in a file."""
    try:
        import atheris
    except ImportError:
        say("atheris is not installed: pip install atheris into an environment of its own")
        return 2
    corpus = target.path.parent / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(target.corpus):
        (corpus / f"{number}").write_bytes(data)

    def one(data: bytes) -> None:
        said = judge(target, data, canary)
        if said.startswith("!"):
            raise AssertionError(said)

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=20000", str(corpus)], one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
