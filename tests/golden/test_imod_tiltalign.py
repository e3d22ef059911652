"""Bundle adjustment and transforms against IMOD's own logs and files (tiltalign, newstack, xfproduct)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from staproj.formats.angles import read_angles
from staproj.formats.imod import (
    compose_xf,
    geometry_from_xf,
    invert_xf,
    read_xf,
    write_xf,
    xf_from_geometry,
)
from staproj.kernels.align_fine import Variables, Views, centre_tilts, solve, solve_robust

Float = NDArray[np.float64]

TRACKS_ROUNDING_PX = 0.006  # .xyz, .xf and .resid are printed with two or three decimals
IMAGE_SHAPE = (480, 512)


@pytest.fixture(scope="module")
def case(shared_data: Path) -> Path:
    """Folder of the synthetic tiltalign case."""
    return shared_data / "golden" / "04_imod_tiltalign"


def read_tracks(case: Path, name: str) -> tuple[Float, Float]:
    """Tracks ``[bead, view, 2]`` in px from IMOD's centre n/2 (model coordinates) and their weights."""
    table = np.loadtxt(case / f"{name}.txt")
    bead = np.unique(table[:, 1], return_inverse=True)[1]
    tracks = np.zeros((bead.max() + 1, 31, 2))
    weight = np.zeros((bead.max() + 1, 31))
    tracks[bead, table[:, 4].astype(int)] = table[:, 2:4] - np.array([256.0, 240.0])
    weight[bead, table[:, 4].astype(int)] = 1.0
    return tracks, weight


def start_views(case: Path) -> Views:
    """Nominal tilts, and the axis that the com files start from."""
    tilt = np.deg2rad(np.loadtxt(case / "raw.tlt"))
    n = len(tilt)
    return Views(np.full(n, np.deg2rad(85.0)), tilt, np.zeros(n), np.zeros((n, 2)))


def log_residual(path: Path) -> tuple[float, float]:
    """Mean and SD of the residual as a tiltalign log prints them (the last ones)."""
    found = re.findall(r"[Rr]esidual error mean and sd:\s+([\d.]+)\s+([\d.]+)", path.read_text())
    return float(found[-1][0]), float(found[-1][1])


@pytest.mark.parametrize(
    ("tracks_name", "variables", "log"),
    [
        ("exact", Variables(31, 0, 31), "e.log"),
        ("fixed", Variables(31, 0, 31), "s1.log"),
        ("fixed", Variables(1, 0, 0), "s5.log"),
    ],
)
def test_residuals_equal_those_of_tiltalign(
    case: Path, tracks_name: str, variables: Variables, log: str
) -> None:
    """With the same variables the least residual is a fact of the data: ours is the one IMOD reports."""
    tracks, weight = read_tracks(case, tracks_name)
    found = solve(tracks, weight, start_views(case), variables)
    length = np.linalg.norm(found.residual, axis=-1)[weight > 0]
    mean, spread = log_residual(case / log)
    assert found.converged
    assert length.mean() == pytest.approx(mean, abs=0.0015)
    assert length.std() == pytest.approx(spread, abs=0.0015)


def test_solution_equals_that_of_tiltalign(case: Path) -> None:
    """Axis and magnification of every view agree with the matrices in s1.xf."""
    tracks, weight = read_tracks(case, "fixed")
    found = solve(tracks, weight, start_views(case), Variables(31, 0, 31))
    geometry = geometry_from_xf(
        "s1", read_xf(case / "s1.xf"), read_angles(case / "s1.tlt"),
        pixel_size_angstrom=1.0, image_shape_yx=IMAGE_SHAPE,
    )  # fmt: skip
    ratio = np.exp(found.views.log_mag) / geometry.magnification
    # IMOD's variable metric search stops a little short of the minimum; both move far less than the noise
    assert np.abs(np.rad2deg(found.views.axis) - geometry.tilt_axis_deg).max() < 0.01
    assert np.abs(ratio / ratio.mean() - 1.0).max() < 2e-4


