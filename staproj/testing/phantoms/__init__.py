"""Simulate what a microscope session leaves, with the hidden truth beside it.

``simulate(directory, preset="demo")`` writes ``frames/`` (movies; series in turn as MRC and as TIFF),
``mdoc/`` (one SerialEM file a series; the last one does not know its exposure), ``gain.mrc``,
``session.json`` (what an operator would have noted) and ``truth/``. Everything is drawn from one seed.

The simulator uses ``model`` and ``formats`` and nothing that it is meant to test: its own rotations, CTF,
exposure damage and drawing of Gaussian blobs stand in this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from staproj.testing.phantoms.settings import PRESETS, SessionSettings

if TYPE_CHECKING:
    from staproj.testing.phantoms.build import simulate

__all__ = ["PRESETS", "SessionSettings", "simulate"]


def __getattr__(name: str) -> Any:
    if name == "simulate":  # numba and scipy are loaded when something is simulated, not for help texts
        from staproj.testing.phantoms.build import simulate

        return simulate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
