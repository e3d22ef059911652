"""Angle files, order lists and the dose-symmetric scheme."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from staproj.errors import FormatError, InputError
from staproj.formats.angles import (
    acquisition_index_from_order,
    dose_symmetric_index,
    duplicate_angles,
    read_angles,
    read_order,
    write_angles,
)


def test_round_trip(tmp_path: Path) -> None:
    """Angles come back to the two decimals that IMOD writes."""
    angles = np.array([-60.02, -0.5, 0.0, 59.99])
    path = write_angles(tmp_path / "a.tlt", angles)
    np.testing.assert_allclose(read_angles(path), angles, atol=0.005)
    assert path.read_text().splitlines()[0] == "  -60.02"


def test_columns_comments_and_blank_lines(tmp_path: Path) -> None:
    """Further columns, comments and blank lines are ignored."""
    path = tmp_path / "a.rawtlt"
    path.write_text("# angles\n-3.0 0\n\n0.0 1  # middle\n3.0 2\n")
    np.testing.assert_array_equal(read_angles(path), [-3.0, 0.0, 3.0])


@pytest.mark.parametrize("text", ["", "one\ntwo\n", "-3\n400\n", "nan\n"])
def test_files_that_hold_no_angles(tmp_path: Path, text: str) -> None:
    """Empty files, words and impossible angles are refused by name."""
    path = tmp_path / "a.tlt"
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        read_angles(path)
    assert str(path) in str(caught.value.where)
    with pytest.raises(InputError, match="no such file"):
        read_angles(tmp_path / "none.tlt")


def test_dose_symmetric_scheme_of_the_simulated_series(shared_data: Path) -> None:
    """The scheme gives the pre-exposures of the cryoJAX set, whose view at -60 deg is missing."""
    folder = shared_data / "sim_vlp_cryojax"
    tilt = read_angles(folder / "TS_01.rawtlt")
    with np.load(folder / "truth.npz") as truth:
        np.testing.assert_array_equal(3.0 * dose_symmetric_index(tilt), truth["preexposure"])


def test_dose_symmetric_order() -> None:
    """0, +, -, -, +, + ... in whatever order the views come, and a ranking for uneven steps."""
    tilt = np.array([-9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0])
    np.testing.assert_array_equal(dose_symmetric_index(tilt), [6, 3, 2, 0, 1, 4, 5])
    np.testing.assert_array_equal(dose_symmetric_index(tilt[::-1]), [5, 4, 1, 0, 2, 3, 6])
    np.testing.assert_array_equal(dose_symmetric_index(np.array([8.0])), [0])
    uneven = np.array([-4.0, -1.0, 0.0, 0.5, 1.1, 20.0])
    assert sorted(dose_symmetric_index(uneven)) == list(range(6))


def test_order_list(tmp_path: Path) -> None:
    """An order list numbers views by their angle; missing views keep their place."""
    path = tmp_path / "order.csv"
    path.write_text("1,0.0\n2,3.0\n3,-3.0\n4,-6.0\n")
    order = read_order(path)
    np.testing.assert_array_equal(
        acquisition_index_from_order(np.array([-6.01, -3.0, 0.02]), order, path), [3, 2, 0]
    )
    with pytest.raises(FormatError, match="no line of its own"):
        acquisition_index_from_order(np.array([-6.0, -3.0, 9.0]), order, path)


def test_duplicates() -> None:
    """Views at one angle are found as a pair, also when they are apart in the file."""
    assert duplicate_angles(np.array([0.0, 3.0, -3.0, 3.01])) == [(1, 3)]
    assert duplicate_angles(np.array([0.0, 3.0, -3.0])) == []