def test_grouped_tilts_are_as_good_as_those_of_tiltalign(case: Path) -> None:
    """Wrong nominal tilts are found again; the residual is that of s2 (groups of five, IMOD: .357 px)."""
    truth = json.loads((case / "truth.json").read_text())
    tracks, weight = read_tracks(case, "tilterr")
    start = start_views(case)
    found = solve(tracks, weight, start, Variables(7, 7, 8))
    error = np.rad2deg(centre_tilts(found.views, start.tilt)[0].tilt - start.tilt)
    wanted = np.array(truth["tilt_error_geometry2"])
    assert np.linalg.norm(found.residual, axis=-1)[weight > 0].mean() < 0.36
    assert np.abs(error - (wanted - wanted.mean())).mean() < 0.08


def test_robust_weights_beat_those_of_tiltalign(case: Path) -> None:
    """4 % outliers of up to 8 px: IMOD's robust fit has a mean tilt error of .10 deg, its plain one .50."""
    truth = json.loads((case / "truth.json").read_text())
    # (bead from 1, view from 0)
    outliers = {(bead - 1, view) for bead, view in json.loads((case / "outliers.json").read_text())}
    tracks, weight = read_tracks(case, "outlier")
    start = start_views(case)
    wanted = np.array(truth["tilt_error_geometry2"])
    wanted = wanted - wanted.mean()
    found, used = solve_robust(tracks, weight, start, Variables(7, 7, 8))
    error = np.rad2deg(centre_tilts(found.views, start.tilt)[0].tilt - start.tilt) - wanted
    assert np.abs(error).mean() < 0.10
    rejected = {(int(b), int(v)) for b, v in zip(*np.nonzero((used < 0.05) & (weight > 0)), strict=True)}
    assert len(rejected & outliers) >= 0.8 * len(outliers)  # the rest is smaller than three times the noise
    assert len(rejected - outliers) < 0.025 * weight.sum()


@pytest.mark.parametrize("name", ["s1", "s3", "s5", "e"])
def test_transforms_project_imods_beads_where_it_says(case: Path, name: str) -> None:
    """.xf, .tlt and .xyz through our geometry give measured + residual of the .resid file."""
    geometry = geometry_from_xf(
        name, read_xf(case / f"{name}.xf"), read_angles(case / f"{name}.tlt"),
        pixel_size_angstrom=2.5, image_shape_yx=IMAGE_SHAPE,
    )  # fmt: skip
    text = [line.split() for line in (case / f"{name}.xyz").read_text().splitlines()]
    beads = np.array([[float(word) for word in words[1:4]] for words in text if words])
    points = (beads - np.array([256.0, 240.0, 0.0])) * 2.5
    table = np.loadtxt(case / f"{name}.resid", skiprows=1)
    wanted = table[:, :2] + table[:, 3:5] - 0.5  # model coordinates: a pixel's centre is at index + .5
    places = geometry.project(points)
    view = table[:, 2].astype(int)
    bead = np.cumsum(np.r_[0, np.diff(view) < 0])
    distance = np.linalg.norm(places[view, bead] - wanted, axis=1)
    assert np.sqrt(np.mean(distance**2)) < 2 * TRACKS_ROUNDING_PX


