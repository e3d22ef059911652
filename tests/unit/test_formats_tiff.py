"""TIFF movies and the common door to movies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from staproj.errors import FormatError, InputError
from staproj.formats.movie import Movie, read_gain
from staproj.formats.mrc import write_mrc
from staproj.formats.tiff import TiffMovie, write_tiff


@pytest.fixture
def frames(rng: np.random.Generator) -> np.ndarray:
    """Return three frames of counts, not square, odd in y."""
    return rng.poisson(5.0, (3, 7, 10)).astype(np.uint8)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_round_trip(tmp_path: Path, frames: np.ndarray, compression: str | None, dtype: type) -> None:
    """Frames, sizes and pixel size come back in every compression and type."""
    path = write_tiff(
        tmp_path / "a.tif", frames.astype(dtype), compression=compression, pixel_size_angstrom=1.35
    )
    with TiffMovie(path) as movie:
        assert (movie.n_frames, movie.shape_yx, movie.dtype) == (3, (7, 10), np.dtype(dtype))
        assert movie.pixel_size_angstrom == pytest.approx(1.35)
        np.testing.assert_array_equal(np.stack([movie.frame(i) for i in range(3)]), frames)


def test_rows_count_from_the_top(tmp_path: Path, frames: np.ndarray) -> None:
    """TIFF stores the top line of the picture first, MRC the bottom line; both give the same frame."""
    path = write_tiff(tmp_path / "a.tif", frames)
    np.testing.assert_array_equal(tifffile.imread(path)[0], frames[0, ::-1])
    with Movie(path) as tiff, Movie(write_mrc(tmp_path / "a.mrc", frames, 1.0)) as mrc:
        np.testing.assert_array_equal(tiff.frame(1), mrc.frame(1))
        assert tiff.shape == mrc.shape == (3, 7, 10)
    with Movie(path, tiff_first_row="bottom") as turned:
        np.testing.assert_array_equal(turned.frame(0), frames[0, ::-1])


def test_pages_of_another_program(tmp_path: Path, frames: np.ndarray) -> None:
    """A TIFF without resolution tags has an unknown pixel size."""
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="minisblack")
    with TiffMovie(tmp_path / "a.tif", first_row="bottom") as movie:
        assert movie.pixel_size_angstrom == 0.0
        np.testing.assert_array_equal(movie.frame(2), frames[2])


def _read_all(path: Path) -> None:
    with TiffMovie(path) as movie:
        for index in range(movie.n_frames):
            movie.frame(index)


def test_damage_is_named(tmp_path: Path, frames: np.ndarray) -> None:
    """Missing, cut-off and foreign files give one clear error each."""
    with pytest.raises(InputError, match="no such file"):
        TiffMovie(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("not a picture")
    with pytest.raises(FormatError, match="not a complete TIFF"):
        TiffMovie(tmp_path / "text.tif")
    path = write_tiff(tmp_path / "a.tif", frames)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match=r"damaged|complete") as caught:
        _read_all(path)
    assert str(path) in str(caught.value.where)
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((5, 6, 3), dtype=np.uint8), photometric="rgb")
    with pytest.raises(FormatError, match="grey"):
        TiffMovie(tmp_path / "rgb.tif")


def test_frames_of_different_sizes(tmp_path: Path) -> None:
    """A page of another size is refused when it is read."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((5, 6), dtype=np.uint8))
        writer.write(np.zeros((5, 7), dtype=np.uint8))
    with TiffMovie(tmp_path / "a.tif") as movie, pytest.raises(FormatError, match="7, 5"):
        movie.frame(1)


def test_nan_frames_and_eer(tmp_path: Path) -> None:
    """NaN in a frame names the frame; EER says what to do."""
    data = np.ones((2, 5, 6), dtype=np.float32)
    data[1, 0, 0] = np.nan
    with Movie(write_tiff(tmp_path / "a.tif", data)) as movie:
        movie.frame(0)
        with pytest.raises(FormatError, match="NaN") as caught:
            movie.frame(1)
    assert "section 1" in str(caught.value.where)
    with pytest.raises(FormatError, match="EER"):
        Movie(tmp_path / "a.eer")


def test_gain_reference(tmp_path: Path) -> None:
    """A gain reference must be one positive image of the frames' size."""
    gain = np.full((5, 6), 1.1, dtype=np.float32)
    path = write_mrc(tmp_path / "gain.mrc", gain, 1.0)
    np.testing.assert_array_equal(read_gain(path, (5, 6)), gain)
    with pytest.raises(FormatError, match="turn it by 90") as caught:
        read_gain(path, (6, 5))
    assert caught.value.where == str(path)
    with pytest.raises(FormatError, match="6 x 5, the frames are 8 x 8"):
        read_gain(path, (8, 8))
    with pytest.raises(FormatError, match="positive"):
        read_gain(write_mrc(tmp_path / "zero.mrc", gain * 0, 1.0), (5, 6))
    with pytest.raises(FormatError, match="one image"):
        read_gain(write_mrc(tmp_path / "two.mrc", np.stack([gain, gain]), 1.0), (5, 6))
