"""The stage ``ctf`` on views of known defocus, astigmatism and hand, on noise, and on a real micrograph."""

from __future__ import annotations

from dataclasses import replace

import mrcfile
import numpy as np
import pytest

from staproj.errors import EmptyResultError, InputError
from staproj.model.geometry import TiltGeometry
from staproj.testing.stage_harness import run_stage
from tests.tilt_images import make_geometry, thon_views, write_series

SHAPE = (331, 300)
PX = 4.0


@pytest.mark.parametrize("hand", [-1, 1])
def test_defocus_astigmatism_and_hand_of_tilted_views(tmp_path, hand):
    """Seven views to 54 degrees: every defocus within 2 %, the hand as made, astigmatism within 0.02 µm."""
    geometry = make_geometry(np.arange(-54, 55, 18.0), SHAPE, PX)
    defocus = np.array([26000.0, 27500.0, 26800.0, 27000.0, 26500.0, 27900.0, 26200.0])
    views = thon_views(geometry, defocus, hand, astigmatism=900.0, angle_deg=-30.0, signal=0.8, seed=hand + 5)
    result = run_stage(
        "ctf", {"tilt_series": write_series(tmp_path, views, geometry), "alignment": geometry}, {}, tmp_path
    )
    ctf = result["ctf"]
    assert ctf.defocus_hand == hand
    np.testing.assert_allclose(ctf.mean_defocus_angstrom, defocus, rtol=0.02)
    vector = (ctf.defocus_u_um - ctf.defocus_v_um) * np.exp(2j * np.deg2rad(ctf.astigmatism_deg))
    assert np.median(np.abs(vector - 0.09 * np.exp(-2j * np.deg2rad(30.0)))) < 0.02
    assert np.all(ctf.defocus_u_um >= ctf.defocus_v_um)
    assert np.median(ctf.fit_score) > 0.8
    assert result.ctx.metrics["hand_difference"] > 20
    assert not result.ctx.warnings
    assert "hand" in result.ctx.verdicts[0]


def test_a_weak_view_follows_its_neighbours(tmp_path):
    """A view without rings among good ones gets their defocus, and the record says so."""
    geometry = make_geometry(np.arange(-30, 31, 10.0), SHAPE, PX)
    views = thon_views(geometry, np.full(7, 30000.0), -1, astigmatism=0.0, angle_deg=0.0, signal=0.8, seed=1)
    views[2] = np.random.default_rng(0).standard_normal(SHAPE)
    result = run_stage(
        "ctf", {"tilt_series": write_series(tmp_path, views, geometry), "alignment": geometry}, {}, tmp_path
    )
    np.testing.assert_allclose(result["ctf"].mean_defocus_angstrom, 30000.0, rtol=0.12)
    np.testing.assert_allclose(np.delete(result["ctf"].mean_defocus_angstrom, 2), 30000.0, rtol=0.02)
    assert result.ctx.tables["views"]["from_neighbours"][2]
    assert any("neighbours" in text for text in result.ctx.fallbacks)


def test_an_unused_view_is_interpolated(tmp_path):
    """Views nobody uses still have an entry, between their neighbours' values."""
    geometry = make_geometry(np.array([-10.0, 0.0, 10.0]), SHAPE, PX)
    geometry = replace(geometry, view_used=np.array([True, False, True]))
    views = thon_views(
        geometry, np.array([28000.0, 0.0, 30000.0]), -1, astigmatism=0.0, angle_deg=0.0, signal=0.8, seed=2
    )
    result = run_stage(
        "ctf", {"tilt_series": write_series(tmp_path, views, geometry), "alignment": geometry}, {}, tmp_path
    )
    ctf = result["ctf"]
    assert ctf.n_views == 3
    assert ctf.mean_defocus_angstrom[1] == pytest.approx(
        0.5 * (ctf.mean_defocus_angstrom[0] + ctf.mean_defocus_angstrom[2])
    )
    assert ctf.fit_score[1] == 0


def test_noise_is_not_given_a_defocus(tmp_path):
    """Without rings the nominal defocus is used, and said so; without one the stage stops with a remedy."""
    geometry = make_geometry(np.arange(-20, 21, 10.0), SHAPE, PX)
    views = np.random.default_rng(1).standard_normal((5, *SHAPE))
    series = write_series(tmp_path, views, geometry)
    with pytest.raises(EmptyResultError, match="no Thon rings") as caught:
        run_stage("ctf", {"tilt_series": series, "alignment": geometry}, {}, tmp_path / "a")
    assert "nominal_defocus_um" in caught.value.hint
    result = run_stage(
        "ctf", {"tilt_series": series, "alignment": geometry}, {"nominal_defocus_um": 3.3}, tmp_path / "b"
    )
    np.testing.assert_allclose(result["ctf"].mean_defocus_angstrom, 33000.0)
    assert result.ctx.warnings
    assert any("nominal" in text for text in result.ctx.fallbacks)


def test_a_range_beyond_nyquist_is_refused(tmp_path):
    """Asking for rings finer than two pixels is an error that names the parameter."""
    geometry = make_geometry(np.array([0.0]), SHAPE, PX)
    series = write_series(tmp_path, np.zeros((1, *SHAPE)), geometry)
    with pytest.raises(InputError, match="Nyquist") as caught:
        run_stage("ctf", {"tilt_series": series, "alignment": geometry}, {"fit_high_angstrom": 6.0}, tmp_path)
    assert "fit_high_angstrom" in caught.value.hint


def test_a_real_micrograph(tmp_path, shared_data):
    """A K2 micrograph whose defocus two other programs put at 1.05 and 1.055 µm: within 3 %."""
    path = shared_data / "images" / "fei_micrograph_crop2048.mrc"
    with mrcfile.open(path, permissive=True) as handle:
        image = np.array(handle.data, dtype=np.float32).reshape(1, 2048, 2048)
    geometry = TiltGeometry.nominal(
        "M", np.zeros(1), 0.0, pixel_size_angstrom=0.85378, image_shape_yx=(2048, 2048)
    )
    series = write_series(tmp_path, image, geometry)
    ctf = run_stage("ctf", {"tilt_series": series, "alignment": geometry}, {}, tmp_path)["ctf"]
    assert ctf.mean_defocus_angstrom[0] == pytest.approx(10525.0, rel=0.03)
