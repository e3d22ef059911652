"""What particles are read from: the artifacts of every tilt series, as stages are handed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from staproj.errors import InputError
from staproj.model.ctf import CtfModel
from staproj.model.fiducials import GoldModel
from staproj.model.geometry import TiltGeometry
from staproj.model.particles import ParticleSet
from staproj.model.tilt_series import TiltSeries


@dataclass(frozen=True, eq=False)
class SeriesInputs:
    """Artifacts of one tilt series that particles are read from."""

    tilt_series: TiltSeries
    alignment: TiltGeometry
    ctf: CtfModel | None = None
    gold: GoldModel | None = None


def series_inputs(inputs: Mapping[str, Any], item: str | None = None) -> dict[str, SeriesInputs]:
    """Collect the ports ``tilt_series, alignment, ctf, gold`` of a stage, a series each.

    Raises
    ------
    InputError
        If a series has no alignment.
    """

    def port(name: str) -> dict[str, Any]:
        value = inputs.get(name)
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        return {str(item or value.tilt_series_id): value}

    parts = {name: port(name) for name in ("tilt_series", "alignment", "ctf", "gold")}
    found: dict[str, SeriesInputs] = {}
    for name, series in sorted(parts["tilt_series"].items()):
        if name not in parts["alignment"]:
            raise InputError(f"tilt series {name} has no alignment", where=name)
        found[name] = SeriesInputs(
            series,
            parts["alignment"][name],
            parts["ctf"].get(name),
            parts["gold"].get(name),
        )
    return found


def joined_particles(value: ParticleSet | dict[str, ParticleSet]) -> ParticleSet:
    """Return one table of particles, from a table or one a tilt series (ids are then counted anew)."""
    if isinstance(value, ParticleSet):
        return value
    return ParticleSet.concatenate([value[name] for name in sorted(value)], renumber=True)
