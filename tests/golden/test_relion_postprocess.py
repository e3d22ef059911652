"""FSC, phase randomisation, Guinier plots, sharpening and masks against RELION 5.0.1."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from staproj.formats.mrc import write_mrc
from staproj.formats.star import read_star
from staproj.kernels.fsc import (
    corrected_fsc,
    first_shell_below,
    masked_fsc,
    resolution_angstrom,
    shell_frequency,
)
from staproj.kernels.masking import density_mask
from staproj.kernels.sharpen import (
    apply_b_factor,
    filter_by_shell,
    fsc_weight,
    guinier_fit,
    low_pass,
    shell_amplitudes,
)
from staproj.model.maps import DensityMap, HalfMaps, Mask
from staproj.testing.stage_harness import run_stage

PIXEL, BOX = 1.5, 64


class Case:
    """Half maps, mask and RELION's tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.half_1, self.half_2, self.mask = (self.map(n) for n in ("half1.mrc", "half2.mrc", "mask.mrc"))
        self.mean = 0.5 * (self.half_1 + self.half_2)

    def map(self, name: str) -> np.ndarray:
        """Return a map of the folder."""
        return mrcfile.read(self.folder / name).astype(np.float64)

    def column(self, file: str, name: str) -> np.ndarray:
        """Return a column of the FSC table."""
        table = read_star(self.folder / file)["fsc"]
        return table[name].to_numpy(dtype=np.float64)

    def general(self, file: str) -> dict[str, float]:
        """Return the single values."""
        return read_star(self.folder / file)["general"]


@pytest.fixture(scope="module")
def case(shared_data: Path) -> Case:
    """Half maps with a B-factor of 110 Å^2, and what RELION made of them."""
    return Case(shared_data / "golden" / "07_relion_postprocess")


def test_unmasked_and_masked_fsc(case: Case, rng: np.random.Generator) -> None:
    """Both curves agree to the printed digits; the phases are randomised from shell 12 (8 Å)."""
    found = masked_fsc(case.half_1, case.half_2, case.mask, rng)
    unmasked = case.column("r5/auto.star", "rlnFourierShellCorrelationUnmaskedMaps")
    masked = case.column("r5/auto.star", "rlnFourierShellCorrelationMaskedMaps")
    np.testing.assert_allclose(found.unmasked, unmasked, atol=1e-6)
    np.testing.assert_allclose(found.masked, masked, atol=1e-6)
    assert found.randomised_from_shell == 12
    assert case.general("r5/auto.star")["rlnRandomiseFrom"] == pytest.approx(BOX * PIXEL / 12)


def test_correction_for_the_mask(case: Case, rng: np.random.Generator) -> None:
    """The formula gives RELION's corrected curve to 4e-6; our own random phases differ by chance only."""
    masked = case.column("r5/auto.star", "rlnFourierShellCorrelationMaskedMaps")
    name = "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps"
    randomised = case.column("r5/auto.star", name)
    corrected = case.column("r5/auto.star", "rlnFourierShellCorrelationCorrected")
    np.testing.assert_allclose(corrected_fsc(masked, randomised, 12), corrected, atol=5e-6)
    found = masked_fsc(case.half_1, case.half_2, case.mask, rng)
    # Little is random up to shell 12: RELION's 0.647 there needs "|k| >= R", not whole shells.
    np.testing.assert_allclose(found.randomised[:12], randomised[:12], atol=0.01)
    assert found.randomised[12] == pytest.approx(randomised[12], abs=0.08)
    np.testing.assert_allclose(found.randomised[13:], randomised[13:], atol=0.2)
    np.testing.assert_allclose(found.corrected, corrected, atol=0.06)
    assert resolution_angstrom(found.corrected, 0.143, BOX, PIXEL) == pytest.approx(3.2, abs=0.11)


def test_resolution_is_the_shell_before_the_first_drop(case: Case) -> None:
    """RELION's own curves give RELION's resolutions: 3.2 Å masked."""
    corrected = case.column("r5/auto.star", "rlnFourierShellCorrelationCorrected")
    stated = float(case.general("r5/auto.star")["rlnFinalResolution"])
    assert resolution_angstrom(corrected, 0.143, BOX, PIXEL) == pytest.approx(stated, abs=1e-6)
    assert first_shell_below(corrected, 0.143) == 31
    unmasked = case.column("r5/nomask.star", "rlnFourierShellCorrelationUnmaskedMaps")
    stated = float(case.general("r5/nomask.star")["rlnFinalResolution"])
    assert resolution_angstrom(unmasked, 0.143, BOX, PIXEL) == pytest.approx(stated, abs=1e-6)


