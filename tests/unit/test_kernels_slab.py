"""Where the slab lies: signs of the coarse tomogram, layers of beads, density and its extent."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from staproj.kernels.slab import (
    coarse_tomogram,
    extent_along,
    find_density,
    fit_layers,
    fit_plane,
    local_power,
)
from staproj.model.geometry import TiltGeometry

Float = NDArray[np.float64]


def layers_of(
    rng: np.random.Generator, slope: tuple[float, float], n: int = 14, rough: float = 25.0
) -> Float:
    """Beads on two planes 800 Å apart with given slopes, Å."""
    xy = rng.uniform(-1000, 1000, (n, 2))
    side = np.where(np.arange(n) % 2 == 0, -400.0, 400.0)
    return np.concatenate(
        [xy, (xy @ np.array(slope) + side + rng.normal(0, rough, n) + 60.0)[:, None]], axis=1
    )


@pytest.mark.parametrize("slope", [(0.08, -0.03), (-0.12, 0.05), (0.0, 0.1)])
def test_tilted_layers_are_found(slope: tuple[float, float], rng: np.random.Generator) -> None:
    """Slopes to 0.02 (1 deg), heights to 40 Å, and the beads themselves say that it is no chance."""
    found = fit_layers(layers_of(rng, slope), rng, spread=40.0)
    assert found.probability < 0.05
    assert found.n_on_planes >= 12
    np.testing.assert_allclose([found.slope_x, found.slope_y], slope, atol=0.02)
    np.testing.assert_allclose(found.heights, [-340.0, 460.0], atol=40.0)


def test_a_cloud_of_beads_has_no_layers(rng: np.random.Generator) -> None:
    """Beads anywhere in the ice: chance fits them as well, nearly always."""
    clouds = [rng.uniform(-1, 1, (12, 3)) * np.array([1000, 1000, 450]) for _ in range(8)]
    chances = [fit_layers(cloud, rng, spread=40.0, n_shuffles=60).probability for cloud in clouds]
    assert sum(chance < 0.05 for chance in chances) <= 1


def test_one_layer_is_enough(rng: np.random.Generator) -> None:
    """All beads on one tilted surface, many of them."""
    xy = rng.uniform(-1000, 1000, (40, 2))
    beads = np.concatenate([xy, (0.1 * xy[:, :1] + rng.normal(0, 20, (40, 1)))], axis=1)
    found = fit_layers(beads, rng, spread=40.0, n_shuffles=40)
    np.testing.assert_allclose([found.slope_x, found.slope_y], [0.1, 0.0], atol=0.02)
    with pytest.raises(ValueError, match="four"):
        fit_layers(beads[:3], rng, spread=40.0)


@pytest.mark.parametrize(
    ("shape", "axis", "x_tilt"), [((90, 101), 85.3, 0.0), ((91, 100), -20.0, 0.0), ((90, 100), 175.0, 6.0)]
)
def test_blobs_appear_where_they_are(
    shape: tuple[int, int], axis: float, x_tilt: float, rng: np.random.Generator
) -> None:
    """Dark blobs drawn through the model's projection are bright in the tomogram at their own place."""
    n = 31
    geometry = TiltGeometry(
        tilt_series_id="TS",
        tilt_deg=np.linspace(-60, 60, n),
        x_tilt_deg=np.full(n, x_tilt),
        tilt_axis_deg=np.full(n, axis),
        shift_xy_angstrom=rng.uniform(-5, 5, (n, 2)),
        magnification=np.full(n, 1.01),
        view_used=np.ones(n, dtype=bool),
        pixel_size_angstrom=1.0,
        image_shape_yx=shape,
    )
    blobs = np.array([[12.0, -9.0, 15.0], [-14.0, 11.0, -20.0]])
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    images = np.zeros((n, *shape), dtype=np.float32)
    for view, places in enumerate(geometry.project(blobs)):
        for px, py in places:
            images[view] -= np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / 4.0)
    projection = geometry.rot_view_from_tomo[:, :2] * geometry.magnification[:, None, None]
    centres = geometry.project(np.zeros((1, 3)))[:, 0]
    volume = coarse_tomogram(images, projection, centres, (70, 81, 80))
    for blob in blobs:
        cx, cy, cz = (int(v) for v in np.rint(blob + np.array([40, 40, 35])))
        window = volume[cz - 6 : cz + 7, cy - 6 : cy + 7, cx - 6 : cx + 7]
        place = np.array(np.unravel_index(np.argmax(window), window.shape)) - 6
        assert np.abs(place).max() <= 1
        assert window.max() > 0.8 * volume.max()


