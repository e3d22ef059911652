"""Transform files that are not what they should be, and what a stretched image means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from staproj.errors import FormatError, InputError
from staproj.formats.imod import compose_xf, geometry_from_xf, invert_xf, read_xf, xf_from_geometry

LINE = "   1.0000000   0.0000000   0.0000000   1.0000000       1.000      -2.000\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no transforms"),
        (LINE + "1 0 0 1 5\n", "expected six numbers, found 5"),
        (LINE + "1 0 0 one 5 5\n", "expected six numbers"),
        (LINE + "1 0 0 1 nan 5\n", "expected six numbers"),
        ("1 1 1 1 0 0\n", "cannot be inverted"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    """Each fault gives one error that names the file (and the line, where there is one)."""
    path = tmp_path / "bad.xf"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        read_xf(path)
    assert str(path) in str(caught.value.where)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    """A missing file is an input error, bytes that are no text a format error."""
    with pytest.raises(InputError, match="cannot read"):
        read_xf(tmp_path / "none.xf")
    (tmp_path / "b.xf").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(FormatError, match="not a text"):
        read_xf(tmp_path / "b.xf")


def test_stretch_is_not_swept_under_the_carpet() -> None:
    """5 % of stretch has no place in a tilt geometry; numbers of views must agree."""
    matrices = np.array([np.diag([1.05, 1.0])])
    shape = (64, 64)
    with pytest.raises(FormatError, match="stretched"):
        geometry_from_xf(
            "TS", (matrices, np.zeros((1, 2))), np.zeros(1), pixel_size_angstrom=1.0, image_shape_yx=shape
        )
    with pytest.raises(FormatError, match="1 transforms and 2"):
        geometry_from_xf(
            "TS", (matrices, np.zeros((1, 2))), np.zeros(2), pixel_size_angstrom=1.0, image_shape_yx=shape
        )


@given(
    angle=st.floats(-180, 180),
    scale=st.floats(0.9, 1.1),
    shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    shape=st.tuples(st.integers(20, 90), st.integers(20, 90)),
)
def test_transform_and_geometry_are_one_thing(
    angle: float, scale: float, shift: tuple[float, float], shape: tuple[int, int]
) -> None:
    """For any similarity and size: to a geometry and back is nothing; a transform and its inverse cancel."""
    turn = np.deg2rad(angle)
    matrix = np.array([[[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]]) / scale
    transforms = (matrix, np.array([shift]))
    geometry = geometry_from_xf("TS", transforms, np.zeros(1), pixel_size_angstrom=2.0, image_shape_yx=shape)
    again = xf_from_geometry(geometry)
    np.testing.assert_allclose(again[0], matrix, atol=1e-9)
    np.testing.assert_allclose(again[1], transforms[1], atol=1e-7)
    unity = compose_xf(transforms, invert_xf(transforms))
    np.testing.assert_allclose(unity[0], np.eye(2)[None], atol=1e-9)
    np.testing.assert_allclose(unity[1], 0.0, atol=1e-9)
