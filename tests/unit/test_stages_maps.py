"""The stages mask, fsc and postprocess on maps made here."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from staproj.errors import EmptyResultError, FormatError, InputError
from staproj.formats.mrc import write_mrc
from staproj.kernels.sharpen import apply_b_factor, low_pass
from staproj.model.maps import DensityMap, HalfMaps, Mask
from staproj.testing.stage_harness import run_stage

VOXEL = 2.5


def _body(n: int) -> np.ndarray:
    """Return 1 inside an ellipsoid of 14 x 10 x 8 voxels (x, y, z half axes) about n // 2."""
    z, y, x = np.meshgrid(*[np.arange(n) - n // 2] * 3, indexing="ij")
    inside: np.ndarray = (x / 14) ** 2 + (y / 10) ** 2 + (z / 8) ** 2 <= 1
    return inside.astype(np.float64)


def _halves(folder: Path, rng: np.random.Generator, n: int = 48, noise: float = 0.4) -> HalfMaps:
    common = low_pass(_body(n) * rng.normal(size=(n, n, n)), 7.0, VOXEL)
    common = apply_b_factor(common, 90.0, VOXEL)
    paths = []
    for half in (1, 2):
        volume = common / common.std() + noise * rng.normal(size=(n, n, n))
        paths.append(write_mrc(folder / f"half_{half}.mrc", volume.astype(np.float32), VOXEL))
    return HalfMaps(paths[0], paths[1], VOXEL, 120, 121, "C2")


@pytest.mark.parametrize("n", [48, 49])
def test_density_mask_finds_the_body(tmp_path: Path, rng: np.random.Generator, n: int) -> None:
    """The automatic threshold separates a noisy body from its background: nearly all of it, little else."""
    body = _body(n)
    noisy = body + 0.5 * rng.normal(size=body.shape)
    path = write_mrc(tmp_path / "map.mrc", noisy.astype(np.float32), VOXEL)
    result = run_stage("mask", {"map": DensityMap(path, VOXEL)}, {"extend_angstrom": 0.0}, tmp_path)
    mask = mrcfile.read(result["mask"].path)
    assert mask.min() >= 0.0
    assert mask.max() == 1.0
    assert mask[body > 0].mean() > 0.97
    assert (mask == 1.0).sum() < 1.15 * body.sum()
    assert result["mask"].voxel_size_angstrom == VOXEL
    assert {"mask_slices", "masked_map_slices"} <= set(result.ctx.previews)


@pytest.mark.parametrize(
    ("shape", "volume"), [("sphere", 4 / 3 * np.pi * 30**3), ("cylinder", np.pi * 30**2 * 40)]
)
def test_plain_masks_have_the_size_asked_for(
    tmp_path: Path, rng: np.random.Generator, shape: str, volume: float
) -> None:
    """Volumes in Å^3 of a hard sphere (60 Å) and cylinder (60 x 40 Å)."""
    path = write_mrc(tmp_path / "map.mrc", rng.normal(size=(40, 41, 44)).astype(np.float32), VOXEL)
    params = {"shape": shape, "diameter_angstrom": 60.0, "height_angstrom": 40.0, "soft_edge_angstrom": 0.0}
    result = run_stage("mask", {"map": DensityMap(path, VOXEL)}, params, tmp_path)
    mask = mrcfile.read(result["mask"].path)
    assert mask.sum() * VOXEL**3 == pytest.approx(volume, rel=0.08)


def test_masks_of_nothing_are_refused(tmp_path: Path) -> None:
    """A flat map has no body; a threshold above all density gives an empty mask."""
    flat = write_mrc(tmp_path / "flat.mrc", np.ones((16, 16, 16), dtype=np.float32), VOXEL)
    with pytest.raises(InputError, match="flat"):
        run_stage("mask", {"map": DensityMap(flat, VOXEL)}, {}, tmp_path)
    body = write_mrc(tmp_path / "body.mrc", _body(32).astype(np.float32), VOXEL)
    with pytest.raises(EmptyResultError, match="empty"):
        run_stage("mask", {"map": DensityMap(body, VOXEL)}, {"threshold": 50.0}, tmp_path)
    with pytest.raises(InputError, match="voxel"):
        run_stage("mask", {"map": DensityMap(body, 0.0)}, {}, tmp_path)
    image = write_mrc(tmp_path / "image.mrc", np.ones((16, 16), dtype=np.float32), VOXEL)
    with pytest.raises(FormatError, match="volume"):
        run_stage("mask", {"map": DensityMap(image, VOXEL)}, {}, tmp_path)


def test_fsc_with_and_without_mask(tmp_path: Path, rng: np.random.Generator) -> None:
    """The mask takes noise away, so the masked resolution is finer, up to where the signal ends at 7 Å."""
    halves = _halves(tmp_path, rng, noise=2.0)
    plain = run_stage("fsc", {"half_maps": halves}, {}, tmp_path / "plain")
    np.testing.assert_array_equal(plain["fsc"].value, plain["fsc"].unmasked)
    source = DensityMap(halves.half_1_path, VOXEL)
    params = {"shape": "sphere", "diameter_angstrom": 75.0, "soft_edge_angstrom": 15.0}
    mask = run_stage("mask", {"map": source}, params, tmp_path)["mask"]
    masked = run_stage("fsc", {"half_maps": halves, "mask": mask}, {}, tmp_path)
    assert masked["fsc"].resolution_angstrom < plain["fsc"].resolution_angstrom
    assert 6.6 < masked["fsc"].resolution_angstrom < 9.0
    assert "Å at FSC 0.143" in masked.ctx.verdicts[0]
    again = run_stage("fsc", {"half_maps": halves, "mask": mask}, {}, tmp_path / "again")
    np.testing.assert_array_equal(again["fsc"].value, masked["fsc"].value)


def test_a_tight_mask_is_called_tight(tmp_path: Path, rng: np.random.Generator) -> None:
    """A hard mask of a few voxels correlates by itself, and the verdict warns."""
    halves = _halves(tmp_path, rng, noise=2.0)
    hard = np.zeros((48, 48, 48), dtype=np.float32)
    hard[22:26, 22:26, 22:26] = 1.0
    mask = Mask(write_mrc(tmp_path / "hard.mrc", hard, VOXEL), VOXEL)
    result = run_stage("fsc", {"half_maps": halves, "mask": mask}, {}, tmp_path)
    assert any("too tight" in text for text in result.ctx.warnings)


def test_sharpening_finds_the_decay_of_the_maps(tmp_path: Path, rng: np.random.Generator) -> None:
    """Maps that decay with B = 90 Å^2 are sharpened by about as much inside the mask."""
    halves = _halves(tmp_path, rng, noise=0.1)
    params = {"shape": "sphere", "diameter_angstrom": 75.0, "soft_edge_angstrom": 15.0}
    mask = run_stage("mask", {"map": DensityMap(halves.half_1_path, VOXEL)}, params, tmp_path)["mask"]
    inputs = {"half_maps": halves, "mask": mask}
    found = run_stage("postprocess", inputs, {"fit_low_angstrom": 20.0, "fit_high_angstrom": 7.5}, tmp_path)
    assert found.ctx.metrics["b_factor_angstrom2"] == pytest.approx(-90.0, rel=0.25)
    assert not found.ctx.fallbacks
    assert (found["map"].symmetry, found["map"].n_particles) == ("C2", 241)
    given = run_stage("postprocess", inputs, {"b_factor_angstrom2": -40.0}, tmp_path / "given")
    assert given.ctx.metrics["b_factor_angstrom2"] == -40.0


def test_coarse_maps_are_not_sharpened_and_say_so(tmp_path: Path, rng: np.random.Generator) -> None:
    """Without shells finer than 10 Å there is no Guinier fit: B = 0, recorded as a fallback."""
    paths = [
        write_mrc(tmp_path / f"h{i}.mrc", rng.normal(size=(16, 16, 16)).astype(np.float32), 12.0)
        for i in (1, 2)
    ]
    halves = HalfMaps(paths[0], paths[1], 12.0, 5, 5)
    result = run_stage("postprocess", {"half_maps": halves}, {}, tmp_path)
    assert result.ctx.metrics["b_factor_angstrom2"] == 0.0
    assert any("no B-factor" in text for text in result.ctx.fallbacks)


def test_mtf_is_divided_out(tmp_path: Path, rng: np.random.Generator) -> None:
    """An MTF of 0.5 everywhere doubles the map; a rising one is refused."""
    halves = _halves(tmp_path, rng)
    star = tmp_path / "mtf.star"
    star.write_text("data_\n\nloop_\n_rlnResolutionInversePixel #1\n_rlnMtfValue #2\n0.0 0.5\n0.5 0.5\n")
    params = {"b_factor_angstrom2": 0.0}
    plain = run_stage("postprocess", {"half_maps": halves}, params, tmp_path / "plain")
    params["mtf_star"] = str(star)  # type: ignore[assignment]
    divided = run_stage("postprocess", {"half_maps": halves}, params, tmp_path / "mtf")
    a, b = mrcfile.read(plain["map"].path), mrcfile.read(divided["map"].path)
    np.testing.assert_allclose(b, 2.0 * a, atol=1e-4 * a.std())
    star.write_text("data_\n\nloop_\n_rlnResolutionInversePixel #1\n_rlnMtfValue #2\n0.5 0.5\n0.0 1.0\n")
    with pytest.raises(InputError, match="rising"):
        run_stage("postprocess", {"half_maps": halves}, params, tmp_path / "bad")


def test_maps_of_different_size_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    """Half maps and mask must share one grid; the error names both sizes."""
    halves = _halves(tmp_path, rng)
    small = write_mrc(tmp_path / "small.mrc", np.ones((20, 20, 20), dtype=np.float32), VOXEL)
    with pytest.raises(InputError, match="48, 48, 48"):
        run_stage("fsc", {"half_maps": halves, "mask": Mask(small, VOXEL)}, {}, tmp_path)
    mixed = HalfMaps(halves.half_1_path, small, VOXEL, 1, 1)
    for stage in ("fsc", "postprocess"):
        with pytest.raises(InputError, match="differ in size"):
            run_stage(stage, {"half_maps": mixed}, {}, tmp_path)
