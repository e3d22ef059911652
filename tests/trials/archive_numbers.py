"""The marks of archives, for `make bench-engine`: time beside tar and sha256sum, memory, flipped bits.

    python -m tests.trials.archive_numbers [--demo PROJECT] [--flips 1000]

Without a demo project a stand-in of its size is made: 14 files of 27 to 40 MB, 400 small ones.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from staproj.api import Project
from tests.trials import archive_speed, bit_flips

Add = Callable[[str, float, float | None, str, str], object]
_LARGE = [40_305_664] * 12 + [26_543_104, 27_034_624]
_CHUNK = 1 << 20


def bulk_project(root: Path) -> Path:
    """Make a project with as many bytes and files as the demo has."""
    draw = random.Random(3)
    piece = draw.randbytes(_CHUNK)
    archive_speed.tiny_project(root, 100)
    (root / "stacks").mkdir()
    for number, size in enumerate(_LARGE):
        with (root / "stacks" / f"stack_{number:02d}.mrc").open("wb") as handle:
            for start in range(0, size, _CHUNK):
                handle.write(piece[: min(_CHUNK, size - start)])
    for number in range(290):
        (root / "stacks" / f"movie_{number:03d}.mrc").write_bytes(piece[: 200_000 + number])
    return root


def measure(add: Add, folder: Path, *, demo: Path | None = None, flips: int = 1000) -> None:
    """Measure all marks of archives in ``folder``."""
    project = (demo or bulk_project(folder / "bulk")).resolve()
    of = "the demo project" if demo else "a project of the demo's size"
    ratio, memory = archive_speed.trial(project, folder, 3, zstd=False, say=lambda text: None)
    told = f"{of}; medians of 3, in turns"
    add("`archive` against `tar` and `sha256sum`", ratio, archive_speed.RATIO, "times", told)
    add("memory of `archive`", memory / 1e6, archive_speed.RSS_BYTES / 1e6, "MB", of)
    tiny = archive_speed.tiny_project(folder / "tiny", 100_000)
    _, memory = archive_speed.trial(tiny, folder, 1, zstd=False, say=lambda text: None)
    add(
        "memory of `archive`, small files", memory / 1e6, archive_speed.RSS_BYTES / 1e6, "MB", "100 000 files"
    )
    shutil.rmtree(tiny)
    for zstd in (False, True):
        small = folder / ("small.tar.zst" if zstd else "small.tar")
        source = demo or archive_speed.tiny_project(folder / f"few-{zstd}", 400)
        light = ["raw", "intermediate", "other"] if demo else []
        Project.open(source).archives.write(small, zstd=zstd, without=light)
        made, found, _, _ = bit_flips.trial(small, flips, 5, 2)
        kind = "zstd, " if zstd else ""
        told = f"{kind}{small.stat().st_size / 1e6:.1f} MB" + (
            ", the demo's outputs of class final" if demo else ""
        )
        add(f"single flipped bits that `verify` misses, of {made}", made - found, 0, "", told)


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--demo", type=Path)
    parser.add_argument("--flips", type=int, default=1000)
    asked = parser.parse_args()
    missed = []

    def add(name: str, measured: float, limit: float | None, unit: str, how: str) -> None:
        sys.stdout.write(f"{name} ({how}): {measured:.4g} {unit} (mark {limit:g})\n")
        if limit is not None and measured > limit:
            missed.append(name)

    with tempfile.TemporaryDirectory() as folder:
        measure(add, Path(folder), demo=asked.demo, flips=asked.flips)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
