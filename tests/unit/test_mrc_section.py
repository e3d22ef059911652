"""Sections of MRC files: equal to slices of the array that mrcfile wrote, with few bytes read and held."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from staproj.errors import FormatError
from staproj.formats import mrc_section
from staproj.formats.mrc import read_info
from staproj.formats.mrc_section import averaged, read_section


def _write(path: Path, data: np.ndarray, pixel_size: float = 2.5) -> Path:
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(data)
        mrc.voxel_size = pixel_size
    return path


@pytest.fixture
def volume() -> np.ndarray:
    """Return random values, of three different odd and even sizes."""
    return np.random.default_rng(3).normal(size=(7, 12, 9)).astype(np.float32)


def test_sections_are_slices(tmp_path: Path, volume: np.ndarray) -> None:
    """Across each axis, first, middle and last, a section is that slice of the array."""
    info = read_info(_write(tmp_path / "v.mrc", volume))
    for axis, number in (("z", 0), ("y", 1), ("x", 2)):
        for index in (0, volume.shape[number] // 2, volume.shape[number] - 1):
            found = read_section(info, axis, index, max_px=64)  # type: ignore[arg-type]
            assert np.array_equal(found.values, volume.take(index, axis=number))
            assert (found.reduced, found.row_step) == (1, 1)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.float32, np.float16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_mode_and_byte_order(tmp_path: Path, dtype: type, order: str) -> None:
    """Values come out as numbers whatever the type of the file."""
    data = np.random.default_rng(5).integers(0, 120, (3, 5, 4)).astype(np.dtype(dtype).newbyteorder(order))
    info = read_info(_write(tmp_path / "v.mrc", data))
    for axis, number in (("z", 0), ("y", 1), ("x", 2)):
        found = read_section(info, axis, 1, max_px=64)  # type: ignore[arg-type]
        assert found.values.dtype == np.float32
        assert np.array_equal(found.values, data.take(1, axis=number).astype(np.float32))


def _block_means(plane: np.ndarray, factor: int) -> np.ndarray:
    """Return the means of blocks, one after the other."""
    rows = range(0, plane.shape[0], factor)
    columns = range(0, plane.shape[1], factor)
    return np.array([[plane[r : r + factor, c : c + factor].mean() for c in columns] for r in rows])


@pytest.mark.parametrize("band", [1, 10, 40, 1 << 20])
@pytest.mark.parametrize("max_px", [3, 4, 5, 11])
def test_reduced_sections_are_means_of_blocks(
    tmp_path: Path, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch, band: int, max_px: int
) -> None:
    """However a section is cut into bands, each pixel is the mean of its block; the last are smaller."""
    monkeypatch.setattr(mrc_section, "BAND_VALUES", band)
    info = read_info(_write(tmp_path / "v.mrc", volume))
    for axis, number in (("z", 0), ("y", 1), ("x", 2)):
        plane = volume.take(4, axis=number)
        found = read_section(info, axis, 4, max_px=max_px)  # type: ignore[arg-type]
        assert found.reduced == -(-max(plane.shape) // max_px)
        assert np.allclose(found.values, _block_means(plane.astype(np.float64), found.reduced), atol=1e-5)
        assert max(found.values.shape) <= max_px


def test_the_mean_of_a_picture() -> None:
    """A picture in memory is averaged by the same rule."""
    picture = np.random.default_rng(1).normal(size=(11, 6)).astype(np.float32)
    assert np.allclose(averaged(picture, 4), _block_means(picture.astype(np.float64), 4), atol=1e-6)


def test_a_large_x_section_looks_at_some_rows_only(
    tmp_path: Path, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all would be too much, every n-th z section is read, at least one for each row shown."""
    monkeypatch.setattr(mrc_section, "MAX_READ_BYTES", volume.nbytes // 2)
    info = read_info(_write(tmp_path / "v.mrc", volume))
    found = read_section(info, "x", 4, max_px=4)  # 12 px a side: of 3 rows the first and third are read
    assert (found.reduced, found.row_step) == (3, 2)
    rows = np.stack([volume[[0, 2], :, 4].mean(0), volume[[3, 5], :, 4].mean(0), volume[6, :, 4]])
    assert np.allclose(found.values, rows.reshape(3, 4, 3).mean(axis=2), atol=1e-6)
    assert read_section(info, "z", 4, max_px=4).row_step == 1


def _huge(path: Path) -> Path:
    """Write a volume of 6.4 GB, nearly all of it a hole, whose section 300 is a ramp."""
    small = _write(path, np.zeros((1, 8, 8), dtype=np.float32))
    header = np.fromfile(small, dtype=mrcfile.dtypes.HEADER_DTYPE, count=1)
    header["nx"] = header["ny"] = header["mx"] = header["my"] = 2000
    header["nz"] = header["mz"] = 400
    with path.open("wb") as handle:
        handle.write(header.tobytes())
        handle.seek(1024 + 300 * 16_000_000)
        handle.write(np.arange(4_000_000, dtype="<f4").tobytes())
        handle.truncate(1024 + 400 * 16_000_000)
    return path


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_section_of_a_huge_volume_takes_its_own_bytes_only(tmp_path: Path) -> None:
    """A z section of 16 MB is read once, in bands; memory stays small, and no other section is touched."""
    info = read_info(_huge(tmp_path / "huge.mrc"))
    before = _bytes_read()
    tracemalloc.start()
    try:
        found = read_section(info, "z", 300, max_px=250)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 16_000_000 <= _bytes_read() - before < 17_000_000
    assert peak < 24 << 20
    assert found.values.shape == (250, 250)
    assert found.values[0, 0] == pytest.approx(3.5 * 2000 + 3.5)
    before = _bytes_read()
    across = read_section(info, "y", 1000, max_px=250)
    assert 400 * 8000 <= _bytes_read() - before < 400 * 8000 + 100_000
    assert across.values.shape == (50, 250)
    assert np.count_nonzero(across.values.any(axis=1)) == 1


def test_what_cannot_be_shown_is_refused(tmp_path: Path, volume: np.ndarray) -> None:
    """A file that was cut off after its header was read, and one with a side of millions of pixels."""
    path = _write(tmp_path / "v.mrc", volume)
    info = read_info(path)
    with path.open("r+b") as handle:
        handle.truncate(1024 + 5 * 12 * 9 * 4)
    assert read_section(info, "z", 4, max_px=9).values.shape == (6, 5)
    for axis in ("z", "y", "x"):
        with pytest.raises(FormatError, match="ends before"):
            read_section(info, axis, 6, max_px=64)  # type: ignore[arg-type]
    long = read_info(_write(tmp_path / "long.mrc", np.zeros((1, 1, 70_000), dtype=np.int8)))
    with pytest.raises(FormatError, match="too long"):
        read_section(long, "z", 0, max_px=64)
