"""The bound of a project: its own averaging stage, fed with the true poses."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.model.maps import DensityMap
from staproj.model.particles import ParticleSet
from staproj.stages import registry
from staproj.testing.score import maps
from staproj.testing.score.frames import FrameFit
from staproj.testing.stage_harness import run_stage
from staproj.testing.truth import Truth

Float32 = NDArray[np.float32]


def true_particles(truth: Truth, frames: dict[str, FrameFit]) -> ParticleSet:
    """Return the true particles in the project's frames, in two half-sets."""
    parts = [frames[name].particles_to_project(truth.series[name].particles) for name in sorted(frames)]
    joined = ParticleSet.concatenate(parts, renumber=True)
    return joined.with_columns(half_set=1 + np.arange(len(joined)) % 2)


def oracle_average(
    particles: ParticleSet, inputs: dict[str, Any], params: dict[str, Any], threads: int
) -> tuple[Float32, float]:
    """Run the stage ``average`` on ``particles`` and return the map ``[z, y, x]`` and its voxel size.

    ``inputs`` are what the project's own average was given, besides the particles.
    """
    spec = registry.get("average")
    known = {name: value for name, value in inputs.items() if name in spec.inputs and name != "particles"}
    with tempfile.TemporaryDirectory() as scratch:
        result = run_stage(spec, {**known, "particles": particles}, params, Path(scratch), threads=threads)
        density: DensityMap = result["map"]
        return read_map(density)


def read_map(density: DensityMap) -> tuple[Float32, float]:
    """Read a map ``[z, y, x]`` and its voxel size."""
    return maps.read(density.path), density.voxel_size_angstrom
