"""A particle made of Gaussian blobs: its map, its transform and its projections are known in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class BlobParticle:
    """Blobs at ``centres`` ``[n, 3]`` (x, y, z, any unit) with one ``sigma`` and ``weights`` ``[n]``."""

    def __init__(self, centres: Float, sigma: float, weights: Float | None = None) -> None:
        self.centres = np.asarray(centres, dtype=np.float64)
        self.sigma = sigma
        self.weights = np.ones(len(centres)) if weights is None else np.asarray(weights)

    @classmethod
    def chiral(cls, radius: float, sigma: float, seed: int = 3, n: int = 9) -> BlobParticle:
        """Return blobs at random places inside a sphere: no symmetry at all."""
        rng = np.random.default_rng(seed)
        direction = rng.normal(size=(n, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        return cls(direction * radius * rng.uniform(0.3, 1, (n, 1)), sigma, rng.uniform(0.5, 1.5, n))

    def symmetrised(self, order: int) -> BlobParticle:
        """Return the particle with its Cn copies about z."""
        angles = 2 * np.pi * np.arange(order) / order
        turns = [np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) for a in angles]
        centres = np.concatenate([self.centres @ turn.T for turn in turns])
        return BlobParticle(centres, self.sigma, np.tile(self.weights, order))

    def moved(self, rotation: Float, shift: Float) -> BlobParticle:
        """Return the particle after ``x -> R x + shift``."""
        return BlobParticle(
            self.centres @ np.asarray(rotation).T + np.asarray(shift), self.sigma, self.weights
        )

    def volume(self, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """Draw the map ``[z, y, x]``, origin at ``n // 2``, one unit a voxel."""
        axes = [np.arange(n) - n // 2 for n in shape]
        z, y, x = np.meshgrid(*axes, indexing="ij")
        out = np.zeros(shape)
        for centre, weight in zip(self.centres, self.weights, strict=True):
            r2 = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
            out += weight * np.exp(-r2 / (2 * self.sigma**2))
        return out.astype(np.float32)

    def projection(self, shape: tuple[int, int], rotation: Float, at_xy: Float) -> Float:
        """Draw the projection along z of the turned particle, its centre at pixel ``at_xy`` (from 0)."""
        y, x = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
        out = np.zeros(shape)
        for centre, weight in zip(self.centres @ np.asarray(rotation).T, self.weights, strict=True):
            r2 = (x - centre[0] - at_xy[0]) ** 2 + (y - centre[1] - at_xy[1]) ** 2
            out += weight * np.exp(-r2 / (2 * self.sigma**2))
        return out * np.sqrt(2 * np.pi) * self.sigma

    def transform(self, k_per_unit: Float) -> NDArray[np.complex128]:
        """Return the Fourier transform at frequencies ``[..., 3]`` (x, y, z, cycles per unit)."""
        k = np.asarray(k_per_unit, dtype=np.float64)
        phase = np.exp(-2j * np.pi * (k @ self.centres.T)) @ self.weights
        gauss = (2 * np.pi) ** 1.5 * self.sigma**3 * np.exp(-2 * (np.pi * self.sigma) ** 2 * (k**2).sum(-1))
        return phase * gauss
