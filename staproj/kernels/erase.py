"""Erase discs (gold beads) from an image so that nothing of them is left and nothing new stands out.

Each disc gets the plane fitted to a ring around it, plus the texture of a nearby clean patch with that
patch's own plane taken off: noise and ice keep their spectrum. No random numbers are drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

_RING_WIDTH = 0.6  # of the radius: enough pixels for a stable plane, near enough to be local
_DIRECTIONS = 12
_PATCHES = 4  # clean neighbours looked at; more cost time and gain nothing


def erase_discs(
    image: NDArray[Any], centre_xy_px: Float, radius_px: Float | float, *, soft_px: float = 2.0
) -> Float32:
    """Return the image ``[y, x]`` with discs about ``centre_xy_px`` (``[n, 2]``, pixels from 0) replaced.

    Discs that do not touch the image are skipped. ``soft_px`` is the width of the cosine rim, outside of
    the radius. Discs whose surroundings are all erased as well get a plane without texture.
    """
    out = np.array(image, dtype=np.float32)
    centres = np.asarray(centre_xy_px, dtype=np.float64).reshape(-1, 2)
    radii = np.broadcast_to(np.asarray(radius_px, dtype=np.float64), (len(centres),))
    reach = radii + soft_px
    ny, nx = out.shape
    near = (centres > -reach[:, None]) & (centres < np.array([nx, ny]) - 1 + reach[:, None])
    index = np.flatnonzero(np.isfinite(centres).all(axis=1) & near.all(axis=1))
    if not len(index):
        return out
    covered = _covered(out.shape, centres[index], reach[index])
    source = out.copy()
    for i in index:
        _erase_one(out, source, covered, centres[i], float(radii[i]), soft_px)
    return out


def _covered(shape: tuple[int, ...], centres: Float, reach: Float) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    for centre, extent in zip(centres, reach, strict=True):
        rows, columns, distance = _window(shape, centre, float(extent))
        mask[rows, columns] |= distance <= extent
    return mask


def _window(shape: tuple[int, ...], centre: Float, extent: float) -> tuple[slice, slice, Float]:
    ny, nx = shape
    x0, x1 = max(0, int(centre[0] - extent)), min(nx, int(centre[0] + extent) + 2)
    y0, y1 = max(0, int(centre[1] - extent)), min(ny, int(centre[1] + extent) + 2)
    y, x = np.mgrid[y0 : max(y0, y1), x0 : max(x0, x1)]
    return slice(y0, max(y0, y1)), slice(x0, max(x0, x1)), np.hypot(x - centre[0], y - centre[1])


def _erase_one(
    out: Float32, source: Float32, covered: NDArray[np.bool_], centre: Float, radius: float, soft: float
) -> None:
    reach = radius + soft
    outer = reach + max(3.0, _RING_WIDTH * radius)
    rows, columns, distance = _window(out.shape, centre, outer)
    ring = (distance > reach) & ~covered[rows, columns]
    if ring.sum() < 8:
        ring = distance > reach
    if not ring.any():
        return
    fill = _plane(source[rows, columns], ring)
    fill += _texture(source, covered, centre, outer, (rows, columns))
    weight = np.clip((distance - radius) / max(soft, 1e-6), 0.0, 1.0)
    weight = 0.5 + 0.5 * np.cos(np.pi * weight)
    patch = out[rows, columns]
    out[rows, columns] = patch * (1.0 - weight) + fill * weight


def _texture(
    source: Float32, covered: NDArray[np.bool_], centre: Float, extent: float, window: tuple[slice, slice]
) -> Float | float:
    """Return the quietest clean patch nearby, of the window's shape, less its plane; 0 if there is none."""
    ny, nx = source.shape
    rows, columns = window
    best: Float | float = 0.0
    least, seen = np.inf, 0
    for ring in (1.6, 2.4):
        for step in range(_DIRECTIONS):
            angle = 2 * np.pi * (5 * step % _DIRECTIONS) / _DIRECTIONS  # all round, not one side first
            dx, dy = round(ring * extent * np.cos(angle)), round(ring * extent * np.sin(angle))
            y0, y1, x0, x1 = rows.start + dy, rows.stop + dy, columns.start + dx, columns.stop + dx
            if y0 < 0 or x0 < 0 or y1 > ny or x1 > nx or covered[y0:y1, x0:x1].any():
                continue
            patch = source[y0:y1, x0:x1]
            rest = patch - _plane(patch, np.ones(patch.shape, dtype=bool))
            spread = float(np.mean(np.abs(rest)))
            seen += 1
            if spread < least:
                best, least = rest, spread
            if seen == _PATCHES:
                return best
    return best


def _plane(patch: Float32, where: NDArray[np.bool_]) -> Float:
    """Fit a plane to the pixels in ``where`` by least squares and return it on the whole patch."""
    y, x = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float64)
    y -= y.mean()
    x -= x.mean()
    values = patch[where].astype(np.float64)
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle)) + 1e-12
    values = np.clip(values, middle - 4 * spread, middle + 4 * spread)  # an X-ray must not tilt the plane
    basis = np.stack([np.ones(len(values)), x[where], y[where]])
    normal = basis @ basis.T + 1e-9 * np.eye(3)  # a ring cut down to a line leaves one slope open
    a, b, c = np.linalg.solve(normal, basis @ values)
    plane: Float = a + b * x + c * y
    return plane
