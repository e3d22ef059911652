"""Views, gold, tomograms and spheres of small simulated tilt series with known truth."""

from __future__ import annotations

from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import scipy.fft

from staproj.errors import CancelledError, EmptyResultError, FormatError, InputError
from staproj.model.ctf import CtfModel
from staproj.model.fiducials import FiducialTracks, GoldModel
from staproj.model.tomogram import Slab, Tomograms
from staproj.stages.shared.views import exposure_weighted, load_views
from staproj.testing.stage_harness import RecordingContext, run_stage
from tests.tilt_images import ctf_image, make_geometry, projected_balls, write_series

TILTS = np.arange(-60, 61, 6.0)


def _ctf(n, defocus, hand=-1):
    return CtfModel(
        "TS_01", np.full(n, defocus / 1e4), np.full(n, defocus / 1e4), np.zeros(n), np.zeros(n), np.ones(n),
        np.full(n, 10.0), hand,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- views
@pytest.mark.parametrize(("shape", "binning"), [((121, 150), 2), ((128, 141), 3), ((130, 122), 1.7)])
def test_points_stay_on_their_features_when_views_are_reduced(tmp_path, shape, binning):
    """A bright ball lies where ``project`` says, for whole and broken binnings, odd and even images."""
    geometry = make_geometry(np.array([-40.0, 0.0, 25.0]), shape, 5.0)
    point = np.array([[60.0, -80.0, 40.0]])
    series = write_series(tmp_path, projected_balls(geometry, point, 22.0), geometry)
    views = load_views(series, geometry, binning=binning, normalise=False)
    expected = views.project(point)[:, 0]
    for image, (x, y) in zip(views.images, expected, strict=True):
        weight = np.clip(image - 0.1 * image.max(), 0, None)
        rows, columns = np.indices(image.shape)
        assert abs((weight * columns).sum() / weight.sum() - x) < 0.05
        assert abs((weight * rows).sum() / weight.sum() - y) < 0.05
    assert views.pixel_size_angstrom == pytest.approx(5.0 * np.sqrt(np.prod(views.binning_xy)))


def test_normalised_views_have_noise_of_one(tmp_path, rng):
    """Counts of any mean and gain become zero mean and white noise of SD 1, and both are remembered."""
    geometry = make_geometry(np.array([-10.0, 10.0]), (90, 101), 5.0)
    images = np.stack([500 + 20 * rng.standard_normal((90, 101)), 80 + 5 * rng.standard_normal((90, 101))])
    views = load_views(write_series(tmp_path, images, geometry), geometry)
    np.testing.assert_allclose(views.images.std(axis=(1, 2)), 1.0, atol=0.05)
    np.testing.assert_allclose(views.images.mean(axis=(1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(views.mean, [500, 80], rtol=0.01)
    np.testing.assert_allclose(views.noise_sd, [20, 5], rtol=0.05)


def test_only_used_views_are_loaded_and_gold_is_gone(tmp_path, rng):
    """Views excluded by series or alignment are left out; beads are erased where they project."""
    geometry = make_geometry(np.array([-30.0, 0.0, 30.0, 50.0]), (101, 110), 5.0)
    geometry = replace(geometry, view_used=np.array([True, True, True, False]))
    bead = np.array([[40.0, 30.0, 60.0]])
    images = 100 - 300 * projected_balls(geometry, bead, 18.0) + rng.standard_normal((4, 101, 110))
    series = write_series(tmp_path, images, geometry, view_used=np.array([False, True, True, True]))
    gold = GoldModel("TS_01", bead, np.ones(1), 110.0)
    views = load_views(series, geometry, gold=gold)
    np.testing.assert_array_equal(views.view_index, [1, 2])
    assert views.images.min() > -6.0
    assert load_views(series, geometry).images.min() < -30.0


def test_exposure_weights_are_the_published_curve(tmp_path, rng):
    """The spectrum of a view is multiplied by exp(-D / 2 Nc(k)), D = exposure before plus its own."""
    geometry = make_geometry(np.array([0.0, 3.0]), (64, 70), 4.0)
    series = write_series(tmp_path, rng.standard_normal((2, 64, 70)), geometry)
    views = load_views(series, geometry)
    weighted = exposure_weighted(views, voltage_kv=300.0)
    ratio = scipy.fft.rfft2(weighted[1]) / scipy.fft.rfft2(views.images[1])
    fy, fx = np.fft.fftfreq(64, 4.0)[:, None], np.fft.rfftfreq(70, 4.0)[None, :]
    k = np.hypot(fy, fx)
    k[0, 0] = 1e-9
    expected = np.exp(-0.5 * (3.0 + 3.0) / (0.245 * k**-1.665 + 2.81))
    np.testing.assert_allclose(ratio.real[1:20, 1:20], expected[1:20, 1:20], rtol=2e-3)


def test_wrong_inputs_are_explained(tmp_path, rng):
    """Other sizes, a damaged stack, missing halves and no view left give one clear error each."""
    geometry = make_geometry(np.array([0.0, 3.0]), (40, 44), 4.0)
    series = write_series(tmp_path, rng.standard_normal((2, 40, 44)), geometry)
    with pytest.raises(InputError, match="views"):
        load_views(series, make_geometry(np.array([0.0]), (40, 44), 4.0))
    with pytest.raises(InputError, match="images"):
        load_views(series, make_geometry(np.array([0.0, 3.0]), (44, 40), 4.0))
    with pytest.raises(InputError, match="odd"):
        load_views(series, geometry, stack="odd")
    with pytest.raises(EmptyResultError, match="excluded"):
        load_views(series, replace(geometry, view_used=np.zeros(2, dtype=bool)))
    damaged = rng.standard_normal((2, 40, 44))
    damaged[1, 3, 4] = np.nan
    with pytest.raises(FormatError):
        load_views(write_series(tmp_path, damaged, geometry), geometry)


# ------------------------------------------------------------------------------------------------- gold
@pytest.mark.parametrize("n_tracked", [0, 4])
def test_gold_is_found_whether_tracked_or_not(tmp_path, rng, n_tracked):
    """All nine beads are found within 10 Å, and nothing else (F1 = 1), with and without tracks."""
    geometry = make_geometry(TILTS, (150, 141), 12.0)
    x, y = np.meshgrid([-500.0, 0.0, 500.0], [-480.0, 20.0, 520.0])
    beads = np.column_stack([x.ravel(), y.ravel(), np.zeros(9)]) + rng.uniform(-90, 90, (9, 3))
    images = 50 - 12 * projected_balls(geometry, beads, 34.0) + rng.standard_normal((len(TILTS), 150, 141))
    series = write_series(tmp_path, images, geometry)
    inputs = {
        "tilt_series": series,
        "alignment": geometry,
        "slab": Slab("TS_01", 600.0, (1800.0, 1800.0, 900.0)),
    }
    if n_tracked:
        position = geometry.project(beads[:n_tracked]).transpose(1, 0, 2)
        inputs["fiducials"] = FiducialTracks(
            "TS_01", position, np.ones(position.shape[:2]), 100.0, 12.0, geometry.image_shape_yx
        )
    result = run_stage("gold", inputs, {}, tmp_path)
    found = result["gold"].position_xyz_angstrom
    distance = np.linalg.norm(found[:, None] - beads[None], axis=2)
    assert len(found) == 9
    assert distance.min(axis=0).max() < 10.0
    assert bool(result.ctx.fallbacks) == (n_tracked == 0)
    assert result.ctx.metrics["n_beads_not_tracked"] == 9 - n_tracked


def test_no_gold_is_no_error(tmp_path, rng):
    """A series without beads gives an empty model and a warning."""
    geometry = make_geometry(TILTS[::3], (90, 80), 12.0)
    series = write_series(tmp_path, rng.standard_normal((len(TILTS[::3]), 90, 80)), geometry)
    result = run_stage("gold", {"tilt_series": series, "alignment": geometry}, {}, tmp_path)
    assert result["gold"].position_xyz_angstrom.shape == (0, 3)
    assert result.ctx.warnings


# -------------------------------------------------------------------------------------------- tomograms
def _reconstruct(tmp_path, images, geometry, params, **inputs):
    series = write_series(tmp_path, images, geometry)
    slab = Slab("TS_01", 300.0, (420.0, 380.0, 340.0))
    everything = {"tilt_series": series, "alignment": geometry, "slab": slab, **inputs}
    result = run_stage("reconstruct", everything, params, tmp_path)
    with mrcfile.open(result["tomograms"].paths[0]) as handle:
        return result, np.array(handle.data)


def test_tomograms_have_the_size_contrast_and_place_they_promise(tmp_path, rng):
    """Two binnings of one series: sizes from the slab, mean 0, SD 1, and a dark ball where it was put."""
    geometry = make_geometry(TILTS, (101, 94), 5.0)
    ball = np.array([[60.0, -45.0, 50.0]])
    images = (
        100 - 3 * projected_balls(geometry, ball, 14.0) + 0.1 * rng.standard_normal((len(TILTS), 101, 94))
    )
    result, volume = _reconstruct(
        tmp_path, images, geometry, {"binning": (1, 2), "exposure_weighting": False, "ctf_correction": "none"}
    )
    tomograms = result["tomograms"]
    assert tomograms.binning == (1, 2)
    assert tomograms.voxel_size_angstrom == pytest.approx((5.0, 10.0))
    assert tomograms.contrast == "dark"
    assert volume.shape == (68, 76, 84)
    assert abs(volume.mean()) < 1e-3
    assert volume.std() == pytest.approx(1.0, abs=1e-3)
    for path, voxel in zip(tomograms.paths, tomograms.voxel_size_angstrom, strict=True):
        with mrcfile.open(path) as handle:
            data = np.array(handle.data)
        z, y, x = np.unravel_index(np.argmin(data), data.shape)
        place = (np.array([x, y, z]) - np.array(data.shape)[::-1] // 2) * voxel
        assert np.abs(place - ball[0]).max() <= voxel


@pytest.mark.parametrize("hand", [-1, 1])
def test_the_ctf_of_every_depth_is_corrected(tmp_path, hand):
    """Of a point far from the centre, only the right hand of the defocus gradient restores the density."""
    geometry = make_geometry(np.arange(-60, 61, 10.0), (120, 110), 3.0)
    point = np.array([[60.0, -30.0, 150.0]])
    n = geometry.n_views
    depth = geometry.depth(point)[:, 0]
    sharp = projected_balls(geometry, point, 3.0)
    defocus = 9000.0 + hand * 8 * depth  # a steep gradient stands for a large specimen
    views = np.stack(
        [
            -scipy.fft.ifft2(scipy.fft.fft2(image) * ctf_image(image.shape, 3.0, d, d, 0.0)).real
            for image, d in zip(sharp, defocus, strict=True)
        ]
    )
    peaks = {}
    for sign in (-1, 1):
        model = replace(_ctf(n, 9000.0, sign), defocus_hand=8 * sign)
        _, volume = _reconstruct(
            tmp_path, views, geometry,
            {"binning": (1,), "exposure_weighting": False, "ctf_correction": "multiply",
             "slab_thickness_nm": 2.5},
            ctf=model,
        )  # fmt: skip
        z, y, x = np.rint(point[0][::-1] / 3.0).astype(int) + np.array(volume.shape) // 2
        peaks[sign] = -volume[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].min()
    assert peaks[hand] > 1.5 * peaks[-hand]


def test_without_ctf_the_tomogram_says_so(tmp_path, rng):
    """Correction asked for without a CTF is a fallback on the record and in the artifact."""
    geometry = make_geometry(TILTS[::4], (60, 64), 5.0)
    result, _ = _reconstruct(
        tmp_path, rng.standard_normal((len(TILTS[::4]), 60, 64)), geometry, {"binning": (2,)}
    )
    assert result["tomograms"].ctf_correction == "none"
    assert result.ctx.fallbacks


def test_reconstruction_stops_when_asked(tmp_path, rng):
    """A person who cancels does not wait for the end."""
    geometry = make_geometry(TILTS[::4], (60, 64), 5.0)
    series = write_series(tmp_path, rng.standard_normal((len(TILTS[::4]), 60, 64)), geometry)
    inputs = {
        "tilt_series": series,
        "alignment": geometry,
        "slab": Slab("TS_01", 300.0, (300.0, 300.0, 300.0)),
    }
    ctx = RecordingContext(root=tmp_path / "run", item="TS_01", cancel_after=2)
    with pytest.raises(CancelledError):
        run_stage("reconstruct", inputs, {}, tmp_path, ctx=ctx)


# ---------------------------------------------------------------------------------------------- spheres
def _tomogram(tmp_path, volume, voxel):
    path = tmp_path / "tomogram.mrc"
    with mrcfile.new(path, overwrite=True) as handle:
        handle.set_data(volume.astype(np.float32))
        handle.voxel_size = voxel
    return Tomograms("TS_01", (path,), (voxel,), (4,), "dark", "none", False)


def test_vlps_are_found_in_a_dark_tomogram(tmp_path, rng):
    """Two dark shells of 300 and 420 Å: centres within 15 Å, radii within 8 Å, outlines in the picture."""
    shape, voxel = (74, 150, 131), 12.0
    z, y, x = np.meshgrid(*[(np.arange(n) - n // 2) * voxel for n in shape], indexing="ij")
    centres, radii = np.array([[-300.0, 350.0, 30.0], [250.0, -380.0, -60.0]]), [300.0, 420.0]
    volume = 2.0 * rng.standard_normal(shape)
    for (cx, cy, cz), radius in zip(centres, radii, strict=True):
        distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2)
        volume -= np.exp(-0.5 * ((distance - radius) / 18.0) ** 2)
    result = run_stage("geometry", {"tomograms": _tomogram(tmp_path, volume, voxel)}, {}, tmp_path)
    found = result["geometry"]
    assert len(found.radius_angstrom) == 2
    for centre, radius in zip(centres, radii, strict=True):
        i = int(np.argmin(np.linalg.norm(found.centre_xyz_angstrom - centre, axis=1)))
        assert np.linalg.norm(found.centre_xyz_angstrom[i] - centre) < 15.0
        assert abs(found.radius_angstrom[i] - radius) < 8.0
    assert result.ctx.previews["spheres_xy"].shape == shape[1:]
    assert "2 VLPs" in result.ctx.verdicts[0]


def test_an_empty_tomogram_has_no_vlp(tmp_path, rng):
    """Noise gives an empty list and a warning, not made-up spheres."""
    volume = rng.standard_normal((50, 100, 90))
    result = run_stage("geometry", {"tomograms": _tomogram(tmp_path, volume, 12.0)}, {}, tmp_path)
    assert len(result["geometry"].radius_angstrom) == 0
    assert result.ctx.warnings
