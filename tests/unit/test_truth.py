"""Truth on disk, and the cryoJAX set converted to it."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from staproj.errors import FormatError, InputError
from staproj.testing import cryojax_set
from staproj.testing.truth import load_truth


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give (source, converted truth) of the cryoJAX set, or skip."""
    source = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "sim_vlp_cryojax"
    if not source.is_dir():
        pytest.skip("the shared data are not here")
    out = tmp_path_factory.mktemp("cryojax")
    cryojax_set.write_truth(source, out)
    return source, out


def test_cryojax_beads_project_onto_their_images(converted: tuple[Path, Path]) -> None:
    """Beads land within 0.01 px of where the other program drew them."""
    source, out = converted
    truth = load_truth(out).series["TS_01"]
    drawn = np.load(source / "truth.npz")["beads_2d_px"]
    assert np.abs(truth.alignment.project(truth.gold.position_xyz_angstrom) - drawn).max() < 0.01


def test_cryojax_beads_are_dark_in_the_images(converted: tuple[Path, Path]) -> None:
    """The views are darker at the projected beads than around them, in nearly every view."""
    source, out = converted
    truth = load_truth(out).series["TS_01"]
    with mrcfile.open(source / "TS_01.mrc") as handle:
        stack = handle.data.astype(float)
    xy = truth.alignment.project(truth.gold.position_xyz_angstrom)
    darker = []
    for view in range(len(stack)):
        for x, y in xy[view]:
            if 20 < x < 268 and 20 < y < 268:
                row, column = round(y), round(x)
                patch = stack[view, row - 12 : row + 13, column - 12 : column + 13]
                darker.append(patch[9:16, 9:16].mean() < patch.mean() - 2.0)
    assert len(darker) > 150
    assert np.mean(darker) > 0.95


def test_cryojax_particles_point_outwards(converted: tuple[Path, Path]) -> None:
    """The reference's z axis is the outward normal of the VLP at every particle."""
    truth = load_truth(converted[1]).series["TS_01"]
    radial = truth.particles.position_xyz_angstrom - truth.spheres.centre_xyz_angstrom[0]
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    cosine = np.einsum("ni,ni->n", radial, truth.particles.rot_tomo_from_ref[:, :, 2])
    assert cosine.min() > 0.95
    assert 430 < truth.spheres.radius_angstrom[0] < 470


def test_missing_truth_is_one_clear_error(tmp_path: Path) -> None:
    """A directory without truth is refused with the remedy."""
    with pytest.raises(InputError, match=r"truth\.json"):
        load_truth(tmp_path)
    with pytest.raises(InputError, match=r"truth\.npz"):
        cryojax_set.write_truth(tmp_path, tmp_path / "out")


def test_damaged_truth_names_the_file(tmp_path: Path) -> None:
    """A truth.json without its list of tilt series, or a part that is gone, names the file."""
    (tmp_path / "truth.json").write_text("{}")
    with pytest.raises(FormatError, match="tilt_series"):
        load_truth(tmp_path)
    (tmp_path / "truth.json").write_text('{"tilt_series": ["TS_9"]}')
    with pytest.raises(FormatError, match=r"TS_9"):
        load_truth(tmp_path)
