"""Time `staproj archive` beside `tar` and `sha256sum` on the same directory, in turns; and its memory.

    python -m tests.trials.archive_speed PROJECT [--turns 5] [--folder DIR] [--zstd]
    python -m tests.trials.archive_speed --tiny 100000 [--folder DIR]

Each turn writes the archive of the whole project with staproj (which reads, hashes and writes in one go, and
waits for the disk at the end), then packs the same directory with tar and hashes the file with sha256sum.
``--tiny`` makes a project with that many small files instead. Leaves with 1 if the median is more than 1.2
times that of tar and sha256sum, or the memory more than 200 MB.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

RATIO, RSS_BYTES = 1.2, 200e6


def measured(words: Sequence[str]) -> tuple[float, int]:
    """Run a command; return its wall time in seconds and its peak memory in bytes."""
    begin = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{words[0]} failed")
    return time.perf_counter() - begin, usage.ru_maxrss * 1024


def tiny_project(root: Path, files: int) -> Path:
    """Make a project directory with many small files: half exports, half outputs of one sealed run."""
    manifest = 'schema = 1\n[project]\nname = "tiny"\n[step.import]\nstage = "import_stack"\n'
    (root / "exports").mkdir(parents=True)
    (root / "staproj.toml").write_text(manifest)
    run = root / "runs" / "r0001-import"
    listed = []
    for number in range(files):
        inside = number % 2 == 0
        folder = (
            run / "out" / f"TS_{number // 2000:03d}" if inside else root / "exports" / str(number // 2000)
        )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"file_{number:06d}.txt"
        content = f"{number}\n".encode() * 40
        path.write_bytes(content)
        if inside:
            listed.append(
                {
                    "path": path.relative_to(run / "out").as_posix(),
                    "size": len(content),
                    "mtime_ns": path.stat().st_mtime_ns,
                    "sha256": "sha256:" + hashlib.sha256(content).hexdigest(),
                    "class": "final",
                }
            )
    stored: dict[str, object] = {k: {} for k in ("params", "item_params", "inputs", "data", "software")}
    stored |= {"run": "r0001", "step": "import", "stage": "import_stack", "created": "2026-01-01T00:00:00Z"}
    stored |= {"who": "trial", "note": "", "key": "sha256:0", "cache_version": 1, "command": [], "items": []}
    image: dict[str, object] = {key: {} for key in ("params", "item_params", "inputs")}
    stored["preimage"] = {"stage": "import_stack", "cache_version": 1, "seed": 1, "items": [], **image}
    records = {"spec.json": stored, "env.json": {}, "outputs.json": {"files": listed, "artifacts": {}}}
    for name, content_of in records.items():
        (run / name).write_text(json.dumps(content_of, indent=1))
    (run / "meta.h5").write_bytes(b"")
    (run / "state.jsonl").write_text('{"time": 1, "event": "sealed"}\n')
    proof = {
        name: "sha256:" + hashlib.sha256((run / name).read_bytes()).hexdigest()
        for name in [*records, "meta.h5"]
    }
    (run / "SEALED").write_text(json.dumps({"record_format": 1, "sha256": proof}))
    return root


def trial(
    project: Path, folder: Path, turns: int, *, zstd: bool, say: Callable[[str], object]
) -> tuple[float, int]:
    """Return the ratio of the medians and the highest memory of staproj."""
    archive, plain = folder / "speed.tar", folder / "plain.tar"
    ours: list[float] = []
    theirs: list[float] = []
    memory = 0
    command = [sys.executable, "-m", "staproj", "archive", str(archive), "-C", str(project), "--quiet"]
    for turn in range(turns):
        os.sync()
        seconds, rss = measured([*command, *(["--zstd"] if zstd else [])])
        size = archive.stat().st_size
        archive.unlink()
        os.sync()
        packed, _ = measured(["tar", "cf", str(plain), "-C", str(project.parent), project.name])
        hashed, _ = measured(["sha256sum", str(plain)])
        plain.unlink()
        ours.append(seconds)
        theirs.append(packed + hashed)
        memory = max(memory, rss)
        say(
            f"turn {turn + 1}: archive {seconds:.2f} s ({size / 1e6:.1f} MB, memory {rss / 1e6:.0f} MB), "
            f"tar {packed:.2f} s + sha256sum {hashed:.2f} s\n"
        )
    middle, of_both = statistics.median(ours), statistics.median(theirs)
    say(f"median {middle:.2f} s against {of_both:.2f} s: {middle / of_both:.2f} times\n")
    return middle / of_both, memory


def main() -> int:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("project", type=Path, nargs="?")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--tiny", type=int)
    parser.add_argument("--zstd", action="store_true")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        if args.tiny:
            project = tiny_project(folder / "tiny", args.tiny)
        elif args.project:
            project = args.project
        else:
            parser.error("name a project, or give --tiny")
        ratio, memory = trial(project.resolve(), folder, args.turns, zstd=args.zstd, say=sys.stdout.write)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    quick = ratio <= RATIO or args.zstd or args.tiny is not None
    return 0 if quick and memory <= RSS_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
