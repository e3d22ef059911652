"""A project whose archive takes a while, so that a test can look on, stop it or leave it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

N_BYTES = 6 << 30


@contextmanager
def slow_archive(root: Path) -> Iterator[Path]:
    """Put a large file of zeros into a project; what was written of archives beside it goes afterwards."""
    with (root / "large.bin").open("wb") as handle:
        handle.truncate(N_BYTES)  # takes no room on the disk
    yield root
    for path in root.parent.glob("*.tar*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