@pytest.mark.parametrize(("name", "mean"), [("BBa", 0.3129), ("BBb", 0.3014)])
def test_real_tracks_fit_as_well_as_imod_fits_them(shared_data: Path, name: str, mean: float) -> None:
    """The tracks of IMOD's tutorial series: a similar number of variables reaches IMOD's mean residual."""
    folder = shared_data / "imod" / "IMOD_etomo_uitestData" / "BB"
    if not folder.is_dir():
        pytest.skip("no tracks of the BB series")
    table = np.loadtxt(folder / f"{name}.resid", skiprows=1)
    view = table[:, 2].astype(int)
    bead = np.cumsum(np.r_[0, np.diff(view) < 0])
    tilt = np.loadtxt(folder / f"{name}.tlt")
    tracks, weight = np.zeros((bead.max() + 1, len(tilt), 2)), np.zeros((bead.max() + 1, len(tilt)))
    tracks[bead, view] = table[:, :2] - 256.0
    weight[bead, view] = 1.0
    n = len(tilt)
    axis = geometry_from_xf(
        name, read_xf(folder / f"{name}.xf"), tilt, pixel_size_angstrom=20.2, image_shape_yx=(512, 512)
    ).tilt_axis_deg
    start = Views(np.full(n, np.deg2rad(axis.mean())), np.deg2rad(tilt), np.zeros(n), np.zeros((n, 2)))
    # IMOD had groups of five for rotation, tilt and skew, of four for magnification, and stretch besides
    found = solve(tracks, weight, start, Variables(13, 13, 16))
    residual = np.linalg.norm(found.residual, axis=-1)[weight > 0].mean()
    assert np.linalg.norm(table[:, 3:5], axis=1).mean() == pytest.approx(mean, abs=1e-4)
    assert residual < 1.08 * mean  # we have neither stretch nor skew, which is worth 5 % here


def test_products_and_inverses_equal_imods(shared_data: Path) -> None:
    """What xfproduct and xfinverse wrote, to their printed digits."""
    folder = shared_data / "golden" / "02_imod_newstack"
    first, second = read_xf(folder / "raw.xf"), read_xf(folder / "second.xf")
    for ours, name in ((compose_xf(first, second), "product.xf"), (invert_xf(first), "inverse.xf")):
        matrices, shifts = read_xf(folder / name)
        np.testing.assert_allclose(ours[0], matrices, atol=2e-6)
        np.testing.assert_allclose(ours[1], shifts, atol=2e-3)


def test_transforms_move_images_as_newstack_does(shared_data: Path) -> None:
    """Pixels of newstack's linear output are the raw image at the inverse transform about (n - 1) / 2."""
    folder = shared_data / "golden" / "02_imod_newstack"
    with mrcfile.open(folder / "raw.mrc") as raw, mrcfile.open(folder / "lin.mrc") as done:
        before, after = np.array(raw.data, dtype=np.float64), np.array(done.data, dtype=np.float64)
    inverse, shift = invert_xf(read_xf(folder / "raw.xf"))
    for view in range(min(2, len(before))):
        ny, nx = after[view].shape
        centre = np.array([(nx - 1) / 2, (ny - 1) / 2])
        y, x = np.mgrid[0:ny, 0:nx]
        out = np.stack([x - centre[0], y - centre[1]], axis=-1) @ inverse[view].T + shift[view] + centre
        ours = scipy.ndimage.map_coordinates(before[view], [out[..., 1], out[..., 0]], order=1, cval=np.nan)
        inside = scipy.ndimage.binary_erosion(np.isfinite(ours), iterations=2)
        assert inside.sum() > 0.3 * ours.size
        np.testing.assert_allclose(ours[inside], after[view][inside], atol=2e-3 * np.ptp(before[view]))


@pytest.mark.parametrize("shape", [(480, 512), (231, 260), (230, 261)])
def test_geometry_to_transforms_and_back(tmp_path: Path, shape: tuple[int, int]) -> None:
    """Through a file and back a geometry changes by the printed digits only, for odd and even sizes."""
    rng = np.random.default_rng(3)
    n = 5
    transforms = xf_from_geometry(
        geometry := geometry_from_xf(
            "TS",
            (_similar(rng.uniform(0, 6.28, n), rng.uniform(0.98, 1.02, n)), rng.normal(0, 9, (n, 2))),
            np.linspace(-60, 60, n),
            pixel_size_angstrom=1.7,
            image_shape_yx=shape,
        )
    )  # fmt: skip
    again = geometry_from_xf(
        "TS", read_xf(write_xf(tmp_path / "a.xf", *transforms)), geometry.tilt_deg,
        pixel_size_angstrom=1.7, image_shape_yx=shape,
    )  # fmt: skip
    points = rng.uniform(-200, 200, (7, 3))
    np.testing.assert_allclose(again.project(points), geometry.project(points), atol=1.5e-3)


def _similar(angle: Float, scale: Float) -> Float:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], axis=-2)
