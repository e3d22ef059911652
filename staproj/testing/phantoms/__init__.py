"""Simulate what a microscope session leaves, with the hidden truth beside it.

``simulate(directory, preset="demo")`` writes ``frames/`` (movies; the first series as MRC, the second as TIFF, and so on),
``mdoc/`` (one SerialEM file a series; the last one does not know its exposure), ``gain.mrc``,
``session.json`` (what an operator would have noted) and ``truth/``. Everything is drawn from one seed.

The simulator uses ``model`` and ``formats`` and nothing that it is meant to test: its own rotations, CTF,
exposure damage and drawing of Gaussian blobs stand in this package.
"""

from __future__ import annotations

from staproj.testing.phantoms.settings import PRESETS, SessionSettings, settings
from staproj.testing.phantoms.simulate import simulate

__all__ = ["PRESETS", "SessionSettings", "settings", "simulate"]
