"""Shells in noise: found, measured, and not invented."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from staproj.kernels import spheres


def _shells(shape, centres, radii, sigma=1.6):
    z, y, x = np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij")
    volume = np.zeros(shape)
    for (cx, cy, cz), radius in zip(centres, radii, strict=True):
        distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2)
        volume += np.exp(-0.5 * ((distance - radius) / sigma) ** 2)
    return volume


def _with_wedge(volume, limit_deg=60.0):
    """Remove what a tilt series about y with a limited range never saw."""
    kz, _, kx = np.meshgrid(*[np.fft.fftfreq(n) for n in volume.shape], indexing="ij")
    seen = np.abs(kz) <= np.tan(np.deg2rad(limit_deg)) * np.abs(kx) + 1e-9
    return scipy.fft.ifftn(scipy.fft.fftn(volume) * seen).real


@pytest.mark.parametrize("shape", [(41, 90, 101), (48, 97, 80)])
def test_two_shells_are_found_in_noise_with_a_missing_wedge(rng, shape):
    """Centres come within 1.5 and radii within 1 voxel; nothing else scores near them."""
    centres, radii = [(-20.0, 15.0, 2.0), (22.0, -18.0, -3.0)], [15.0, 19.0]
    volume = _with_wedge(_shells(shape, centres, radii) + 0.8 * rng.standard_normal(shape)).astype(np.float32)
    found = spheres.detect_shells(volume, np.arange(11.0, 26.0), 1.5, min_distance=0.75, max_count=6)
    smooth = spheres.band_pass(volume, 1.2)
    for centre, radius in zip(centres, radii, strict=True):
        i = int(np.argmin(np.linalg.norm(found.centre_xyz - centre, axis=1)))
        assert i < 2
        moved, refined = spheres.refine_shell(
            smooth / smooth.std(), found.centre_xyz[i], found.radius[i], 3.0
        )
        assert np.linalg.norm(moved - centre) < 1.5
        assert abs(refined - radius) < 1.0
    assert found.score[1] > 2 * found.score[2:].max()


def test_noise_scores_low(rng):
    """In pure noise the best candidate stays below what the stage asks for (10 SD)."""
    volume = rng.standard_normal((40, 70, 81)).astype(np.float32)
    found = spheres.detect_shells(volume, np.arange(9.0, 20.0), 1.5, min_distance=0.75, max_count=5)
    assert found.score.max() < 8.0


def test_progress_is_told_after_every_radius(rng):
    """The callback counts the radii done, which is where work can be cancelled."""
    seen = []
    volume = rng.standard_normal((20, 22, 24)).astype(np.float32)
    spheres.detect_shells(
        volume, np.array([4.0, 5.0, 6.0]), 1.0, min_distance=0.7, max_count=1, tick=seen.append
    )
    assert seen == [1, 2, 3]


def test_radial_profile_peaks_at_the_shell():
    """The mean density about the centre has its peak at the radius; beyond the volume there is no value."""
    volume = _shells((60, 61, 62), [(3.0, -2.0, 1.0)], [17.0]).astype(np.float32)
    radii = np.arange(5.0, 60.0, 0.5)
    profile = spheres.radial_profile(volume, np.array([3.0, -2.0, 1.0]), radii)
    assert abs(spheres.peak_position(radii, profile) - 17.0) < 0.1
    assert np.isnan(profile[-1])


def test_subsampling_keeps_the_centre():
    """The voxel at n // 2 is the voxel at m // 2 of the smaller volume, for odd and even sizes and steps."""
    for shape in ((21, 34, 45), (20, 33, 46)):
        for step in (2, 3):
            volume = np.zeros(shape, dtype=np.float32)
            volume[tuple(n // 2 for n in shape)] = 1.0
            small = spheres.subsample(volume, step)
            peak = np.unravel_index(np.argmax(small), small.shape)
            assert peak == tuple(m // 2 for m in small.shape)


def test_directions_are_even():
    """Directions are unit vectors whose mean vanishes and whose second moment is isotropic."""
    d = spheres.equal_directions(900)
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(d.mean(axis=0), 0.0, atol=2e-3)
    np.testing.assert_allclose(d.T @ d / len(d), np.eye(3) / 3, atol=2e-3)
