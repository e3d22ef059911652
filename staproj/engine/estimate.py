"""What steps will take: wall time, disk and memory, from the history of the same stage.

What no history and no input tells is ``None``: unknown, never guessed.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.engine import digest, heads, outputs
from staproj.engine.plan import Node
from staproj.engine.view import View
from staproj.errors import StaprojError, StorageError
from staproj.kinds import ArtifactKind as Kind
from staproj.project import atomic
from staproj.project.layout import RunDir

LOOK_BACK = 8
SMALL_BYTES = 1_000_000
MOST = 1e18
_BULKY = (Kind.TILT_SERIES, Kind.TOMOGRAMS, Kind.MAP, Kind.HALF_MAPS, Kind.MASK)
_SAME_SIZE = {Kind.TILT_SERIES: (Kind.TILT_SERIES,), Kind.MASK: (Kind.MAP, Kind.HALF_MAPS, Kind.MASK)}


@dataclass(frozen=True)
class History:
    """Medians over the items that the newest runs of a stage computed; ``None`` without any."""

    runs: int = 0
    wall_s: float | None = None
    bytes: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Estimate:
    """What one step is expected to take; ``None`` is unknown.

    ``items`` are computed anew. ``time_from`` and ``bytes_from`` say where the numbers come from: "history",
    "inputs" (as large as what it reads), "kind" (its outputs are small tables) or "".
    """

    step: str
    items: int
    wall_s: float | None = None
    bytes: int | None = None
    memory_bytes: int | None = None
    time_from: str = ""
    bytes_from: str = ""
    runs: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return dict(vars(self))


def of_plain(told: Any) -> Estimate | None:
    """Undo :meth:`Estimate.as_dict`; ``None`` for what is none (the file may be from elsewhere)."""
    if not isinstance(told, dict) or not isinstance(told.get("step"), str):
        return None
    numbers = {name: told.get(name) for name in ("wall_s", "bytes", "memory_bytes")}
    for value in numbers.values():
        if value is not None and not (isinstance(value, int | float) and 0 <= value < MOST):
            return None
    size, memory = numbers["bytes"], numbers["memory_bytes"]
    return Estimate(
        told["step"],
        1,
        numbers["wall_s"],
        None if size is None else int(size),
        None if memory is None else int(memory),
    )


def estimate(view: View, steps: Sequence[str], *, jobs: int = 1, anew: bool = False) -> list[Estimate]:
    """Return what ``steps`` will take, in their order (that of the pipeline).

    Steps that only wait for others of the list are expected to have as many items as those. ``anew``: what is
    finished is not used again where nothing has changed, as in a rerun.
    """
    found: dict[str, Estimate] = {}
    for name in steps:
        found[name] = _of_step(view, view.graph.node(name), found, jobs, anew=anew)
    return list(found.values())


def history(view: View, node: Node) -> History:
    """Return what the newest runs of a step took; without any, those of other steps of the same stage."""
    own = _measured([run for run in view.earlier_runs(node.name) if run.name.step == node.name])
    if own.runs:
        return own
    others = [n for n in view.graph.nodes.values() if n.spec.name == node.spec.name and n.name != node.name]
    return _measured([run for other in others for run in view.earlier_runs(other.name)])


def _measured(among: Iterable[RunDir]) -> History:
    walls: list[float] = []
    sizes: list[float] = []
    memory: list[int] = []
    count = 0
    for run in among:
        if count == LOOK_BACK:
            break
        if not run.is_sealed():
            continue
        entries = [entry for entry in _entries(run) if not entry.get("reused_from")]
        with suppress(KeyError, TypeError, ValueError):
            walls += [float(entry["wall_s"]) for entry in entries]
            sizes += [float(sum(int(file["size"]) for file in entry["files"])) for entry in entries]
            memory += [int(entry["peak_rss_bytes"]) for entry in entries]
            count += bool(entries)
    if not (walls and sizes and memory):
        return History()
    return History(count, statistics.median(walls), statistics.median(sizes), max(memory))


def _entries(run: RunDir) -> list[dict[str, Any]]:
    found = []
    for path in run.finished_items():
        with suppress(StaprojError):
            found.append(atomic.read_json(path))
    return found


def _of_step(
    view: View, node: Node, before: Mapping[str, Estimate], jobs: int, *, anew: bool = False
) -> Estimate:
    items = _items(view, node, before, anew=anew)
    past = history(view, node)
    wall_s: float | None = None
    memory: int | None = None
    if past.wall_s is not None:
        rounds = -(-items // max(1, min(jobs, max(items, 1))))
        wall_s = past.wall_s * rounds
        memory = (past.memory_bytes or 0) * max(1, min(jobs, items))
    size, source = (
        (past.bytes * items, "history") if past.bytes is not None else _by_kind(view, node, before, items)
    )
    return Estimate(
        node.name,
        items,
        None if wall_s is None else round(wall_s, 3),
        None if size is None else int(size),
        memory,
        "history" if wall_s is not None else "",
        source,
        past.runs,
    )


def _items(view: View, node: Node, before: Mapping[str, Estimate], *, anew: bool) -> int:
    """Return how many items the step has to compute; finished ones of earlier runs are used again."""
    if node.spec.scope != "item":
        return 1
    with suppress(StaprojError):
        expected = view.expected(node.name)
        if anew and heads.is_made_from(view, view.heads.get(node.name), expected):
            return len(expected.items)
        if expected.image is not None and not any(parent in before for parent in node.parents()):
            among = outputs.candidates(view, node.name)
            keys = {item: digest.item_key(expected.image, item) for item in expected.items}
            done = sum(
                outputs.find_finished(view, among, key, item) is not None for item, key in keys.items()
            )
            return len(keys) - done
        if expected.items:
            return len(expected.items)
    return max([before[parent].items for parent in node.parents() if parent in before], default=1)


def _by_kind(view: View, node: Node, before: Mapping[str, Estimate], items: int) -> tuple[float | None, str]:
    """Return the size of outputs without history: small tables, or as large as an input of the same kind."""
    bulky = [port.kind for port in node.spec.outputs.values() if port.kind in _BULKY]
    if not bulky:
        return float(SMALL_BYTES * items), "kind"
    total = 0.0
    for kind in bulky:
        like = _SAME_SIZE.get(kind, (kind,))
        edges = [edge for edge in node.edges if edge.kind in like]
        sizes = [_size_of_source(view, edge.source_step, edge.source_run, before) for edge in edges]
        known = [size for size in sizes if size is not None]
        if not known:
            return None, ""
        total += max(known)
    return total, "inputs"


def _size_of_source(
    view: View, step: str | None, run: str | None, before: Mapping[str, Estimate]
) -> float | None:
    if step is not None and step in before:
        size = before[step].bytes
        return None if size is None else float(size)
    head = run or view.heads.get(step or "")
    with suppress(StaprojError, KeyError, TypeError):
        if head is not None:
            return float(sum(int(entry["size"]) for entry in view.outputs(head)["files"]))
    return None


def free_bytes(root: Path) -> int:
    """Return what is free on the disk of a project, for this person."""
    return shutil.disk_usage(root).free


def check_space(root: Path, estimates: Sequence[Estimate], *, force: bool) -> str:
    """Refuse to begin what the disk cannot hold; return what to note where it is forced ("" else).

    Raises
    ------
    StorageError
        If more is expected than is free.
    """
    needed = sum(estimate.bytes or 0 for estimate in estimates)
    free = free_bytes(root)
    if needed <= free:
        return ""
    largest = max(estimates, key=lambda estimate: estimate.bytes or 0)
    figures = f"about {_gb(needed)} will be written, {_gb(free)} are free"
    if force:
        return f"begun with --force: {figures}"
    raise StorageError(
        f"the disk cannot hold this: {figures}",
        where=f"{root} (most of it by {largest.step}: {_gb(largest.bytes or 0)})",
        hint="make room, or run fewer steps with --until; --force begins all the same",
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
