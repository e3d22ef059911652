"""Run one stage outside of a project, as tests and authors of plug-in stages need.

``run_stage("ctf", {"tilt_series": series, "alignment": geometry}, {"defocus_max_um": 6}, tmp_path)``
validates the parameters, checks the inputs against the declared ports, calls the stage with a recording
context, checks what it returns, and sends every output through its artifact file, as the engine would.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from staproj.engine.checkpoints import Checkpoints
from staproj.engine.digest import digest_of
from staproj.errors import CancelledError, InputError, StageError, UsageError
from staproj.formats.artifact import model_class, read_artifact, write_artifact
from staproj.stages import registry
from staproj.stages.api import Port, StageSpec
from staproj.units import Unit


@dataclass
class RecordingContext:
    """A ``StageContext`` that keeps everything a stage records in memory.

    Set ``cancel_after`` to a number of calls of :meth:`check_cancelled` to test that a stage stops.
    """

    root: Path
    item: str | None = None
    threads: int = 1
    seed: int = 0
    cancel_after: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    tables: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    curves: dict[str, tuple[NDArray[Any], NDArray[Any], str, str]] = field(default_factory=dict)
    previews: dict[str, NDArray[Any]] = field(default_factory=dict)
    verdicts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fallbacks: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    progress_calls: list[tuple[float, float, str]] = field(default_factory=list)
    cancel_checks: int = 0

    def __post_init__(self) -> None:
        """Make the scratch directory; checkpoints stay under ``root``, for the next call with it."""
        self.scratch = self.root / "scratch"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.checkpoint = Checkpoints(self.root / "checkpoint", key="harness")

    def out_dir(self, item: str | None = None) -> Path:
        """Return the directory for output files, made on first use."""
        if item is not None and self.item is not None:
            raise ValueError("out_dir(item) is for project scope only")
        name = item if item is not None else self.item
        path = self.root / "out" if name is None else self.root / "out" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def rng(self, label: str = "") -> np.random.Generator:
        """Return a generator seeded from seed, item and label."""
        tag = zlib.crc32(f"{self.item}/{label}".encode())
        return np.random.default_rng([self.seed, tag])

    def progress(self, done: float, total: float, message: str = "") -> None:
        """Keep the call."""
        self.progress_calls.append((float(done), float(total), message))

    def check_cancelled(self) -> None:
        """Count the call; raise once ``cancel_after`` calls were made."""
        self.cancel_checks += 1
        if self.cancel_after is not None and self.cancel_checks > self.cancel_after:
            raise CancelledError("stopped by the test")

    def metric(self, name: str, value: float, unit: Unit = Unit.ONE) -> None:
        """Keep one number; its name must end in the suffix of its unit."""
        if not name.endswith(unit.suffix):
            raise ValueError(f"metric {name!r} must end in {unit.suffix!r} for its unit {unit.name}")
        self.metrics[name] = float(value)
        self.units[name] = unit

    def table(self, name: str, columns: Mapping[str, ArrayLike], doc: str = "") -> None:
        """Keep a table of equally long columns."""
        kept = {key: np.asarray(value) for key, value in columns.items()}
        lengths = {len(value) for value in kept.values()}
        if len(lengths) > 1:
            raise ValueError(f"table {name!r} has columns of different lengths {sorted(lengths)}")
        self.tables[name] = kept

    def curve(self, name: str, x: ArrayLike, y: ArrayLike, *, x_label: str, y_label: str) -> None:
        """Keep a curve."""
        xs, ys = np.asarray(x), np.asarray(y)
        if xs.shape != ys.shape or xs.ndim != 1:
            raise ValueError(f"curve {name!r} has x {xs.shape} and y {ys.shape}")
        self.curves[name] = (xs, ys, x_label, y_label)

    def preview(self, name: str, image: NDArray[Any]) -> None:
        """Keep a picture."""
        picture = np.asarray(image)
        if picture.ndim != 2:
            raise ValueError(f"preview {name!r} must be two-dimensional, is {picture.shape}")
        self.previews[name] = picture

    def verdict(self, text: str, *, warning: bool = False) -> None:
        """Keep a verdict (and note it as a warning)."""
        self.verdicts.append(text)
        if warning:
            self.warnings.append(text)

    def fallback(self, what: str) -> None:
        """Keep a fallback."""
        self.fallbacks.append(what)

    def log(self, message: str) -> None:
        """Keep a line of the log."""
        self.messages.append(message)

    def data_files(self, pattern: str) -> list[Path]:
        """Return the files that a pattern (absolute, or relative to the current directory) matches."""
        path = Path(pattern).absolute()
        if path.exists():
            return [path]
        return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


@dataclass
class StageResult:
    """Outputs of a stage as read back from their files, and what the stage recorded."""

    outputs: dict[str, Any]
    ctx: RecordingContext

    def __getitem__(self, port: str) -> Any:
        """Return the output of a port (``{item: object}`` for per-item ports of project stages)."""
        return self.outputs[port]


def run_stage(
    stage: str | StageSpec,
    inputs: Mapping[str, Any],
    params: Mapping[str, Any],
    tmp_path: Path,
    item: str | None = None,
    threads: int = 1,
    *,
    seed: int = 0,
    ctx: RecordingContext | None = None,
) -> StageResult:
    """Run a stage by name (or declaration) and return its outputs and records.

    Item stages without ``item`` take the tilt series id of their first input that has one.

    A call that was cut off goes on from its checkpoint when it is made again with the same ``tmp_path``.

    Raises
    ------
    InputError
        If an input is missing, unknown, or not an object of its port's kind.
    StageError
        If the stage returns something else than its output ports promise.
    UsageError
        If there is no such stage.
    """
    spec = registry.get(stage) if isinstance(stage, str) else stage
    _check_inputs(spec, inputs)
    if spec.scope == "item" and item is None:
        item = _item_of(inputs)
    context = ctx or RecordingContext(root=Path(tmp_path) / spec.name, item=item, threads=threads, seed=seed)
    context.checkpoint = Checkpoints(context.root / "checkpoint", key=_key(spec, params, item))
    outputs = spec.load()(dict(inputs), spec.params(**params), context)
    if set(outputs) - set(spec.outputs):
        raise StageError(
            f"stage {spec.name} returned unknown ports {sorted(set(outputs) - set(spec.outputs))}"
        )
    for port_name, port in spec.outputs.items():
        if port_name not in outputs and not port.optional:
            raise StageError(f"stage {spec.name} did not return {port_name!r}")
    read: dict[str, Any] = {}
    for port_name, value in outputs.items():
        read[port_name] = _round_trip(spec, port_name, spec.outputs[port_name], value, context)
    context.checkpoint.clear()
    return StageResult(read, context)


def _key(spec: StageSpec, params: Mapping[str, Any], item: str | None) -> str:
    """Return what a checkpoint of this call is good for (calls with other inputs need another directory)."""
    return digest_of(
        {"stage": spec.name, "item": item, "params": spec.params(**params).model_dump(mode="json")}
    )


def _item_of(inputs: Mapping[str, Any]) -> str:
    for value in inputs.values():
        name = getattr(value, "tilt_series_id", None)
        if isinstance(name, str):
            return name
        if isinstance(name, np.ndarray) and len(name):
            return str(name[0])
    raise UsageError("an item stage needs `item` where no input names its tilt series")


def _check_inputs(spec: StageSpec, inputs: Mapping[str, Any]) -> None:
    unknown = set(inputs) - set(spec.inputs)
    if unknown:
        raise InputError(
            f"stage {spec.name} has no input {sorted(unknown)}", hint=f"it has {list(spec.inputs)}"
        )
    for name, port in spec.inputs.items():
        if name not in inputs:
            if not port.optional:
                raise InputError(f"stage {spec.name} needs input {name!r}")
            continue
        values = inputs[name].values() if isinstance(inputs[name], dict) else [inputs[name]]
        for value in values:
            _check_kind(spec, name, port, value)


def _check_kind(spec: StageSpec, name: str, port: Port, value: Any) -> None:
    wanted = model_class(port.kind)
    if not isinstance(value, wanted):
        found = type(value).__name__
        raise StageError(f"{spec.name}.{name} must be a {wanted.__name__}, is a {found}")


def _round_trip(spec: StageSpec, name: str, port: Port, value: Any, ctx: RecordingContext) -> Any:
    if spec.scope == "project" and port.per_item:
        return {
            item: _through_file(spec, name, port, part, ctx, item) for item, part in sorted(value.items())
        }
    return _through_file(spec, name, port, value, ctx, None)


def _through_file(
    spec: StageSpec, name: str, port: Port, value: Any, ctx: RecordingContext, item: str | None
) -> Any:
    _check_kind(spec, name, port, value)
    path = ctx.out_dir(item) / f"{name}.h5"
    write_artifact(path, value, project_root=ctx.root)
    return read_artifact(path, model_class(port.kind), project_root=ctx.root)
