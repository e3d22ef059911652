"""Flip single bits of an archive at random places; every flip must be found, and the whole archive accepted.

    python -m tests.trials.bit_flips ARCHIVE [--flips 1000] [--seed 1] [--processes 2]

Each flip is made in a copy of the archive, in place, and taken back. The first flips go to places that are
easily forgotten: headers, filling, manifests, the last bytes. Leaves with 1 if a flip was not found.
"""

from __future__ import annotations

import argparse
import mmap
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from staproj.api.archives import verify_path
from staproj.errors import StaprojError

BLOCK = 512


def places(archive: Path, flips: int, seed: int) -> list[int]:
    """Return numbers of bits: half of them near the ends and in headers, half anywhere."""
    draw = random.Random(seed)
    size = archive.stat().st_size
    chosen = []
    for number in range(flips):
        if number % 4 == 0:
            place = draw.randrange(min(size, 16 * BLOCK))
        elif number % 4 == 1:
            place = size - 1 - draw.randrange(min(size, 256 * BLOCK))
        else:
            place = draw.randrange(size)
        chosen.append(8 * place + draw.randrange(8))
    return chosen


def look(archive: str, bits: list[int]) -> list[tuple[int, str]]:
    """Flip each bit in a copy; return what was said of it ("" where the flip was not found)."""
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(archive, folder))
        with copy.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as view:
            for bit in bits:
                view[bit // 8] ^= 1 << bit % 8
                answers.append((bit, _said(copy)))
                view[bit // 8] ^= 1 << bit % 8
        if _said(copy):
            answers.append((-1, ""))  # the copy is whole again and must be accepted
    return answers


def _said(path: Path) -> str:
    try:
        found = verify_path(path)
    except StaprojError as error:
        return f"refused: {error.message}"
    return "" if found["ok"] else "; ".join(f"{d['file']}: {d['problem']}" for d in found["damage"])


def trial(archive: Path, flips: int, seed: int, processes: int) -> tuple[int, int, Counter[str], float]:
    """Return flips made, flips found, how often what was said, and the seconds it took."""
    bits = places(archive, flips, seed)
    shares = [bits[number::processes] for number in range(processes)]
    begin = time.perf_counter()
    if processes == 1:
        answers = look(str(archive), bits)
    else:
        with ProcessPoolExecutor(processes) as pool:
            answers = [a for part in pool.map(look, [str(archive)] * processes, shares) for a in part]
    seconds = time.perf_counter() - begin
    for bit, said in answers:
        if not said:
            where = "the archive itself was refused" if bit < 0 else f"byte {bit // 8}, bit {bit % 8}"
            sys.stderr.write(f"NOT FOUND: {where}\n")
    kinds = Counter(said.rpartition(": ")[2] for _, said in answers if said)
    return len(bits), len(bits) - sum(1 for _, said in answers if not said), kinds, seconds


def main() -> int:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    made, found, kinds, seconds = trial(args.archive, args.flips, args.seed, args.processes)
    size = args.archive.stat().st_size
    sys.stdout.write(
        f"{args.archive.name} ({size} bytes): {found} of {made} flips found in {seconds:.1f} s\n"
    )
    for said, times in kinds.most_common():
        sys.stdout.write(f"  {times:6d}  {said}\n")
    return 0 if found == made else 1


if __name__ == "__main__":
    sys.exit(main())
