"""Look at movies, stacks and their metadata as an import would, without importing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from staproj.api import raw_checks as checks
from staproj.api import raw_constants as constants
from staproj.api.raw_constants import Given
from staproj.api.raw_headers import (
    Findings,
    Header,
    few,
    read_all_angles,
    read_header,
    read_headers,
    read_mdocs,
)
from staproj.errors import StaprojError
from staproj.formats.mdoc import series_id

Files = Mapping[str, int]


@dataclass
class Inspection:
    """What was found: ``facts`` (``{name: {"value", "from", "where"}}``) and one entry a series."""

    files: Mapping[str, Files]
    given: Given
    findings: Findings

    def __post_init__(self) -> None:
        self.facts: dict[str, dict[str, Any]] = {}
        self.series: list[dict[str, Any]] = []
        self.mdocs = read_mdocs(self.files.get("mdoc", {}), self.findings)

    def look(self) -> None:
        """Read and check everything."""
        stacks = self.files.get("stacks")
        headers = self._stacks(stacks) if stacks else self._movies()
        self._constants()
        self._images(headers)
        comparable = dict(self.facts)
        if not headers and "binning" in self.facts:  # the pixel size of binned images says nothing of movies
            comparable.pop("pixel_size_angstrom", None)
        constants.check_given(self.given, comparable, self.findings)

    # ------------------------------------------------------------------------------------------ movies
    def _movies(self) -> list[Header]:
        files = {p: n for p, n in self.files.get("movies", {}).items() if not p.lower().endswith(".mdoc")}
        matched: dict[str, list[str]] = {}
        missing: dict[str, list[str]] = {}
        if files and self.mdocs:
            matched, missing = checks.check_movies(self.mdocs, files, self.findings)
        self.mdoc_of = {path: self.mdocs[name] for name, paths in matched.items() for path in paths}
        headers = read_headers(files, list(matched.values()), self.findings)
        checks.check_frames(headers, self.mdoc_of, self.findings)
        exposures = constants.check_exposures(self.mdocs, self.given, self.findings)
        self._exposure_fact(exposures)
        for name, mdoc in self.mdocs.items():
            tilts = [section.tilt_deg or 0.0 for section in mdoc.sections]
            places = [f"[ZValue = {section.number}]" for section in mdoc.sections]
            checks.check_tilts(name, tilts, places, mdoc.path, self.findings)
            scheme = checks.check_order(name, mdoc, self.findings)
            self._add_series(name, tilts, exposures[name], mdoc.path, scheme, missing.get(name, []))
        if headers:
            counts = sorted({header.n_frames for header in headers})
            self._fact("n_frames", counts[0] if len(counts) == 1 else counts, "header", headers[0].path)
        self._gain(headers)
        return headers

    def _gain(self, movies: Sequence[Header]) -> None:
        paths = list(self.files.get("gain", {}))
        if len(paths) > 1:
            self.findings.add(
                "error",
                f"{len(paths)} files match the gain reference",
                where=few(paths),
                hint="name one file",
            )
        elif paths:
            try:
                gain = read_header(Path(paths[0]))
            except (StaprojError, OSError, ValueError) as error:
                told = error if isinstance(error, StaprojError) else StaprojError(str(error), where=paths[0])
                self.findings.refuse(told)
                return
            self._fact("gain_shape_yx", list(gain.shape_yx), "header", gain.path)
            checks.check_gain(gain, movies, self.findings)
        elif movies and all(header.data_type.lstrip("<>|=") in ("uint8", "u1") for header in movies):
            self.findings.add("note", "the frames hold counts (bytes) and no gain reference is given")

    # ------------------------------------------------------------------------------------------ stacks
    def _stacks(self, files: Files) -> list[Header]:
        by_name: dict[str, str] = {}
        for path in files:
            name = series_id(Path(path))
            if name in by_name:
                self.findings.add(
                    "error",
                    f"two files stand for tilt series {name}",
                    where=f"{by_name[name]} and {path}",
                    hint="narrow the pattern of the stacks so that each series has one file",
                )
                continue
            by_name[name] = path
        angles = read_all_angles(self.files.get("angles", {}), self.findings)
        headers = read_headers(files, [[path] for path in by_name.values()], self.findings, stack=True)
        used = {name: mdoc for name, mdoc in self.mdocs.items() if name in by_name}
        self._tell_unused(by_name, angles)
        self.mdocs = used
        self.mdoc_of = {by_name[name]: mdoc for name, mdoc in used.items()}
        exposures = constants.check_exposures(used, self.given, self.findings)
        counts = {str(header.path): header.n_frames for header in headers}
        for name, path in by_name.items():
            exposure = exposures.get(name, self.given.exposure(name))
            self._one_stack(name, path, counts.get(path), angles.get(name), exposure)
        self._without_metadata(list(by_name))
        self._exposure_fact({one["item"]: one["exposure"] for one in self.series})
        return headers

    def _one_stack(
        self,
        name: str,
        path: str,
        n_views: int | None,
        angles: tuple[Path, list[float]] | None,
        exposure: float | None,
    ) -> None:
        mdoc = self.mdocs.get(name)
        where: Any = path
        tilts: list[float] = []
        scheme = ""
        if mdoc is not None:
            where = mdoc.path
            tilts = [section.tilt_deg or 0.0 for section in mdoc.sections]
            scheme = checks.check_order(name, mdoc, self.findings)
        if angles is not None:
            where, tilts = angles
            steps = np.diff(tilts)
            if not (np.all(steps > 0) or np.all(steps < 0)):
                self.findings.add("note", f"{name}: angles do not rise from view to view", where=where)
        if not tilts:
            self.findings.add(
                "error",
                "there is neither an angle file nor an mdoc for a tilt series",
                where=path,
                hint=f"name files {name}.rawtlt or {name}.mdoc as angles or mdoc",
            )
        elif n_views is not None and n_views != len(tilts):
            what = "angles" if angles is not None else "sections"
            self.findings.add(
                "error",
                f"there are {len(tilts)} {what} for a stack of {n_views} views",
                where=f"{where} and {path}",
                hint="give one line a view of this stack; remove those of views that were taken out",
            )
        if tilts:
            places = [f"view {number}" for number in range(len(tilts))]
            checks.check_tilts(name, tilts, places, where, self.findings)
        self._add_series(name, tilts, exposure, where, scheme, [], n_views)

    def _without_metadata(self, names: Sequence[str]) -> None:
        """Tell what is lacking where stacks come without mdoc files: axis, exposure, order of recording."""
        bare = [name for name in names if name not in self.mdocs]
        if not bare:
            return
        if self.given.number("tilt_axis_deg") is None:
            self.findings.add(
                "error",
                f"the direction of the tilt axis is not known for {few(bare)} (no mdoc)",
                hint=f"give it, counter-clockwise from +y: {self.given.option('tilt_axis_deg', 85.3)}",
            )
        lacking = [name for name in bare if self.given.exposure(name) is None]
        if lacking:
            self.findings.add(
                "error",
                f"the exposure is not known for {few(lacking)} (no mdoc)",
                hint="give the electrons/Å² that one view received: "
                + self.given.option("exposure_e_per_angstrom2", 3.0),
            )
        self.findings.add(
            "note",
            f"the order of recording is not known for {few(bare)} (no mdoc): a dose-symmetric scheme is "
            "assumed unless import_stack.order says otherwise",
        )

    def _tell_unused(self, stacks: Mapping[str, str], angles: Mapping[str, Any]) -> None:
        for what, names in (("mdoc", self.mdocs), ("angle", angles)):
            unused = [name for name in names if name not in stacks]
            if unused:
                text = f"{len(unused)} of {len(names)} {what} files belong to no stack: {few(unused)}"
                self.findings.add("note", text, hint="they are named like the stacks")

    # ------------------------------------------------------------------------------------------- facts
    def _constants(self) -> None:
        constants.check_constants(self.mdocs, self.given, self.findings)
        for name, attribute in (
            ("voltage_kv", "voltage_kv"),
            ("tilt_axis_deg", "tilt_axis_deg"),
            ("binning", "binning"),
        ):
            for mdoc in self.mdocs.values():
                if getattr(mdoc, attribute) is not None:
                    self._fact(name, getattr(mdoc, attribute), "mdoc", mdoc.path)
                    break
        defocus = [s.nominal_defocus_um for mdoc in self.mdocs.values() for s in mdoc.sections]
        known = sorted(value for value in defocus if math.isfinite(value))
        if known:
            where = next(iter(self.mdocs.values())).path
            self._fact("nominal_defocus_um", [known[0], known[-1]], "mdoc", where)

    def _images(self, headers: Sequence[Header]) -> None:
        """Take size, type and pixel size of the images: of headers, else what the mdoc says of its own."""
        checks.check_shapes(headers, self.findings)
        sizes = constants.check_pixels(headers, self.mdoc_of, self.given, self.findings)
        if headers:
            self._fact("image_shape_yx", list(headers[0].shape_yx), "header", headers[0].path)
            self._fact("data_type", headers[0].data_type, "header", headers[0].path)
        if sizes:
            self._fact("pixel_size_angstrom", *sizes[0])
        for mdoc in self.mdocs.values():
            if mdoc.image_size_xy and "image_shape_yx" not in self.facts:
                self._fact("image_shape_yx", list(mdoc.image_size_xy[::-1]), "mdoc", mdoc.path)
            if mdoc.pixel_size_angstrom and "pixel_size_angstrom" not in self.facts:
                self._fact("pixel_size_angstrom", mdoc.pixel_size_angstrom, "mdoc", mdoc.path)

    def _exposure_fact(self, exposures: Mapping[str, float | None]) -> None:
        known = {name: value for name, value in exposures.items() if value is not None}
        if not known:
            return
        first = next(iter(known))
        own = self.given.exposure(first) is not None
        source = self.given.who if own else "mdoc"
        where = "" if own or first not in self.mdocs else self.mdocs[first].path
        values = {round(value, 4) for value in known.values()}
        value: Any = known[first] if len(values) == 1 and len(known) == len(exposures) else known
        self._fact("exposure_e_per_angstrom2", value, source, where)

    def _fact(self, name: str, value: Any, source: str, where: Any) -> None:
        self.facts[name] = {"value": value, "from": source, "where": self.findings.named(where)}

    def _add_series(
        self,
        name: str,
        tilts: Sequence[float],
        exposure: float | None,
        where: Any,
        scheme: str,
        missing: Sequence[str],
        n_views: int | None = None,
    ) -> None:
        entry = {
            "item": name,
            "views": len(tilts) or n_views,
            "tilt_min_deg": min(tilts) if tilts else None,
            "tilt_max_deg": max(tilts) if tilts else None,
            "exposure": exposure,
            "scheme": scheme,
            "missing_movies": list(missing),
            "where": self.findings.named(where),
        }
        self.series.append(entry)


def series_names(files: Files) -> set[str]:
    """Return the tilt series that files are named after."""
    return {series_id(Path(path)) for path in files}
