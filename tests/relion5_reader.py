"""An independent reader of RELION 5 folders: plain text and RELION's equations, nothing of staproj.

Equations as measured on RELION 5.0.1: position = centred / px + size / 2.0 - A_sub origin / px;
image = n // 2 + shift / px + Rz Ry Rx (position - size // 2); defocus = view + hand * px * depth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

ANGLES = ("ZRot", "YTilt", "XTilt")


def read_blocks(path: Path) -> dict[str, list[dict[str, str]]]:
    """Return ``{block: [row]}`` of a STAR file; a block of single values is one row. All values are text."""
    blocks: dict[str, list[dict[str, str]]] = {}
    columns: list[str] = []
    rows: list[dict[str, str]] = []
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = raw.split("#")[0].strip() if raw.strip().startswith("_") else raw.strip()
        if not line or line.startswith("#") or line == "loop_":
            continue
        if line.startswith("data_"):
            columns, rows = [], []
            blocks[line[5:]] = rows
        elif line.startswith("_"):
            words = line.split()
            if len(words) == 1:
                columns.append(words[0][1:])
            else:
                rows[:] = [(rows[0] if rows else {}) | {words[0][1:]: words[1]}]
        else:
            words = line.split()
            assert len(words) == len(columns), (path, line)
            rows.append(dict(zip(columns, words, strict=True)))
    return blocks


def _rotation(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def predict(folder: Path, image_shape_yx: dict[str, tuple[int, int]]) -> dict[str, dict[str, np.ndarray]]:
    """Return of every tilt series the particles' image points, defocus, poses and half-sets, and the views.

    ``points_px`` is ``[view, particle, 2]`` (x, y), ``defocus_u``, ``defocus_v`` ``[view, particle]`` in Å,
    ``sections`` the section (from 0) of every view in its stack.
    """
    particles = read_blocks(folder / "particles.star")["particles"]
    found = {}
    for tomogram in read_blocks(folder / "tomograms.star")["global"]:
        name = tomogram["rlnTomoName"]
        pixel = float(tomogram["rlnTomoTiltSeriesPixelSize"])
        hand = float(tomogram["rlnTomoHand"])
        size = np.array([int(tomogram[f"rlnTomoSize{a}"]) for a in "XYZ"])
        ny, nx = image_shape_yx[name]
        mine = [row for row in particles if row["rlnTomoName"] == name]
        pose, position = _poses(mine, size, pixel)
        points, u, v, sections, exposure = [], [], [], [], []
        for view in next(iter(read_blocks(folder / tomogram["rlnTomoTiltSeriesStarFile"]).values())):
            about = {axis: float(view[f"rlnTomo{key}"]) for axis, key in zip("zyx", ANGLES, strict=True)}
            turn = _rotation("z", about["z"]) @ _rotation("y", about["y"]) @ _rotation("x", about["x"])
            turned = (position - size // 2) @ turn.T
            shift = np.array([float(view["rlnTomoXShiftAngst"]), float(view["rlnTomoYShiftAngst"])]) / pixel
            points.append(turned[:, :2] + shift + [nx // 2, ny // 2])
            u.append(float(view["rlnDefocusU"]) + hand * pixel * turned[:, 2])
            v.append(float(view["rlnDefocusV"]) + hand * pixel * turned[:, 2])
            sections.append(int(view["rlnMicrographName"].split("@")[0]) - 1)
            exposure.append(float(view["rlnMicrographPreExposure"]))
        found[name] = {
            "points_px": np.array(points),
            "defocus_u": np.array(u),
            "defocus_v": np.array(v),
            "sections": np.array(sections),
            "pre_exposure": np.array(exposure),
            "pose": pose,
            "half_set": np.array([int(row.get("rlnRandomSubset", 0)) for row in mine]),
        }
    return found


def _poses(rows: list[dict[str, str]], size: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    poses, positions = [], []
    for row in rows:
        sub = np.eye(3)
        if "rlnTomoSubtomogramRot" in row:
            sub = _euler(*(float(row[f"rlnTomoSubtomogram{k}"]) for k in ("Rot", "Tilt", "Psi")))
        centred = np.array([float(row[f"rlnCenteredCoordinate{a}Angst"]) for a in "XYZ"])
        origin = np.array([float(row[f"rlnOrigin{a}Angst"]) for a in "XYZ"])
        positions.append(centred / pixel + size / 2.0 - sub @ origin / pixel)
        poses.append(sub @ _euler(*(float(row[f"rlnAngle{k}"]) for k in ("Rot", "Tilt", "Psi"))))
    return np.array(poses).reshape(-1, 3, 3), np.array(positions).reshape(-1, 3)


def _euler(rot: float, tilt: float, psi: float) -> np.ndarray:
    return _rotation("z", -psi) @ _rotation("y", -tilt) @ _rotation("z", -rot)
