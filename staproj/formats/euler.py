"""Euler angles of other programs, and our rotation matrices. All angles in degrees.

Our matrices take reference axes to tomogram axes (``rot_tomo_from_ref``). With active right-handed rotations:

* RELION (rlnAngleRot, Tilt, Psi): ``R = Rz(-psi) Ry(-tilt) Rz(-rot)``; symmetry axis z.
* PEET (phi, theta, psi of motive-list columns 17, 19, 18): ``R = Rz(psi) Rx(theta) Rz(phi)``; its symmetry
  axis is y.

A reference whose axis is y becomes one whose axis is z by ``R_z = R_y Rx(-90)``, since ``Rx(-90) z = y``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from staproj.model.geometry import rotation_x, rotation_y, rotation_z

Float = NDArray[np.float64]

_DEGENERATE = 1e-9


def matrix_from_relion(rot_deg: ArrayLike, tilt_deg: ArrayLike, psi_deg: ArrayLike) -> Float:
    """Return ``rot_tomo_from_ref`` ``[..., 3, 3]`` of RELION's angles."""
    rot, tilt, psi = (np.asarray(a, dtype=np.float64) for a in (rot_deg, tilt_deg, psi_deg))
    product: Float = rotation_z(-psi) @ rotation_y(-tilt) @ rotation_z(-rot)
    return product


def relion_from_matrix(rot_tomo_from_ref: Float) -> tuple[Float, Float, Float]:
    """Return RELION's (rot, tilt, psi), tilt in [0, 180]; psi = 0 where only a sum of angles is defined."""
    m = np.swapaxes(np.asarray(rot_tomo_from_ref, dtype=np.float64), -1, -2)
    sine = np.hypot(m[..., 0, 2], m[..., 1, 2])
    flat = sine < _DEGENERATE
    tilt = np.arctan2(sine, m[..., 2, 2])
    rot = np.where(flat, np.arctan2(-m[..., 0, 1], m[..., 1, 1]), np.arctan2(m[..., 1, 2], m[..., 0, 2]))
    psi = np.where(flat, 0.0, np.arctan2(m[..., 2, 1], -m[..., 2, 0]))
    return np.rad2deg(rot), np.rad2deg(tilt), np.rad2deg(psi)


def matrix_from_peet(phi_deg: ArrayLike, theta_deg: ArrayLike, psi_deg: ArrayLike) -> Float:
    """Return ``rot_tomo_from_ref`` ``[..., 3, 3]`` of PEET's angles, for PEET's own reference (axis y)."""
    phi, theta, psi = (np.asarray(a, dtype=np.float64) for a in (phi_deg, theta_deg, psi_deg))
    product: Float = rotation_z(psi) @ rotation_x(theta) @ rotation_z(phi)
    return product


def peet_from_matrix(rot_tomo_from_ref: Float) -> tuple[Float, Float, Float]:
    """Return PEET's (phi, theta, psi), theta in [0, 180]; phi = 0 where only a sum of angles is defined."""
    m = np.asarray(rot_tomo_from_ref, dtype=np.float64)
    sine = np.hypot(m[..., 0, 2], m[..., 1, 2])
    flat = sine < _DEGENERATE
    theta = np.arctan2(sine, m[..., 2, 2])
    psi = np.where(flat, np.arctan2(m[..., 1, 0], m[..., 0, 0]), np.arctan2(m[..., 0, 2], -m[..., 1, 2]))
    phi = np.where(flat, 0.0, np.arctan2(m[..., 2, 0], m[..., 2, 1]))
    return np.rad2deg(phi), np.rad2deg(theta), np.rad2deg(psi)


def axis_z_from_axis_y(rot_tomo_from_ref: Float) -> Float:
    """Re-express poses of a reference whose symmetry axis is y for the same reference turned to axis z."""
    turned: Float = np.asarray(rot_tomo_from_ref, dtype=np.float64) @ rotation_x(-90.0)
    return turned


def axis_y_from_axis_z(rot_tomo_from_ref: Float) -> Float:
    """Invert :func:`axis_z_from_axis_y`."""
    turned: Float = np.asarray(rot_tomo_from_ref, dtype=np.float64) @ rotation_x(90.0)
    return turned
