"""The tilt series of a project: one row each, and one row a view, from what the heads have on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from staproj.api.series_records import Part, Records
from staproj.engine import params
from staproj.engine.plan import Node
from staproj.engine.view import View
from staproj.errors import StaprojError, UsageError
from staproj.kinds import ArtifactKind
from staproj.project import runs
from staproj.project.cleared import cleared_paths
from staproj.project.manifest import suggestion

EXCLUDE = "exclude_views"
FEW_BEADS = 5
"""With fewer, fine_align frees no more than one axis angle."""
HAND_WORDS = "the hand of the defocus gradient cannot be told"
"""How the fallback of ctf begins."""
IMPORTS = ("import_stack", "import_movies")
PARTICLES = ("select", "match", "seed")
FACTS = (
    "view",
    "stage_tilt_deg",
    "acquisition_index",
    "exposure_e_per_angstrom2",
    "pre_exposure_e_per_angstrom2",
    "nominal_defocus_um",
)
"""What an import says of each view."""
WANTED: Mapping[str, Mapping[str, Sequence[str]]] = {
    "motion": {"views": ("view", "stage_tilt_deg", "travel_px")},
    "clean": {"views": ("view", "stage_tilt_deg", "used", "n_spikes", "n_pixels")},
    "fine_align": {"views": ("view", "tilt_deg", "n_beads", "residual_mean_px")},
    "ctf": {
        "views": ("view", "defocus_u_um", "defocus_v_um", "astigmatism_deg", "fit_resolution_angstrom"),
    },
    "match": {"particles": ("particle_id",)},
    "select": {"counts": ("tilt_series_id", "n_selected")},
    **{stage: {"series": ("tilt_series", "pixel_size_angstrom"), "views_*": FACTS} for stage in IMPORTS},
}
"""Columns that are read, by stage and table."""
VIEW_COLUMNS = {
    "motion": {"drift_px": "travel_px"},
    "clean": {"n_spikes": "n_spikes", "n_pixels_replaced": "n_pixels"},
    "fine_align": {"tilt_deg": "tilt_deg", "n_beads": "n_beads", "residual_px": "residual_mean_px"},
    "ctf": {
        "defocus_u_um": "defocus_u_um",
        "defocus_v_um": "defocus_v_um",
        "astigmatism_deg": "astigmatism_deg",
        "fit_resolution_angstrom": "fit_resolution_angstrom",
    },
}
"""Columns of the table ``views`` of a stage that rows of views show, by their name there."""
METRICS = {
    "residual_px": ("fine_align", "residual_mean_px"),
    "leave_out_px": ("fine_align", "leave_out_error_px"),
    "defocus_um": ("ctf", "defocus_median_um"),
    "astigmatism_um": ("ctf", "astigmatism_median_um"),
    "thickness_angstrom": ("position", "thickness_angstrom"),
}
"""Numbers of a row that a stage records as such."""


class Series:
    """Tilt series of one project. Every call looks at the files as they are; payload is not read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def overview(self) -> list[dict[str, Any]]:
        """Return one row a tilt series; what is not on record is ``None``.

        ``{"item", "n_views", "n_excluded", "tilt_min_deg", "tilt_max_deg", "exposure_e_per_angstrom2",
        "pixel_size_angstrom", "n_beads", "residual_px", "leave_out_px", "defocus_um", "astigmatism_um",
        "thickness_angstrom", "n_particles", "particles_from", "excluded_now", "flags", "notes"}``:
        ``particles_from`` is the step they are counted in, ``excluded_now`` what the manifest excludes,
        ``flags`` are short words, and ``notes`` say each in full: ``{"flag", "step", "run", "text"}``.
        """
        table = _Table(View.open(self.root))
        return [table.row(item) for item in table.items]

    def views(self, item: str) -> dict[str, Any]:
        """Return the views of one tilt series, from 0 by rising tilt.

        ``{"item", "n_views", "views", "control", "excluded_now", "excluded_made", "flags", "notes"}``.
        ``control`` is the step whose parameter of this tilt series excludes views, ``{"step", "number",
        "param"}`` with its place in the pipeline from 1; ``excluded_now`` is what that parameter says in the
        manifest, ``excluded_made`` what it said when the head was made. Rows: ``{"view", "stage_tilt_deg",
        "tilt_deg", "acquisition_index", "pre_exposure_e_per_angstrom2", "exposure_e_per_angstrom2",
        "nominal_defocus_um", "drift_px", "n_spikes", "n_pixels_replaced", "n_beads", "residual_px",
        "defocus_u_um", "defocus_v_um", "astigmatism_deg", "fit_resolution_angstrom", "excluded"}``;
        ``excluded`` is as the head left it, dark views too.

        Raises
        ------
        UsageError
            If there is no such tilt series.
        """
        table = _Table(View.open(self.root), item)
        if item not in table.items:
            raise UsageError(
                f"there is no tilt series {item!r}", hint=suggestion(item, table.items, "tilt series")
            )
        return table.views(item)


