"""Kinds of artifact: what flows along the edges of a pipeline.

Each kind names the model class that holds it (as ``module:class``, resolved only when loaded, so that
this module needs no numpy).
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

OutputClass = Literal["final", "intermediate", "scratch"]
"""What clean-up may do with a file: keep it, delete it if it can be made again, delete it."""


class ArtifactKind(Enum):
    """Kind of a typed output; ``value`` is the word used in manifests, records and messages."""

    MOVIES = "movies"
    TILT_SERIES = "tilt_series"
    ALIGNMENT = "alignment"
    FIDUCIALS = "fiducials"
    SLAB = "slab"
    CTF = "ctf"
    GOLD = "gold"
    TOMOGRAMS = "tomograms"
    GEOMETRY = "geometry"
    PARTICLES = "particles"
    MAP = "map"
    HALF_MAPS = "half_maps"
    MASK = "mask"
    FSC = "fsc"

    @property
    def model(self) -> str:
        """Model class of this kind, as ``module:class``."""
        return _MODEL[self]

    @property
    def output_class(self) -> OutputClass:
        """What clean-up may do with outputs of this kind, where their port does not say otherwise."""
        return "intermediate" if self in _INTERMEDIATE else "final"


_MODEL = {
    ArtifactKind.MOVIES: "staproj.model.tilt_series:MovieSeries",
    ArtifactKind.TILT_SERIES: "staproj.model.tilt_series:TiltSeries",
    ArtifactKind.ALIGNMENT: "staproj.model.geometry:TiltGeometry",
    ArtifactKind.FIDUCIALS: "staproj.model.fiducials:FiducialTracks",
    ArtifactKind.SLAB: "staproj.model.tomogram:Slab",
    ArtifactKind.CTF: "staproj.model.ctf:CtfModel",
    ArtifactKind.GOLD: "staproj.model.fiducials:GoldModel",
    ArtifactKind.TOMOGRAMS: "staproj.model.tomogram:Tomograms",
    ArtifactKind.GEOMETRY: "staproj.model.surfaces:Spheres",
    ArtifactKind.PARTICLES: "staproj.model.particles:ParticleSet",
    ArtifactKind.MAP: "staproj.model.maps:DensityMap",
    ArtifactKind.HALF_MAPS: "staproj.model.maps:HalfMaps",
    ArtifactKind.MASK: "staproj.model.maps:Mask",
    ArtifactKind.FSC: "staproj.model.maps:FscCurve",
}

# Bulky, and made again from what they came from: frames, tilt series and volumes.
_INTERMEDIATE = frozenset({ArtifactKind.MOVIES, ArtifactKind.TILT_SERIES, ArtifactKind.TOMOGRAMS})