def noise_power(rng: np.random.Generator, shape: tuple[int, int, int] = (80, 70, 66)) -> NDArray[np.float32]:
    """Make the power of a noise tomogram with a weak trend along z, as back-projections have it."""
    volume = rng.normal(size=shape) * np.linspace(0.8, 1.2, shape[0])[:, None, None]
    return local_power(volume.astype(np.float32), 1.0, 4.0, 1.0)


def test_noise_is_not_dense(rng: np.random.Generator) -> None:
    """Nothing stands out of noise, whatever its trend along z."""
    assert not find_density(noise_power(rng), 6.0, 100, 4).mask.any()


def test_dense_things_are_found_with_their_extent(rng: np.random.Generator) -> None:
    """A noisy shell of outer radius 16.5 voxels about z = +5: found, and from -11.5 to +21.5 along z."""
    shape = (80, 70, 66)
    z, y, x = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    radius = np.sqrt(x**2 + y**2 + (z - 5) ** 2)
    volume = rng.normal(size=shape) * np.where(np.abs(radius - 15) < 1.5, 4.0, 1.0)
    found = find_density(local_power(volume.astype(np.float32), 1.0, 4.0, 1.0), 6.0, 100, 4)
    heights = (np.nonzero(found.mask)[0] - 40).astype(float)
    low, high = extent_along(heights, np.ones(len(heights)), 1.0, gap=4.0)
    assert found.peak_sd > 10
    assert low == pytest.approx(-11.5, abs=2.5)
    assert high == pytest.approx(21.5, abs=2.5)


def test_extent_leaves_out_what_is_far_off(rng: np.random.Generator) -> None:
    """Dirt at the rim, a tenth of the mass and far away, does not stretch the slab; a near part does."""
    main = rng.uniform(-300, 300, 5000)
    far = rng.uniform(1500, 1600, 400)
    near = rng.uniform(500, 700, 1500)
    ones = np.ones
    low, high = extent_along(np.concatenate([main, far]), ones(5400), 25.0)
    assert (low, high) == pytest.approx((-300, 300), abs=30)
    low, high = extent_along(np.concatenate([main, near]), ones(6500), 25.0)
    assert (low, high) == pytest.approx((-300, 700), abs=30)


def test_plane_of_density(rng: np.random.Generator) -> None:
    """A tilted layer of dense voxels gives its slopes, within their own errors; an empty field gives none."""
    nz, ny, nx = 60, 80, 84
    z, y, x = np.meshgrid(*(np.arange(n) - n // 2 for n in (nz, ny, nx)), indexing="ij")
    mask = np.abs(z - 0.1 * x + 0.05 * y) < 4
    mask &= rng.random(mask.shape) < 0.5
    fit = fit_plane(mask, np.ones(mask.shape, dtype=np.float32), 10, 10)
    assert fit is not None
    slopes, errors, coverage = fit
    np.testing.assert_allclose(slopes, [0.1, -0.05], atol=0.01)
    assert (errors < 0.01).all()
    assert coverage > 0.9
    assert fit_plane(np.zeros_like(mask), np.ones(mask.shape, dtype=np.float32), 10, 10) is None
