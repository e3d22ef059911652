"""MRC files: what is written is what mrcfile reads, and every damage is named."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from staproj.errors import FormatError, InputError, StorageError
from staproj.formats.mrc import MrcWriter, check_finite, map_mrc, read_info, read_mrc, write_mrc


@pytest.mark.parametrize("shape", [(1, 4, 6), (3, 5, 7), (2, 8, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_round_trip_and_validity(
    tmp_path: Path, rng: np.random.Generator, shape: tuple[int, int, int], dtype: type
) -> None:
    """Data and pixel size come back, and mrcfile's validator finds nothing to complain about."""
    data = rng.normal(3.0, 2.0, shape).astype(dtype).astype(np.float32)
    path = write_mrc(tmp_path / "a.mrc", data, 1.35, dtype=dtype)
    back, pixel = read_mrc(path)
    np.testing.assert_array_equal(back, data)
    assert pixel == pytest.approx(1.35)
    assert mrcfile.validate(str(path))
    with mrcfile.open(path) as handle:
        np.testing.assert_array_equal(np.asarray(handle.data, dtype=np.float32).reshape(shape), data)
        assert float(handle.voxel_size.y) == pytest.approx(1.35)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32, np.uint16, np.float16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_modes_written_by_mrcfile(tmp_path: Path, dtype: type, order: str) -> None:
    """Modes 0, 1, 2, 6 and 12 in either byte order read as mrcfile wrote them."""
    data = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(np.dtype(dtype).newbyteorder(order))
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as handle:
        handle.set_data(data)
        handle.voxel_size = 2.5
    back, pixel = read_mrc(path)
    np.testing.assert_array_equal(back, data.astype(np.float32))
    assert pixel == pytest.approx(2.5)


def test_extended_header_is_skipped(tmp_path: Path) -> None:
    """Data start after the extended header."""
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as handle:
        handle.set_data(np.ones((2, 3, 4), dtype=np.float32))
        handle.set_extended_header(np.zeros(300, dtype="V1"))
    np.testing.assert_array_equal(read_mrc(path)[0], 1.0)
    assert read_info(path).data_offset == 1324


def test_unsigned_bytes_of_imod(tmp_path: Path) -> None:
    """Bytes above 127 are positive where IMOD's stamp says that bytes are unsigned."""
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as handle:
        handle.set_data(np.array([[[-1, 5]]], dtype=np.int8))
    assert read_mrc(path)[0].ravel().tolist() == [-1.0, 5.0]
    raw = bytearray(path.read_bytes())
    raw[152:160] = np.array([1146047817, 0], dtype="<i4").tobytes()
    path.write_bytes(raw)
    assert read_mrc(path)[0].ravel().tolist() == [255.0, 5.0]


def test_same_bytes_twice(tmp_path: Path) -> None:
    """Files hold no time: equal content gives equal bytes, and no temporary file stays."""
    data = np.ones((2, 3, 4), dtype=np.float32)
    files = [write_mrc(tmp_path / name, data, 1.0).read_bytes() for name in ("a.mrc", "b.mrc")]
    assert files[0] == files[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mrc", "b.mrc"]


def test_writer_leaves_nothing_behind_when_stopped(tmp_path: Path) -> None:
    """An error while writing removes the temporary file and never shows the final name."""
    target = tmp_path / "a.mrc"

    def stop() -> None:
        with MrcWriter(target, (2, 3, 4), 1.0) as writer:
            writer.append(np.zeros((3, 4), dtype=np.float32))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    with pytest.raises(ValueError, match="0 of 2"), MrcWriter(target, (2, 3, 4), 1.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_full_disk() -> None:
    """A disk without space gives one error that says so."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    writer = MrcWriter.__new__(MrcWriter)
    writer.path, writer.shape_zyx, writer._dtype = Path("out.mrc"), (1, 600, 600), np.dtype("<f4")
    writer._written, writer._sum, writer._sum2 = 0, 0.0, 0.0
    writer._minimum, writer._maximum = np.inf, -np.inf
    with full.open("wb", buffering=0) as handle:
        writer._handle = handle  # type: ignore[assignment]
        with pytest.raises(StorageError, match="No space left"):
            writer.append(np.zeros((600, 600), dtype=np.float32))


def test_unknown_pixel_size_is_zero(tmp_path: Path) -> None:
    """A header that says 0 comes back as 0.0, never as a guess."""
    assert read_mrc(write_mrc(tmp_path / "a.mrc", np.ones((1, 2, 2)), 0.0))[1] == 0.0


def _broken(tmp_path: Path, how: str) -> Path:
    path = write_mrc(tmp_path / "a.mrc", np.ones((3, 4, 5), dtype=np.float32), 1.0)
    raw = path.read_bytes()
    changed = {
        "truncated": raw[:-30],
        "header only": raw[:1024],
        "short": raw[:500],
        "too long": raw + b"\0" * 200,
        "text": b"PixelSpacing = 5.4\n" * 80,
        "noise": np.random.default_rng(1).bytes(4000),
        "gzip": b"\x1f\x8b" + raw,
        "empty": b"",
        "mode": raw[:12] + np.int32(4).tobytes() + raw[16:],
        "negative": np.int32(-5).tobytes() + raw[4:],
        "axes": raw[:64] + np.array([3, 2, 1], dtype="<i4").tobytes() + raw[76:],
    }[how]
    path.write_bytes(changed)
    return path


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("truncated", "2 are complete"),
        ("header only", "0 are complete"),
        ("short", "truncated"),
        ("too long", "wrong size"),
        ("text", "not an MRC file"),
        ("noise", "not an MRC file"),
        ("gzip", "compressed"),
        ("empty", "truncated"),
        ("mode", "mode 4"),
        ("negative", "impossible size"),
        ("axes", "order x, y, z"),
    ],
)
def test_damage_is_named(tmp_path: Path, how: str, says: str) -> None:
    """Each kind of damage gives a FormatError that names file and remedy."""
    path = _broken(tmp_path, how)
    with pytest.raises(FormatError, match=says) as caught:
        read_info(path)
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_missing_file(tmp_path: Path) -> None:
    """A missing file is an InputError with its path."""
    with pytest.raises(InputError, match="no such file") as caught:
        read_info(tmp_path / "none.mrc")
    assert str(tmp_path / "none.mrc") in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    """NaN and infinities are refused with their number and section."""
    data = np.ones((3, 4, 5), dtype=np.float32)
    data[1, 2, 3] = value
    path = write_mrc(tmp_path / "a.mrc", np.ones((3, 4, 5), dtype=np.float32), 1.0)
    path.write_bytes(path.read_bytes()[:1024] + data.tobytes())
    with pytest.raises(FormatError, match="1 of 60 pixels are NaN or infinite"):
        read_mrc(path)
    mapped, _ = map_mrc(path)
    check_finite(mapped[0], path, 0)
    with pytest.raises(FormatError, match="NaN") as caught:
        check_finite(mapped[1], path, 1)
    assert "section 1" in str(caught.value.where)