class _Table:
    """What rows are made from: the records of one look at a project."""

    def __init__(self, view: View, only: str | None = None) -> None:
        self.view = view
        self.records = Records(view, WANTED, only)
        self.items = sorted(view.all_items() | self.records.all_items())
        self._artifacts: dict[str, Mapping[str, Any]] = {}
        self._ends: dict[str, runs.RunState] = {}

    # ------------------------------------------------------------------------------------------- rows
    def row(self, item: str) -> dict[str, Any]:
        """Return the row of one tilt series."""
        facts, pixel = self._facts(item)
        control, made = self.control(item), self._found("clean", item)
        now = self.excluded(control, item)
        used = self.records.part(made, item).column("views", "used")
        tilts = [tilt for tilt in facts["stage_tilt_deg"] if tilt is not None]
        particles, counted = self._particles(item)
        values = {
            name: self.records.part(self._found(stage, item), item).metric(metric)
            for name, (stage, metric) in METRICS.items()
        }
        beads = self._beads(item)
        notes = [*self._notes(item, beads), *self._pending(control, item, now)]
        return {
            "item": item,
            "n_views": len(facts["view"]) or None,
            "n_excluded": sum(not one for one in used) if used else None if now is None else len(now),
            "tilt_min_deg": min(tilts, default=None),
            "tilt_max_deg": max(tilts, default=None),
            "exposure_e_per_angstrom2": _total(facts),
            "pixel_size_angstrom": pixel,
            "n_beads": beads,
            **values,
            "n_particles": particles,
            "particles_from": counted,
            "excluded_now": now,
            "flags": list(dict.fromkeys(note["flag"] for note in notes)),
            "notes": notes,
        }

    def views(self, item: str) -> dict[str, Any]:
        """Return the views of one tilt series."""
        control = self.control(item)
        now, made = self.excluded(control, item), self._made(control, item)
        facts, _ = self._facts(item)
        rows: dict[int, dict[str, Any]] = {}
        _fill(rows, facts["view"], {name: facts[name] for name in FACTS[1:]})
        for stage, columns in VIEW_COLUMNS.items():
            part = self.records.part(self._found(stage, item), item)
            own = {name: part.column("views", column) for name, column in columns.items()}
            _fill(rows, part.column("views", "view"), own)
        part = self.records.part(self._found("clean", item), item)
        _fill(rows, part.column("views", "view"), {"excluded": [not u for u in part.column("views", "used")]})
        names = [*FACTS, *(name for columns in VIEW_COLUMNS.values() for name in columns)]
        notes = [*self._notes(item, self._beads(item)), *self._pending(control, item, now)]
        return {
            "item": item,
            "n_views": len(rows) or None,
            "views": [
                {name: row.get(name) for name in names} | {"excluded": row.get("excluded", n in (now or ()))}
                for n, row in sorted(rows.items())
            ],
            "control": self._where(control),
            "excluded_now": now,
            "excluded_made": made,
            "flags": list(dict.fromkeys(note["flag"] for note in notes)),
            "notes": notes,
        }

    # ---------------------------------------------------------------------------------- views left out
    def control(self, item: str) -> Node | None:
        """Return the step whose parameter leaves views of a tilt series out."""
        found = self._found("clean", item)
        if found is not None:
            return found
        nodes = [n for n in self.view.graph.nodes.values() if EXCLUDE in n.spec.params.model_fields][::-1]
        return min(nodes, key=lambda n: (n.spec.name != "clean", n.step.variant is not None), default=None)

    def excluded(self, node: Node | None, item: str) -> list[int] | None:
        """Return the views that the manifest leaves out (``None`` where it does not say so rightly)."""
        if node is None:
            return None
        try:
            found = params.resolve(self.view.manifest, node.step, node.spec, item=item)
        except StaprojError:
            return None
        return _numbers(found.values.get(EXCLUDE))

    def _made(self, node: Node | None, item: str) -> list[int] | None:
        """Return the views that the head of a step was told to leave out."""
        if node is None or node.name not in self.view.heads:
            return None
        return _numbers(self.records.parameter(node, item, EXCLUDE))

    def _pending(self, node: Node | None, item: str, now: list[int] | None) -> Iterator[dict[str, Any]]:
        made = self._made(node, item)
        if node is None:
            return
        if now is None:
            yield self._note("bad value", node, f"{EXCLUDE} in the manifest cannot be used")
        elif made is not None and now != made:
            yield self._note(
                "exclusions not run", node, f"{EXCLUDE} is {now} in the manifest, the head has {made}"
            )

    def _where(self, node: Node | None) -> dict[str, Any] | None:
        if node is None:
            return None
        return {"step": node.name, "number": [*self.view.graph.nodes].index(node.name) + 1, "param": EXCLUDE}

    # ------------------------------------------------------------------------------------------ facts
    def _found(self, stage: str, item: str) -> Node | None:
        return self.records.find((stage,), item)

    def _facts(self, item: str) -> tuple[dict[str, list[Any]], float | None]:
        """Return what the import says of each view, and the pixel size."""
        node = self._source(item)
        part = self.records.part(node, item)
        facts = {name: part.column(f"views_{item}", name) for name in FACTS}
        names, sizes = part.column("series", "tilt_series"), part.column("series", "pixel_size_angstrom")
        pixel = dict(zip(names, sizes, strict=False)).get(item)
        if facts["view"] and pixel is not None:
            return facts, pixel
        series = self._artifact(node, item)
        if not facts["view"] and series is not None:
            facts = {name: _column(series, name) for name in FACTS[1:]}
            facts["view"] = list(range(len(facts["stage_tilt_deg"])))
        for stage in ("motion", "clean"):
            if not facts["view"]:
                part = self.records.part(self._found(stage, item), item)
                facts |= {name: part.column("views", name) for name in ("view", "stage_tilt_deg")}
        size = getattr(series, "pixel_size_angstrom", None)
        return facts, float(size) if size is not None else part.metric("pixel_size_angstrom")

    def _source(self, item: str) -> Node | None:
        """Return the step that read the raw data of a tilt series, of a plug-in too."""
        known = self.records.find(IMPORTS, item)
        others = [n.spec.name for n in self.view.graph.nodes.values() if not n.spec.inputs and _gives(n)]
        return known or self.records.find(others, item)

    def _artifact(self, node: Node | None, item: str) -> Any:
        """Return the views as an import wrote them down, if their record can be read."""
        if node is None:
            return None
        if node.name not in self._artifacts:
            from staproj.engine.inputs import load_port

            port = next(iter(_gives(node)), "")
            try:
                found = load_port(self.view, self.view.heads[node.name], port)
            except StaprojError as error:
                found = {}
                if not cleared_paths(self.view.run(self.view.heads[node.name])):
                    self.records.note(node, error)
            self._artifacts[node.name] = found if isinstance(found, Mapping) else {}
        return self._artifacts[node.name].get(item)

    def _beads(self, item: str) -> int | None:
        for stage in ("fine_align", "fiducials"):
            found = self.records.part(self._found(stage, item), item).metric("n_beads")
            if found is not None:
                return int(found)
        return None

    def _particles(self, item: str) -> tuple[int | None, str | None]:
        """Return how many particles a tilt series has, and the step that says so."""
        for stage in PARTICLES:
            node = self._found(stage, item)
            if node is not None:
                count = _count(self.records.part(node, item), stage, item)
                if count is not None or node.name in self.records.damaged:
                    return count, node.name
        return None, None

    # ------------------------------------------------------------------------------------------ flags
    def _notes(self, item: str, beads: int | None) -> list[dict[str, Any]]:
        """Return what is to be said of a tilt series, in the order of the pipeline."""
        notes: list[dict[str, Any]] = []
        for node in self.view.graph.nodes.values():
            if node.step.variant is None:
                notes += self._of_head(node, item)
                notes += self._failed(node, item)
            if node.spec.name == "fine_align" and beads is not None and beads < FEW_BEADS:
                notes.append(self._note("few beads", node, f"{beads} beads"))
            if node.name in self.records.damaged:
                notes.append(self._note(f"damaged {node.name}", node, self.records.damaged[node.name]))
        return notes

    def _of_head(self, node: Node, item: str) -> Iterator[dict[str, Any]]:
        own = node.spec.scope == "item"
        if node.name not in self.view.heads or (own and item not in self.records.items(node)):
            return
        said = self.records.said(node, item if own else None)
        if own and said.warning:
            yield self._note(f"warning {node.name}", node, said.verdict)
        for text in said.fallbacks:
            if own or text.startswith(f"{item}:"):
                hand = node.spec.name == "ctf" and text.startswith(HAND_WORDS)
                yield self._note("hand undecided" if hand else f"fallback {node.name}", node, text)

    def _failed(self, node: Node, item: str) -> Iterator[dict[str, Any]]:
        """Say that a run which is newer than the head failed on a tilt series."""
        newest = self.view.newest.get(node.name)
        if newest is None or newest.id == self.view.heads.get(node.name):
            return
        if node.name not in self._ends:
            self._ends[node.name] = runs.state_of(self.view.layout.run(newest))
        end = self._ends[node.name]
        failed = end.event.get("items")
        if end.state == "failed" and isinstance(failed, Mapping) and item in failed:
            yield {**self._note(f"failed {node.name}", node, str(failed[item])), "run": newest.id}

    def _note(self, flag: str, node: Node, text: str) -> dict[str, Any]:
        return {"flag": flag, "step": node.name, "run": self.view.heads.get(node.name), "text": text}


