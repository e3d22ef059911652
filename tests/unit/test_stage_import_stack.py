"""import_stack: stacks of other programs, sorted and completed, and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from staproj.errors import FormatError, InputError
from staproj.formats.mrc import read_mrc, write_mrc
from staproj.testing.stage_harness import StageResult, run_stage
from tests.unit.import_sets import write_mdoc

TILT = (-6.0, -3.0, 0.0, 3.0, 6.0)
GIVEN = {"exposure_e_per_angstrom2": 3.0, "tilt_axis_deg": 85.3, "voltage_kv": 300.0}


def _stack(folder: Path, tilt: tuple[float, ...] = TILT, pixel: float = 5.4) -> np.ndarray:
    """Write TS_01.st and TS_01.rawtlt; return the stack."""
    data = np.random.default_rng(3).normal(50, 5, (len(tilt), 11, 14)).astype(np.float32)
    write_mrc(folder / "TS_01.st", data, pixel)
    (folder / "TS_01.rawtlt").write_text("".join(f"{angle}\n" for angle in tilt))
    return data


def _run(folder: Path, **params: Any) -> StageResult:
    given = {"stacks": str(folder / "*.st"), "angles": str(folder / "*.rawtlt")} | GIVEN | params
    return run_stage("import_stack", {}, given, folder / "work")


def _fails(folder: Path, says: str, *also: str, **params: Any) -> None:
    with pytest.raises((InputError, FormatError), match=says) as caught:
        _run(folder, **params)
    assert caught.value.where
    assert caught.value.hint
    for word in also:
        assert word in str(caught.value)


def test_the_simulated_series_of_another_program(shared_data: Path, tmp_path: Path) -> None:
    """The cryoJAX set comes in whole: 40 views, pixels unchanged, pre-exposures as its truth has them."""
    source = shared_data / "sim_vlp_cryojax"
    given = {"stacks": str(source / "TS_01.mrc"), "angles": str(source / "TS_01.rawtlt")} | GIVEN
    result = run_stage("import_stack", {}, given, tmp_path)
    series = result["tilt_series"]["TS_01"]
    assert series.n_views == 40
    assert series.pixel_size_angstrom == pytest.approx(5.4)
    with np.load(source / "truth.npz") as truth:
        np.testing.assert_array_equal(series.pre_exposure_e_per_angstrom2, truth["preexposure"])
    with mrcfile.open(source / "TS_01.mrc") as handle:
        np.testing.assert_array_equal(read_mrc(series.stack_path)[0], handle.data)
    assert "dose-symmetric" in result.ctx.fallbacks[0]


def test_views_are_sorted_by_tilt(tmp_path: Path) -> None:
    """A stack in the order of recording is sorted, with order and exposures going along."""
    data = _stack(tmp_path, (0.0, 3.0, -3.0, -6.0, 6.0))
    result = _run(tmp_path, order="file")
    series = result["tilt_series"]["TS_01"]
    np.testing.assert_array_equal(series.stage_tilt_deg, TILT)
    np.testing.assert_array_equal(read_mrc(series.stack_path)[0], data[[3, 2, 0, 1, 4]])
    np.testing.assert_array_equal(series.acquisition_index, [3, 2, 0, 1, 4])
    np.testing.assert_array_equal(series.pre_exposure_e_per_angstrom2, [9, 6, 0, 3, 12])
    assert series.stack_path.is_relative_to(tmp_path / "work")
    assert not result.ctx.fallbacks


def test_missing_view_counts_as_exposed(tmp_path: Path) -> None:
    """The place of a view that was taken out stays in the dose-symmetric scheme."""
    _stack(tmp_path, (-6.0, -3.0, 0.0, 6.0))
    series = _run(tmp_path, order="dose_symmetric")["tilt_series"]["TS_01"]
    np.testing.assert_array_equal(series.pre_exposure_e_per_angstrom2, [9, 6, 0, 12])
    np.testing.assert_array_equal(series.acquisition_index, [2, 1, 0, 3])


def test_mdoc_gives_angles_order_and_exposures(tmp_path: Path) -> None:
    """With only an mdoc, section n is view n of the stack; exposures, axis and defocus come from it."""
    data = _stack(tmp_path, pixel=1.35)
    write_mdoc(tmp_path, "TS_01", header={"ImageSize": "14 11"})
    params = {"angles": None, "mdoc": str(tmp_path / "*.mdoc")} | dict.fromkeys(GIVEN)
    series = _run(tmp_path, **params)["tilt_series"]["TS_01"]
    np.testing.assert_allclose(series.stage_tilt_deg, [-5.99, -2.99, 0.01, 3.01, 6.01])
    np.testing.assert_array_equal(read_mrc(series.stack_path)[0], data[[3, 2, 0, 1, 4]])
    np.testing.assert_allclose(series.pre_exposure_e_per_angstrom2, [9, 6, 0, 3, 12])
    np.testing.assert_allclose(series.nominal_defocus_um, 2.5)
    assert series.tilt_axis_deg == pytest.approx(85.3)


def test_views_find_their_mdoc_sections_by_angle(tmp_path: Path) -> None:
    """A stack that lost a view takes the rest from the full mdoc by angle."""
    _stack(tmp_path, (-6.0, 0.0, 3.0, 6.0), pixel=1.35)
    write_mdoc(tmp_path, "TS_01", header={"ImageSize": "14 11"})
    series = _run(tmp_path, mdoc=str(tmp_path / "*.mdoc"))["tilt_series"]["TS_01"]
    np.testing.assert_array_equal(series.pre_exposure_e_per_angstrom2, [9, 0, 3, 12])


def test_order_list(tmp_path: Path) -> None:
    """An order list gives the order of recording."""
    _stack(tmp_path)
    (tmp_path / "TS_01.csv").write_text("1,0\n2,-3\n3,3\n4,6\n5,-6\n")
    series = _run(tmp_path, order_list=str(tmp_path / "*.csv"))["tilt_series"]["TS_01"]
    np.testing.assert_array_equal(series.acquisition_index, [4, 1, 0, 2, 3])


def test_bright_stacks_are_inverted(tmp_path: Path) -> None:
    """Stacks with bright protein are turned dark, as views are by convention."""
    data = _stack(tmp_path)
    series = _run(tmp_path, contrast="bright")["tilt_series"]["TS_01"]
    np.testing.assert_array_equal(read_mrc(series.stack_path)[0], -data)


def test_number_of_angles(tmp_path: Path) -> None:
    """Angles or sections that do not fit the number of views name both files."""
    _stack(tmp_path)
    (tmp_path / "TS_01.rawtlt").write_text("0\n3\n")
    _fails(tmp_path, "2 angles for a stack of 5 views", "TS_01.rawtlt", "TS_01.st")
    write_mdoc(tmp_path, "TS_01", angles=(0.0, 3.0, -3.0))
    _fails(tmp_path, "3 sections for a stack of 5", angles=None, mdoc=str(tmp_path / "*.mdoc"))


def test_missing_facts(tmp_path: Path) -> None:
    """Neither angles nor mdoc, no exposure, no axis, no pixel size: each names what to set."""
    _stack(tmp_path, pixel=0.0)
    _fails(tmp_path, "neither an angle file nor an mdoc", "TS_01", angles=None)
    _fails(
        tmp_path, "exposure of 5 of 5", "exposure_e_per_angstrom2 = { TS_01", exposure_e_per_angstrom2=None
    )
    _fails(tmp_path, "pixel size is 0", "[microscope] pixel_size_angstrom")
    _fails(tmp_path, "tilt axis is not known", "tilt_axis_deg", tilt_axis_deg=None, pixel_size_angstrom=5.4)
    _fails(tmp_path, "no mdoc for tilt series", order="mdoc", pixel_size_angstrom=5.4)
    _fails(tmp_path, "no order list", order="list", pixel_size_angstrom=5.4)


def test_duplicate_angles(tmp_path: Path) -> None:
    """Two views at one angle are named by their lines."""
    _stack(tmp_path, (-3.0, 0.0, 3.0, 0.01))
    _fails(tmp_path, "same tilt angle", "line 2", "line 4")


def test_damaged_stacks(tmp_path: Path) -> None:
    """Truncated stacks and NaN are named, and nothing half-written stays under the final name."""
    data = _stack(tmp_path)
    raw = (tmp_path / "TS_01.st").read_bytes()
    (tmp_path / "TS_01.st").write_bytes(raw[:-10])
    _fails(tmp_path, "truncated", "TS_01.st")
    data[3, 2, 2] = np.nan
    (tmp_path / "TS_01.st").write_bytes(raw[:1024] + data.tobytes())
    _fails(tmp_path, "NaN", "TS_01.st", "section 3")
    assert not list((tmp_path / "work").rglob("*.mrc*"))
