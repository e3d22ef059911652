"""Facts of the microscope: what files say, what settings say, whether it is plausible and agrees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.api.raw_headers import Findings, Header, few
from staproj.errors import StaprojError
from staproj.formats.mdoc import Mdoc
from staproj.project.manifest_edit import in_toml
from staproj.stages.shared.series import pixel_size

Float = NDArray[np.float64]
_PLAUSIBLE_KV = (80.0, 300.0)
_PLAUSIBLE_VIEW_E_PER_ANGSTROM2 = 20.0
_PLAUSIBLE_TOTAL_E_PER_ANGSTROM2 = 250.0
_TOLERANCE = {"voltage_kv": 0.5, "tilt_axis_deg": 1.0}
_RELATIVE = {"pixel_size_angstrom": 0.01, "exposure_e_per_angstrom2": 0.1}
_MOST_IN_A_HINT = 6


@dataclass(frozen=True)
class Given:
    """Values that will count whatever the files say: who says them, and the step that takes them."""

    values: Mapping[str, Any] = field(default_factory=dict)
    who: str = "the settings"
    step: str = "import_movies"

    def number(self, name: str) -> float | None:
        """Return one number, ``None`` where it was left to the files."""
        value = self.values.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def exposure(self, series: str) -> float | None:
        """Return the exposure of one tilt series."""
        value = self.values.get("exposure_e_per_angstrom2")
        value = value.get(series) if isinstance(value, Mapping) else value
        return None if value is None else float(value)

    def option(self, name: str, value: Any) -> str:
        """Return the option of ``staproj new`` (and ``rerun``) that sets a value."""
        return f'--set "{self.step}.{name}={in_toml(value)}"'

    def say(self, name: str, said: float, found: float, source: str, unit: str) -> str:
        """Say that settings and files do not agree."""
        return f"{name}: {said:g} {unit} by {self.who} (which counts), {found:.4g} by the {source}"


def exposures_of(mdoc: Mdoc) -> Float:
    """Return the exposure of each section, NaN where the mdoc says nothing or 0."""
    written = [section.exposure_e_per_angstrom2 for section in mdoc.sections]
    return np.array([math.nan if value is None else value for value in written])


def check_exposures(mdocs: Mapping[str, Mdoc], given: Given, findings: Findings) -> dict[str, float | None]:
    """Return the exposure of one view of each series as it will count, ``None`` where nobody knows."""
    found: dict[str, float | None] = {}
    unknown: dict[str, int] = {}
    other: dict[str, float] = {}
    for name, mdoc in mdocs.items():
        known, override = exposures_of(mdoc), given.exposure(name)
        lacking = int(np.count_nonzero(np.isnan(known)))
        median = float(np.nanmedian(known)) if lacking < len(known) else None
        found[name] = median if override is None else override
        if override is None and lacking:
            unknown[name] = lacking
            found[name] = None
        elif (
            override is not None
            and median is not None
            and _differ("exposure_e_per_angstrom2", override, median)
        ):
            other[name] = median
        _implausible_exposure(name, found[name], len(known), mdoc.path, findings)
    if unknown:
        first = next(iter(unknown))
        n = len(mdocs[first].sections)
        views = first if unknown[first] == n else f"{unknown[first]} of {n} views of {first}"
        text = views if len(unknown) == 1 else f"{len(unknown)} tilt series ({few(list(unknown))})"
        others = given.values.get("exposure_e_per_angstrom2")
        whole = dict(others) if isinstance(others, Mapping) else {}
        whole |= dict.fromkeys(list(unknown)[:_MOST_IN_A_HINT], 3.0)
        wanted = given.option("exposure_e_per_angstrom2", whole)
        findings.add(
            "error",
            f"the exposure of {text} is zero or not written",
            where=mdocs[first].path,
            hint=f"give the electrons/Å² that one view received, e.g. {wanted}",
        )
    if other:
        first = next(iter(other))
        said = given.exposure(first) or 0.0
        name = "exposure_e_per_angstrom2"
        text = given.say(name, said, other[first], f"mdoc of {few(list(other))}", "e/Å² a view")
        whole = {name: exposure for name, exposure in found.items() if exposure is not None} | other
        findings.add(
            "warning",
            text,
            where=mdocs[first].path,
            hint=f"if the files are right: {given.option(name, dict(list(whole.items())[:_MOST_IN_A_HINT]))}",
            sets={f"{given.step}.{name}": whole},
        )
    return found


def _implausible_exposure(
    name: str, exposure: float | None, n_views: int, where: Path, findings: Findings
) -> None:
    if exposure is None:
        return
    if exposure > _PLAUSIBLE_VIEW_E_PER_ANGSTROM2 or exposure * n_views > _PLAUSIBLE_TOTAL_E_PER_ANGSTROM2:
        findings.add(
            "warning",
            f"{name}: {exposure:.3g} e/Å² for each of {n_views} views is very much",
            where=where,
            hint="the exposure of one view is wanted, not that of the whole series",
        )


def check_pixels(
    headers: Sequence[Header],
    mdoc_of: Mapping[str, Mdoc],
    given: Given,
    findings: Findings,
) -> list[tuple[float, str, Path]]:
    """Return the pixel sizes of the files as the import will take them: (Å, from where, file)."""
    found: list[tuple[float, str, Path]] = []
    for header in headers:
        mdoc = mdoc_of.get(str(header.path))
        try:
            size = pixel_size(None, header.pixel_size_angstrom, mdoc, header.shape_yx, header.path)
        except StaprojError as error:
            if given.number("pixel_size_angstrom") is None:
                findings.refuse(error)
            continue
        source = "header" if abs(size - header.pixel_size_angstrom) < 1e-6 else "mdoc"
        found.append((size, source, header.path))
    sizes = [size for size, _, _ in found]
    if sizes and max(sizes) / min(sizes) > 1 + _RELATIVE["pixel_size_angstrom"]:
        low, high = sizes.index(min(sizes)), sizes.index(max(sizes))
        findings.add(
            "warning",
            f"the pixel sizes of the files go from {min(sizes):g} to {max(sizes):g} Å",
            where=f"{found[low][2]} and {found[high][2]}",
            hint="series of several magnifications do not belong into one project",
        )
    return found


def check_constants(mdocs: Mapping[str, Mdoc], given: Given, findings: Findings) -> None:
    """Check voltage and tilt axis: there, plausible, the same in all series."""
    volts = {name: mdoc.voltage_kv for name, mdoc in mdocs.items() if mdoc.voltage_kv is not None}
    axes = {name: mdoc.tilt_axis_deg for name, mdoc in mdocs.items() if mdoc.tilt_axis_deg is not None}
    low, high = _PLAUSIBLE_KV
    for name, value in volts.items():
        if not low <= value <= high:
            findings.add(
                "warning", f"{value:g} kV is no usual voltage", where=mdocs[name].path,
                hint=f"if it is wrong: {given.option('voltage_kv', 300.0)}",
            )  # fmt: skip
    chosen = given.number("voltage_kv")
    if chosen is not None and not low <= chosen <= high:
        findings.add("warning", f"{chosen:g} kV by {given.who} is no usual voltage", where="voltage_kv")
    if mdocs and not volts and chosen is None:
        findings.add("note", "the voltage is not written anywhere: 300 kV will be assumed")
    for what, values, unit in (("voltages", volts, "kV"), ("tilt axes", axes, "deg")):
        if len({round(float(value)) for value in values.values()}) > 1:
            told = ", ".join(f"{value:g}" for value in dict.fromkeys(values.values()))
            findings.add("warning", f"the mdoc files say several {what}: {told} {unit}")
    lacking = [name for name in mdocs if name not in axes]
    if lacking and given.number("tilt_axis_deg") is None:
        findings.add(
            "error",
            f"the direction of the tilt axis is not known for {few(lacking)}",
            where=mdocs[lacking[0]].path,
            hint=f"give it, counter-clockwise from +y: {given.option('tilt_axis_deg', 85.3)}",
        )


def check_given(given: Given, facts: Mapping[str, Mapping[str, Any]], findings: Findings) -> None:
    """Tell where the settings contradict what the files say."""
    for name, unit in (("voltage_kv", "kV"), ("pixel_size_angstrom", "Å"), ("tilt_axis_deg", "deg")):
        said, fact = given.number(name), facts.get(name)
        if said is None or fact is None or not _differ(name, said, fact["value"]):
            continue
        turned = name == "tilt_axis_deg" and abs(abs(said - fact["value"]) % 360.0 - 180.0) < 1.0
        findings.add(
            "warning",
            given.say(name, said, fact["value"], fact["from"], unit)
            + ("; half a turn inverts the hand" if turned else ""),
            where=fact["where"],
            hint=f"if the files are right: {given.option(name, fact['value'])}",
            sets={f"{given.step}.{name}": fact["value"]},
        )


def _differ(name: str, first: float, second: float) -> bool:
    if name == "tilt_axis_deg":
        return abs((first - second + 180.0) % 360.0 - 180.0) > _TOLERANCE[name]
    if name in _TOLERANCE:
        return abs(first - second) > _TOLERANCE[name]
    return abs(first / second - 1.0) > _RELATIVE[name]