@pytest.mark.parametrize(
    ("file", "curve"),
    [
        ("r5/auto.star", "rlnFourierShellCorrelationCorrected"),
        ("r5/nomask.star", "rlnFourierShellCorrelationUnmaskedMaps"),
    ],
)
def test_guinier_plot_and_b_factor(case: Case, file: str, curve: str) -> None:
    """Amplitudes to 1e-5, B = 4 slope to 0.01 Å^2, with RELION's FSC as weight."""
    amplitude = shell_amplitudes(case.mean)
    original = read_star(case.folder / file)["guinier"]["rlnLogAmplitudesOriginal"].to_numpy()
    np.testing.assert_allclose(np.log(amplitude), original, atol=1e-5)
    weighted = amplitude * fsc_weight(case.column(file, curve))
    fit = guinier_fit(weighted, shell_frequency(BOX // 2 + 1, BOX, PIXEL), 8.0)
    stated = case.general(file)
    assert fit.b_factor_angstrom2 == pytest.approx(stated["rlnBfactorUsedForSharpening"], abs=0.01)
    assert fit.intercept == pytest.approx(stated["rlnFittedInterceptGuinierPlot"], abs=1e-4)


def test_sharpened_maps(case: Case) -> None:
    """Weighted, sharpened and masked; and sharpened and low-passed: equal to 1e-5 of a standard deviation."""
    weight = fsc_weight(case.column("r5/auto.star", "rlnFourierShellCorrelationCorrected"))
    sharpened = apply_b_factor(filter_by_shell(case.mean, weight), -73.77405, PIXEL) * case.mask
    theirs = case.map("r5/auto_masked.mrc")
    assert np.abs(sharpened - theirs).max() < 1e-5 * theirs.std()
    plain = low_pass(apply_b_factor(case.mean, -60.0, PIXEL), 5.0, PIXEL)
    theirs = case.map("r5/nofscw.mrc")
    assert np.abs(plain - theirs).max() < 1e-5 * theirs.std()


def test_masks(case: Case) -> None:
    """mask_create with and without low-pass: no voxel differs."""
    filtered = low_pass(case.half_1, 12.0, PIXEL)
    np.testing.assert_allclose(density_mask(filtered, 0.02, 3, 5), case.mask, atol=1e-4)
    small = density_mask(case.map("small.mrc"), 0.08, 2, 4)
    np.testing.assert_allclose(small, case.map("mask_nolp.mrc"), atol=1e-4)


def test_stages_on_these_maps(case: Case, tmp_path: Path) -> None:
    """The stages find RELION's resolution, and a B-factor near the true 110 (RELION, masked: 74)."""
    paths = [tmp_path / f"{name}.mrc" for name in ("half_1", "half_2", "mask")]
    for path, volume in zip(paths, (case.half_1, case.half_2, case.mask), strict=True):
        write_mrc(path, volume.astype(np.float32), PIXEL)
    halves = HalfMaps(paths[0], paths[1], PIXEL, 10, 12, "C1")
    mask = Mask(paths[2], PIXEL)
    measured = run_stage("fsc", {"half_maps": halves, "mask": mask}, {}, tmp_path)
    assert measured["fsc"].resolution_angstrom == pytest.approx(3.2, abs=0.11)
    assert measured.ctx.metrics["resolution_unmasked_angstrom"] == pytest.approx(96 / 25, abs=1e-6)
    assert not measured.ctx.warnings

    inputs = {"half_maps": halves, "mask": mask}
    done = run_stage("postprocess", inputs, {"fit_low_angstrom": 8.0}, tmp_path)
    b_factor = done.ctx.metrics["b_factor_angstrom2"]
    assert b_factor == pytest.approx(-110.0, rel=0.15)
    sharpened = mrcfile.read(done["map"].path).astype(np.float64)
    weight = fsc_weight(done["fsc"].value)
    expected = apply_b_factor(filter_by_shell(case.mean, weight), b_factor, PIXEL)
    np.testing.assert_allclose(sharpened, expected, atol=1e-4 * expected.std())
    assert (done["map"].n_particles, done["map"].symmetry) == (22, "C1")

    found = run_stage(
        "mask",
        {"map": DensityMap(paths[0], PIXEL)},
        {"lowpass_angstrom": 12.0, "threshold": 0.02, "extend_angstrom": 4.5, "soft_edge_angstrom": 7.5,
         "diameter_angstrom": 1000.0},
        tmp_path,
    )  # fmt: skip
    np.testing.assert_allclose(mrcfile.read(found["mask"].path), case.mask, atol=1e-4)
