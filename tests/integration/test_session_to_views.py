"""From a simulated microscope session to clean views, against the session's hidden truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from staproj.errors import InputError
from staproj.formats.mrc import read_mrc
from staproj.testing.phantoms import simulate
from staproj.testing.stage_harness import run_stage


def test_session_to_views(tmp_path: Path) -> None:
    """Two series (MRC and TIFF, one mdoc without exposure): order, drift and views are those of the truth.

    Perfectly corrected frames, added at their true places, are the standard; what differs is noise that a
    drift error of a few hundredths of a pixel leaves, and the pixels that hot spots and X-rays took.
    """
    session, ideal = tmp_path / "session", tmp_path / "ideal"
    truth = simulate(session, "tiny", seed=7, threads=1, ideal_stacks=ideal, n_views=5)
    given = {
        "movies": [str(session / "frames" / "*.mrc"), str(session / "frames" / "*.tif")],
        "mdoc": str(session / "mdoc" / "*.mdoc"),
        "gain": str(session / "gain.mrc"),
    }
    with pytest.raises(InputError, match="exposure of 5 of 5 views is zero"):
        run_stage("import_movies", {}, given, tmp_path)
    given["exposure_e_per_angstrom2"] = 6.0
    imported = run_stage("import_movies", {}, given, tmp_path)["movies"]
    assert sorted(imported) == sorted(truth.series)
    for name, movies in imported.items():
        moved = run_stage("motion", {"movies": movies}, {}, tmp_path / name)
        table = moved.ctx.tables["drift"]
        drift = np.stack([table["drift_x_px"], table["drift_y_px"]], axis=1)
        true = truth.series[name].drift
        assert true is not None
        off = drift.reshape(true.drift_xy_px.shape) - true.drift_xy_px
        assert np.sqrt((off**2).mean()) < 0.1
        cleaned = run_stage("clean", {"tilt_series": moved["tilt_series"]}, {}, tmp_path / name)
        views, _ = read_mrc(cleaned["tilt_series"].stack_path)
        standard, _ = read_mrc(next((ideal / name).glob("*.mrc")))
        difference = (views - standard)[:, 8:-8, 8:-8]
        assert np.sqrt((difference**2).mean()) < 0.1 * standard.std(axis=(1, 2)).mean()
        # No hot pixel and no X-ray is left: they stood tens of SD out.
        assert np.abs(difference).max() < 8 * standard.std(axis=(1, 2)).mean()
        assert cleaned["tilt_series"].view_used.all()
