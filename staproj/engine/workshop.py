"""Where outputs are made again from the record of their run, and compared with what was sealed.

The work is done in a *workshop*: a scratch directory with one directory for each run to be made again, whose
``out/`` starts empty. The engine computes there exactly as in a real run
(:func:`staproj.engine.items.compute_item`), with stage, parameters, seed and inputs from ``spec.json``; the
manifest plays no part. Inputs come from the workshop if they were made again there, else from the project,
where nothing is touched.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from staproj.engine import digest
from staproj.engine.events import ProgressEvent
from staproj.engine.items import Hooks, ItemTask, compute_item
from staproj.engine.options import Options
from staproj.engine.outputs import link_or_copy
from staproj.engine.recreate import Unit, files_of, name_of, units_of
from staproj.engine.view import InputUse, View
from staproj.errors import CancelledError, StaprojError
from staproj.project import atomic, schema
from staproj.project.layout import Layout, RunDir
from staproj.project.process import is_alive, this_process
from staproj.stages import registry

_OWNER = "owner.json"


@dataclass
class Remade:
    """What came of making one unit again.

    ``differing`` has an entry ``{"path", "expected", "found", "same_content"}`` for each file whose bytes are
    not those that were sealed; ``same_content`` where an HDF5 file says the same in other bytes.
    """

    unit: Unit
    step: str
    stage: str
    files: int = 0
    size: int = 0
    wall_s: float = 0.0
    differing: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    asked: bool = True

    @property
    def equal(self) -> bool:
        """Tell whether every file came out bit for bit."""
        return not self.error and not self.differing

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        return {
            "run": self.unit[0],
            "item": self.unit[1],
            "step": self.step,
            "stage": self.stage,
            "asked": self.asked,
            "equal": self.equal,
            "files": self.files,
            "bytes": self.size,
            "wall_s": round(self.wall_s, 3),
            "differing": self.differing,
            "error": self.error or None,
        }


class Workshop:
    """A scratch directory in which some units are made again, in the order given."""

    def __init__(self, view: View, order: Sequence[Unit], place: Path) -> None:
        self.view = view
        self.order = list(order)
        self.root = place
        self._failed: set[Unit] = set()
        self._inside = _Inside(view.layout, view.prints)
        self._build()

    def make(self, unit: Unit, options: Options) -> Remade:
        """Make one unit again; what went wrong is in the answer.

        Raises
        ------
        CancelledError
            If the person stopped it.
        """
        run, item = unit
        spec = self.view.spec(run)
        result = Remade(unit, str(spec["step"]), str(spec["stage"]))
        bad = [need for need in inputs_of(self.view, self.order, unit) if need in self._failed]
        if bad:
            result.error = f"its input {name_of(bad[0])} did not come out as it was"
            self._failed.add(unit)
            return result
        begun = time.monotonic()
        options.progress(ProgressEvent("item", result.step, run, item))
        try:
            entry = compute_item(self._task(unit), self._hooks(unit, options))
            self._keep(unit)
            self._compare(unit, entry, result)
        except (CancelledError, KeyboardInterrupt):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a stage raises is the answer
            result.error = error.message if isinstance(error, StaprojError) else _one_line(error)
        result.wall_s = time.monotonic() - begun
        if not result.equal:
            self._failed.add(unit)
        return result

    def file(self, unit: Unit, path: str) -> Path:
        """Return where a file of a unit lies that was made again."""
        return self._run(unit[0]).out / path

    def drop(self, unit: Unit) -> None:
        """Delete the files of a unit that nothing needs any more."""
        for entry in files_of(self.view, unit):
            self.file(unit, entry["path"]).unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------- inside
    def _build(self) -> None:
        """Make room for the runs to be made again, beside copies of their records."""
        made: dict[str, set[str | None]] = {}
        for run, item in self.order:
            made.setdefault(run, set()).add(item)
        for run, items in made.items():
            real = self.view.run(run)
            scratch = self._inside.places[run] = RunDir(self.root / real.path.name)
            scratch.out.mkdir(parents=True)
            scratch.log.parent.mkdir(exist_ok=True)
            for path in (real.spec, real.env, real.outputs, real.sealed):
                shutil.copyfile(path, scratch.path / path.name)
            for unit in units_of(self.view, run):
                if unit[1] not in items:
                    self._lend(unit, real, scratch)

    def _lend(self, unit: Unit, real: RunDir, scratch: RunDir) -> None:
        """Let outputs of a tilt series that is not made again lie beside those that are."""
        for entry in files_of(self.view, unit):
            if (real.out / entry["path"]).is_file():
                (scratch.out / entry["path"]).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(real.out / entry["path"], scratch.out / entry["path"])

    def _run(self, run: str) -> RunDir:
        return self._inside.places[run]

    def _task(self, unit: Unit) -> ItemTask:
        run, item = unit
        spec = self.view.spec(run)
        stage = registry.get(str(spec["stage"]))
        own = {**spec["params"], **spec["item_params"].get(item or "", {})}
        values = {name: entry["value"] for name, entry in own.items()}
        image = spec["preimage"]
        return ItemTask(
            root=self.view.layout.root,
            run=self._run(run).path,
            attempt=1,
            spec=stage,
            params=stage.params.model_validate_json(digest.canonical(values), strict=True),
            uses={port: _use(port, use) for port, use in spec["inputs"].items()},
            item=item,
            key=digest.item_key(image, item),
            seed=int(image["seed"]),
            threads=max(1, int(spec.get("execution", {}).get("threads", 1))),
        )

    def _hooks(self, unit: Unit, options: Options) -> Hooks:
        step = str(self.view.spec(unit[0])["step"])

        def report(done: float, total: float, message: str) -> None:
            options.progress(ProgressEvent("progress", step, unit[0], unit[1], done, total, message))

        return Hooks(self._inside, options.cancelled, report)

    def _keep(self, unit: Unit) -> None:
        """Move what was made to where the engine looks for outputs, with the times that were sealed."""
        run, item = self._run(unit[0]), unit[1]
        made = run.attempt_dir(1).out
        source, target = (made, run.out) if item is None else (made / item, run.out / item)
        if item is None:
            shutil.rmtree(target)
        source.rename(target)
        for entry in files_of(self.view, unit):
            path = self.file(unit, entry["path"])
            if path.is_file():  # equal content with the time that was sealed need not be read again
                os.utime(path, ns=(entry["mtime_ns"], entry["mtime_ns"]))

    def _compare(self, unit: Unit, entry: Mapping[str, Any], result: Remade) -> None:
        wanted = {e["path"]: e for e in files_of(self.view, unit)}
        found = {e["path"]: e for e in entry["files"]}
        same_content = self._same_artifacts(unit, entry)
        for path in sorted({*wanted, *found}):
            old, new = (table.get(path, {}).get("sha256") for table in (wanted, found))
            if old != new:
                result.differing.append(
                    {"path": path, "expected": old, "found": new, "same_content": path in same_content}
                )
        result.files = len(wanted)
        result.size = sum(int(e["size"]) for e in wanted.values())

    def _same_artifacts(self, unit: Unit, entry: Mapping[str, Any]) -> set[str]:
        """Return the artifact files whose content has the digest that was sealed."""
        sealed = _artifact_digests(self.view.outputs(unit[0])["artifacts"])
        now = _artifact_digests(entry["artifacts"])
        return {path for path, value in now.items() if sealed.get(path) == value}


def inputs_of(view: View, order: Sequence[Unit], unit: Unit) -> list[Unit]:
    """Return the units of an order that a unit reads."""
    found: list[Unit] = []
    for use in view.spec(unit[0])["inputs"].values():
        per_item = unit[1] is not None and isinstance(use["digest"], Mapping)
        wanted = (None, unit[1])
        found += [u for u in order if u[0] == use["run"] and (not per_item or u[1] in wanted)]
    return found


def last_use(view: View, order: Sequence[Unit]) -> dict[Unit, int]:
    """Return the place in the order after which each unit is not needed any more."""
    last = {unit: index for index, unit in enumerate(order)}
    for index, unit in enumerate(order):
        for need in inputs_of(view, order, unit):
            last[need] = index
    return last


class _Inside(View):
    """The project as it is seen in a workshop: runs that are made again lie there."""

    @cached_property
    def places(self) -> dict[str, RunDir]:
        """Runs in the workshop."""
        return {}

    def run(self, text: str) -> RunDir:
        """Return a run, in the workshop if it is made again there."""
        return self.places.get(text) or super().run(text)


@contextmanager
def workshop(view: View, order: Sequence[Unit], *, place: Path | None = None) -> Iterator[Workshop]:
    """Lend a workshop: in the project where it can be written to (or below ``place``), removed afterwards."""
    layout = view.layout
    if place is not None:
        root = Path(os.path.abspath(place)) / f"staproj-{uuid.uuid4().hex[:12]}"
    elif schema.may_write(layout):
        remove_abandoned(layout)
        root = layout.remakes / uuid.uuid4().hex[:12]
    else:
        root = Path(tempfile.mkdtemp(prefix="staproj-")) / "project"
    with atomic.storage_errors(root):
        root.mkdir(parents=True)
    owner = root.with_name(f"{root.name}-{_OWNER}")
    try:
        owner.write_text(json.dumps(this_process()))
        yield Workshop(view, order, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        owner.unlink(missing_ok=True)
        with suppress(OSError):
            root.parent.rmdir()


def remove_abandoned(layout: Layout) -> None:
    """Remove workshops whose process is proven gone."""
    for owner in layout.remakes.glob(f"*-{_OWNER}"):
        with suppress(OSError, ValueError):
            if is_alive(json.loads(owner.read_text())) is False:
                shutil.rmtree(owner.with_name(owner.name.removesuffix(f"-{_OWNER}")), ignore_errors=True)
                owner.unlink()


def _use(port: str, use: Mapping[str, Any]) -> InputUse:
    return InputUse(
        port=port,
        source=f"{use['step']}.{use['port']}",
        kind=str(use["kind"]),
        ref=str(use.get("ref", use["step"])),
        step=str(use["step"]),
        run=str(use["run"]),
        source_port=str(use["port"]),
        per_item=isinstance(use["digest"], Mapping),
        digest=use["digest"],
    )


def _artifact_digests(artifacts: Mapping[str, Any]) -> dict[str, str]:
    parts = [
        part
        for entry in artifacts.values()
        for part in (entry["items"].values() if "items" in entry else [entry])
    ]
    return {str(part["file"]): str(part["digest"]) for part in parts}


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
