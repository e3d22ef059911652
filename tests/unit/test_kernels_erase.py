"""Gold vanishes from images, and nothing else does."""

from __future__ import annotations

import numpy as np

from staproj.kernels.erase import erase_discs


def _scene(rng, shape=(97, 130)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    background = 50 + 0.1 * x - 0.05 * y
    noise = rng.standard_normal(shape)
    centres = np.array([[40.3, 30.7], [90.0, 60.2], [2.0, 95.0]])
    image = background + noise
    for cx, cy in centres:
        image[np.hypot(x - cx, y - cy) <= 6.0] -= 25.0
    return image.astype(np.float32), background, centres


def test_a_disc_becomes_background_with_noise_like_its_surroundings(rng):
    """Inside an erased bead the mean is the sloping background's, and the spread is the noise's."""
    image, background, centres = _scene(rng)
    out = erase_discs(image, centres, 7.0)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    for cx, cy in centres[:2]:
        inside = np.hypot(x - cx, y - cy) <= 6.0
        rest = (out - background)[inside]
        assert abs(rest.mean()) < 0.5
        assert 0.6 < rest.std() < 1.5


def test_pixels_outside_of_the_rim_are_untouched(rng):
    """Only discs and their soft rim change; the input stays as it was."""
    image, _, centres = _scene(rng)
    before = image.copy()
    out = erase_discs(image, centres, 7.0, soft_px=2.0)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    outside = np.all([np.hypot(x - cx, y - cy) > 9.0 for cx, cy in centres], axis=0)
    np.testing.assert_array_equal(out[outside], image[outside])
    np.testing.assert_array_equal(image, before)


def test_a_bead_at_the_rim_and_one_outside_do_no_harm(rng):
    """Discs cut by the edge are erased as far as they show; those off the image, or NaN, are skipped."""
    image, background, centres = _scene(rng)
    far = np.vstack([centres, [[-50.0, 20.0], [np.nan, 3.0]]])
    out = erase_discs(image, far, 7.0)
    np.testing.assert_array_equal(out, erase_discs(image, centres, 7.0))
    assert abs((out - background)[90:97, 0:6].mean()) < 1.0


def test_nothing_is_drawn_at_random(rng):
    """The same image gives the same pixels."""
    image, _, centres = _scene(rng)
    np.testing.assert_array_equal(erase_discs(image, centres, 7.0), erase_discs(image, centres, 7.0))
