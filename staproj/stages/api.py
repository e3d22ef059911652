"""How a stage is declared, and what it is given when it runs.

A stage is a folder ``staproj/stages/<name>/`` with ``declare.py`` (cheap: parameters, ports, docs) and
``run.py`` (the work). Nothing here imports numpy, so that help and status stay quick.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict
from pydantic import Field as _Field

from staproj.kinds import ArtifactKind, OutputClass
from staproj.units import Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


class Params(BaseModel):
    """Base of every stage's parameters: frozen, no unknown names, no infinities.

    Field name = quantity + suffix of its unit. "Automatic" is ``None`` or a literal ``"auto"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def param(
    default: Any = ...,
    *,
    unit: Unit = Unit.ONE,
    help: str,
    per_item: bool = True,
    data_path: bool = False,
    **bounds: Any,
) -> Any:
    """Declare one parameter: default, unit, bounds (``ge``, ``le``, ``gt``, ``lt``) and one sentence of help.

    ``per_item=False`` forbids ``[step.X.item.TS]`` overrides. ``data_path=True`` marks patterns or
    paths of raw data: the engine fingerprints the files they match and keys the run on them.
    """
    extra: dict[str, Any] = {"unit": unit.name, "per_item": per_item, "data_path": data_path}
    return _Field(default, description=help, json_schema_extra=extra, **bounds)


@dataclass(frozen=True)
class Port:
    """Typed input or output. ``per_item`` outputs exist once a tilt series.

    ``output_class`` says what clean-up may do with an output; without one its kind says it
    (:attr:`ArtifactKind.output_class`).
    """

    kind: ArtifactKind
    doc: str
    optional: bool = False
    per_item: bool = False
    output_class: OutputClass | None = None


@dataclass(frozen=True)
class StageSpec:
    """Everything known about a stage without running it.

    ``scope`` is ``"item"`` (called once a tilt series) or ``"project"`` (called once). ``cache_version``
    is raised by hand whenever the stage's numbers change. ``run`` is ``module:function``, resolved when run.
    ``citations`` are keys of :mod:`staproj.stages.references` (plug-ins may give free text). ``methods`` are
    sentences for a paper, filled from the record: see :mod:`staproj.api.facts`.
    ``group`` is where the stage stands in lists (import, align, ctf, reconstruct, particles, maps).
    ``deterministic``: the same inputs, parameters and seed give the same bytes on the CPU, with any number
    of threads. Outputs of a stage that cannot promise it are never deleted by clean-up.
    """

    name: str
    summary: str
    params: type[Params]
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    run: str
    scope: Literal["item", "project"] = "item"
    cache_version: int = 1
    group: str = ""
    doc: str = ""
    citations: tuple[str, ...] = field(default=())
    methods: tuple[str, ...] = field(default=())
    deterministic: bool = True

    def load(self) -> Callable[..., dict[str, Any]]:
        """Import and return the function that does the work."""
        module, _, name = self.run.partition(":")
        function: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
        return function


class Checkpoint(Protocol):
    """How far a call has come, for the case that it is cut off; saved whole, good only for the same work."""

    def save(self, name: str, objects: Mapping[str, Any]) -> None:
        """Replace the checkpoint ``name``: arrays, model objects without paths, and what JSON can hold."""

    def load(self, name: str) -> dict[str, Any] | None:
        """Return what an earlier, interrupted call with the same key saved, or ``None``."""


class StageContext(Protocol):
    """What the engine lends a running stage. A stage never prints and never chooses a path.

    The stage function is called as ``run(inputs, params, ctx)`` and returns ``{port: model object}``:

    * item scope: for that tilt series. ``inputs[port]`` is the tilt series' artifact where the
      producing port is per item, else the whole artifact; absent optional inputs are not in it.
    * project scope: ``inputs[port]`` is ``{tilt series: artifact}`` where the producing port is per item
      (keys sorted), else the artifact. For outputs whose port is per item return
      ``{port: {tilt series: model object}}``.

    Files a stage writes itself (stacks, maps) go to :meth:`out_dir` and are referred to by the returned
    object's path fields. The engine writes ``<port>.h5`` beside them.
    """

    item: str | None
    """Tilt series being processed, ``None`` in project scope."""
    threads: int
    """CPU threads the stage may use."""
    scratch: Path
    """Directory for temporary files, removed afterwards."""
    checkpoint: Checkpoint
    """Where a long loop saves how far it has come (and looks for it before it begins)."""

    def out_dir(self, item: str | None = None) -> Path:
        """Return the (existing) directory for output files; ``item`` only in project scope."""

    def rng(self, label: str = "") -> np.random.Generator:
        """Return a generator seeded from the run's seed, the item and ``label``."""

    def progress(self, done: float, total: float, message: str = "") -> None:
        """Say how far the work is."""

    def check_cancelled(self) -> None:
        """Raise ``CancelledError`` if the person asked to stop; call it in every long loop."""

    def metric(self, name: str, value: float, unit: Unit = Unit.ONE) -> None:
        """Record one number (name ends in the suffix of its unit)."""

    def table(self, name: str, columns: Mapping[str, ArrayLike], doc: str = "") -> None:
        """Record a table: column name (with unit suffix) to equally long arrays."""

    def curve(self, name: str, x: ArrayLike, y: ArrayLike, *, x_label: str, y_label: str) -> None:
        """Record a curve ``y(x)``; labels are ``name_with_unit_suffix``."""

    def preview(self, name: str, image: NDArray[Any]) -> None:
        """Record a small grey picture ``[y, x]`` (reduced to at most 256 pixels)."""

    def verdict(self, text: str, *, warning: bool = False) -> None:
        """Record the one line with numbers that says how it went."""

    def fallback(self, what: str) -> None:
        """Record that something else was done than asked (shown with the verdict)."""

    def log(self, message: str) -> None:
        """Write a line to the run's log."""

    def data_files(self, pattern: str) -> list[Path]:
        """Return the files a ``data_path`` parameter matches, sorted, absolute."""
