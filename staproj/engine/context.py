"""What the engine lends a running stage: the implementation of ``StageContext``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.engine import runlog
from staproj.engine.checkpoints import Checkpoints
from staproj.errors import CancelledError
from staproj.project.patterns import match_files
from staproj.project.record import PREVIEW_MAX_PX, Curve, ItemRecord
from staproj.units import Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_CHECK_EVERY_S = 0.5
_REPORT_EVERY_S = 0.1


class RunContext:
    """Context of one call of a stage: one item, or the whole of a project-scope run."""

    def __init__(
        self,
        *,
        root: Path,
        out: Path,
        scratch: Path,
        log: Path,
        item: str | None,
        seed: int,
        threads: int,
        cancelled: Callable[[], bool],
        progress: Callable[[float, float, str], None],
        checkpoint: Checkpoints,
    ) -> None:
        self.item = item
        self.threads = threads
        self.scratch = scratch
        self.checkpoint = checkpoint
        self.record = ItemRecord()
        self._root = root
        self._out = out
        self._log = log
        self._seed = seed
        self._cancelled = cancelled
        self._progress = progress
        self._checked = 0.0
        self._reported = 0.0
        self._steps = runlog.Steps()
        scratch.mkdir(parents=True, exist_ok=True)

    def out_dir(self, item: str | None = None) -> Path:
        """Return the directory for output files, made on first use."""
        if item is not None and self.item is not None:
            raise ValueError("out_dir(item) is for project scope only")
        name = item if item is not None else self.item
        path = self._out if name is None else self._out / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def rng(self, label: str = "") -> np.random.Generator:
        """Return a generator seeded from the project's seed, the item and ``label``."""
        import numpy as np

        tag = hashlib.sha256(f"{self._seed}/{self.item}/{label}".encode()).digest()
        return np.random.default_rng(np.frombuffer(tag, dtype=np.uint32).astype(np.uint64))

    def progress(self, done: float, total: float, message: str = "") -> None:
        """Say how far the work is (at most ten times a second are passed on)."""
        now = time.monotonic()
        if now - self._reported >= _REPORT_EVERY_S or done >= total:
            self._reported = now
            line = self._steps.line(float(done), float(total), message)
            if line is not None:
                self.log(line)
            self._progress(float(done), float(total), message)

    def check_cancelled(self) -> None:
        """Raise ``CancelledError`` if the person asked to stop."""
        now = time.monotonic()
        if now - self._checked >= _CHECK_EVERY_S:
            self._checked = now
            if self._cancelled():
                raise CancelledError("stopped as asked", hint="`staproj resume` goes on")

    def metric(self, name: str, value: float, unit: Unit = Unit.ONE) -> None:
        """Record one number; its name must end in the suffix of its unit."""
        if not name.endswith(unit.suffix):
            raise ValueError(f"metric {name!r} must end in {unit.suffix!r} for its unit {unit.name}")
        self.record.metrics[name] = float(value)
        self.record.units[name] = unit.value

    def table(self, name: str, columns: Mapping[str, ArrayLike], doc: str = "") -> None:
        """Record a table of equally long columns."""
        import numpy as np

        kept = {key: np.asarray(value) for key, value in columns.items()}
        lengths = {len(value) for value in kept.values()}
        if len(lengths) > 1:
            raise ValueError(f"table {name!r} has columns of different lengths {sorted(lengths)}")
        self.record.tables[name] = kept
        self.record.table_docs[name] = doc

    def curve(self, name: str, x: ArrayLike, y: ArrayLike, *, x_label: str, y_label: str) -> None:
        """Record a curve ``y(x)``."""
        import numpy as np

        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if xs.shape != ys.shape or xs.ndim != 1:
            raise ValueError(f"curve {name!r} has x {xs.shape} and y {ys.shape}")
        self.record.curves[name] = Curve(xs, ys, x_label, y_label)

    def preview(self, name: str, image: NDArray[Any]) -> None:
        """Record a small grey picture, reduced to at most 256 pixels, 1 % of the grey values clipped."""
        self.record.previews[name] = small_grey(image)

    def verdict(self, text: str, *, warning: bool = False) -> None:
        """Record the line that says how it went (several are joined)."""
        self.record.verdict = f"{self.record.verdict}; {text}" if self.record.verdict else text
        self.record.warning = self.record.warning or warning

    def fallback(self, what: str) -> None:
        """Record that something else was done than asked."""
        self.record.fallbacks.append(what)
        self.log(f"instead of what was asked: {what}")

    def log(self, message: str) -> None:
        """Write a line to the run's log."""
        runlog.write(self._log, message, self.item)

    def data_files(self, pattern: str) -> list[Path]:
        """Return the files a raw-data parameter matches, sorted, absolute."""
        return match_files(self._root, pattern)


def small_grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return ``image`` as uint8, block-averaged to at most 256 pixels a side, outer 1 % clipped."""
    import numpy as np

    picture = np.asarray(image, dtype=np.float32)
    if picture.ndim != 2 or picture.size == 0:
        raise ValueError(f"a preview must be a two-dimensional picture, is {picture.shape}")
    factor = max(1, -(-max(picture.shape) // PREVIEW_MAX_PX))
    ny, nx = (max(1, n // factor) for n in picture.shape)
    fy, fx = min(factor, picture.shape[0]), min(factor, picture.shape[1])
    blocks = picture[: ny * fy, : nx * fx].reshape(ny, fy, nx, fx).mean(axis=(1, 3))
    finite = blocks[np.isfinite(blocks)]
    if finite.size == 0:
        return np.zeros(blocks.shape, dtype=np.uint8)
    low, high = np.percentile(finite, [0.5, 99.5])
    scaled = (np.nan_to_num(blocks, nan=low) - low) / max(float(high - low), 1e-12)
    grey: NDArray[np.uint8] = np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return grey