def _gives(node: Node) -> list[str]:
    """Return the outputs of a step that hold tilt series."""
    kinds = (ArtifactKind.TILT_SERIES, ArtifactKind.MOVIES)
    return [name for name, port in node.spec.outputs.items() if port.kind in kinds]


def _count(part: Part, stage: str, item: str) -> int | None:
    if stage == "select":
        counts = zip(
            part.column("counts", "tilt_series_id"), part.column("counts", "n_selected"), strict=False
        )
        found = dict(counts).get(item)
        return None if found is None else int(found)
    if stage == "match":
        return len(part.column("particles", "particle_id")) or None
    found = part.metric("n_seeds")
    return None if found is None else int(found)


def _total(facts: Mapping[str, list[Any]]) -> float | None:
    """Return what the specimen had received when the last view was done."""
    pairs = zip(facts["pre_exposure_e_per_angstrom2"], facts["exposure_e_per_angstrom2"], strict=False)
    return max((a + b for a, b in pairs if a is not None and b is not None), default=None)


def _fill(rows: dict[int, dict[str, Any]], views: list[Any], columns: Mapping[str, list[Any]]) -> None:
    """Put columns into the rows of their views; views that nobody knew get a row."""
    for name, values in columns.items():
        for view, value in zip(views, values, strict=False):
            if isinstance(view, int) and view >= 0:
                rows.setdefault(view, {"view": view})[name] = value


def _column(series: Any, name: str) -> list[Any]:
    values = getattr(series, name, None)
    return [] if values is None else list(values.tolist())


def _numbers(value: Any) -> list[int] | None:
    if not isinstance(value, list) or not all(isinstance(one, int) for one in value):
        return None
    return sorted(set(value))
