"""SerialEM metadata (``.mdoc``): one section a view, in the words of real files.

Tolerated, because real files have it: global keys and titles with or without brackets, blanks after
``[ZValue = 0]``, empty values, Windows and network paths, two- and four-digit years, missing doses, keys
nobody knows (kept). The tilt axis is counter-clockwise-positive from +y, as in the title's
``Tilt axis angle``; a section's ``RotationAngle`` is 90 deg larger. SerialEM's negative defocus is
underfocus; here underfocus is positive.
"""

from __future__ import annotations

import datetime
import math
import ntpath
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError

Float = NDArray[np.float64]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SECTION = re.compile(r"^\[\s*(ZValue|FrameSet|MontSection)\s*=\s*(-?\d+)\s*\]\s*$")
_TITLE = re.compile(r"^\[?\s*T\s*=\s*(.*?)\s*\]?\s*$")
_AXIS = re.compile(r"tilt\s*axis\s*angle\s*=\s*([-+]?\d+(?:\.\d*)?)", re.IGNORECASE)
_BINNING = re.compile(r"binning\s*=\s*(\d+(?:\.\d*)?)", re.IGNORECASE)
_DATE = re.compile(r"^(\d{1,2})-([A-Za-z]{3})-(\d{2}|\d{4})\s+(\d{1,2}):(\d{2}):(\d{2})$")
_STEM_SUFFIXES = (
    ".mdoc",
    ".mrc",
    ".mrcs",
    ".st",
    ".ali",
    ".tif",
    ".tiff",
    ".eer",
    ".rawtlt",
    ".tlt",
    ".txt",
    ".csv",
)
_ROTATION_MINUS_AXIS_DEG = 90.0


@dataclass(frozen=True)
class Section:
    """One ``[ZValue = n]`` section: its number and its keys as text."""

    number: int
    values: dict[str, str] = field(default_factory=dict)

    def number_of(self, key: str) -> float | None:
        """Return the first number of a key, ``None`` where it is absent, empty or not a number."""
        return _first_number(self.values.get(key, ""))

    @property
    def tilt_deg(self) -> float | None:
        """Stage tilt, deg."""
        return self.number_of("TiltAngle")

    @property
    def movie_name(self) -> str | None:
        """File name of the frames: the last part of ``SubFramePath``, whichever slashes it has."""
        name = ntpath.basename(self.values.get("SubFramePath", "").strip())
        return name or None

    @property
    def n_frames(self) -> int | None:
        """Number of frames."""
        count = self.number_of("NumSubFrames")
        return int(count) if count else None

    @property
    def exposure_e_per_angstrom2(self) -> float | None:
        """Exposure of the view; ``None`` where the file says nothing or 0."""
        exposure = self.number_of("ExposureDose")
        return exposure if exposure else None

    @property
    def nominal_defocus_um(self) -> float:
        """Underfocus that was aimed at (NaN where not written)."""
        target = self.number_of("TargetDefocus")
        return math.nan if target is None else -target

    @property
    def time(self) -> datetime.datetime | None:
        """When the view was recorded, ``None`` where not written or not understood."""
        return parse_time(self.values.get("DateTime", ""))


@dataclass(frozen=True)
class Mdoc:
    """An ``.mdoc`` file: global keys, titles and sections in the order of the file."""

    path: Path
    header: dict[str, str]
    titles: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def tilt_series_id(self) -> str:
        """Name of the series: the file name without ``.mdoc`` and the suffix of the stack."""
        return series_id(self.path)

    @property
    def voltage_kv(self) -> float | None:
        """Acceleration voltage, kV."""
        return _first_number(self.header.get("Voltage", "")) or None

    @property
    def pixel_size_angstrom(self) -> float | None:
        """Pixel size of the image the file belongs to (movies may be binned less), Å."""
        values = [self.sections[0].number_of("PixelSpacing") if self.sections else None]
        values.append(_first_number(self.header.get("PixelSpacing", "")))
        return next((value for value in values if value), None)

    @property
    def binning(self) -> float | None:
        """Binning of that image against the pixels of the camera (0.5: super-resolution)."""
        written = self.sections[0].number_of("Binning") if self.sections else None
        titles = [_BINNING.search(title) for title in self.titles]
        return written or next((float(found.group(1)) for found in titles if found), None)

    @property
    def image_size_xy(self) -> tuple[int, int] | None:
        """Size of the image the file belongs to."""
        words = self.header.get("ImageSize", "").split()
        try:
            return (int(words[0]), int(words[1]))
        except (IndexError, ValueError):
            return None

    @property
    def tilt_axis_deg(self) -> float | None:
        """Tilt axis, counter-clockwise from +y: from the titles, else from ``RotationAngle``."""
        for title in self.titles:
            found = _AXIS.search(title)
            if found:
                return float(found.group(1))
        for section in self.sections:
            rotation = section.number_of("RotationAngle")
            if rotation is not None:
                return (rotation - _ROTATION_MINUS_AXIS_DEG + 180.0) % 360.0 - 180.0
        return None


def read_mdoc(path: Path) -> Mdoc:
    """Read the ``.mdoc`` file of a tilt series.

    Raises
    ------
    FormatError
        If it holds no tilt-series sections (montages, metadata of single movies) or a section has no
        tilt angle.
    """
    mdoc = parse_mdoc(path)
    if not mdoc.sections:
        raise FormatError(
            "the file has no [ZValue = n] sections of a tilt series",
            where=str(path),
            hint="give the mdoc of the whole tilt series, not that of a montage or of one movie",
        )
    for section in mdoc.sections:
        tilt = section.tilt_deg
        if tilt is None or not math.isfinite(tilt):
            raise FormatError(
                "the section has no TiltAngle",
                where=f"{path}, [ZValue = {section.number}]",
                hint="add the line `TiltAngle = ...` or remove the section",
            )
    return mdoc


def parse_mdoc(path: Path) -> Mdoc:
    """Read keys, titles and ``[ZValue]`` sections, whatever they are.

    Raises
    ------
    InputError
        If the file is missing.
    FormatError
        If it is not text of ``key = value`` lines.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror or error}", where=str(path)) from error
    header: dict[str, str] = {}
    titles: list[str] = []
    sections: list[Section] = []
    ignored: dict[str, str] = {}
    current = header
    for line in text.removeprefix("\ufeff").splitlines():
        stripped = line.strip()
        started = _SECTION.match(stripped)
        if started:
            current = ignored = {}
            if started.group(1) == "ZValue":
                current = {}
                sections.append(Section(int(started.group(2)), current))
            continue
        title = _TITLE.match(stripped)
        if title and (stripped.startswith("[") or current is header):
            titles.append(title.group(1))
            continue
        key, equals, value = stripped.partition("=")
        if equals:
            current[key.strip()] = value.strip()
    if not header and not titles and not sections and not ignored:
        raise FormatError("this is not an mdoc file", where=str(path), hint="check the pattern of `mdoc`")
    return Mdoc(path, header, tuple(titles), tuple(sections))


def series_id(path: Path) -> str:
    """Return the name of a tilt series from a file of it: ``TS_01.mrc.mdoc`` gives ``TS_01``."""
    name = path.name
    while True:
        for suffix in _STEM_SUFFIXES:
            if name.lower().endswith(suffix) and len(name) > len(suffix):
                name = name[: -len(suffix)]
                break
        else:
            return name


def parse_time(text: str) -> datetime.datetime | None:
    """Read ``08-Oct-21  07:47:29`` with a two- or four-digit year; ``None`` where it is something else."""
    found = _DATE.match(text.strip())
    if not found:
        return None
    day, month, year, hour, minute, second = found.groups()
    if month.lower() not in _MONTHS:
        return None
    full_year = int(year) + (2000 if len(year) == 2 else 0)
    month_number = _MONTHS.index(month.lower()) + 1
    try:
        return datetime.datetime(full_year, month_number, int(day), int(hour), int(minute), int(second))
    except ValueError:
        return None


@dataclass(frozen=True, eq=False)
class Order:
    """When each section was recorded (0 = first), and how that is known.

    ``prior_e_per_angstrom2`` is SerialEM's own sum before each section, where every section has it.
    """

    acquisition_index: NDArray[np.int64]
    source: str
    prior_e_per_angstrom2: Float | None


def acquisition_order(mdoc: Mdoc) -> Order:
    """Find the order of recording: by ``PriorRecordDose``, else ``DateTime``, else that of the file.

    ``source`` is ``"PriorRecordDose"``, ``"DateTime"`` or ``"file"``; callers must tell people of the last.
    """
    n = len(mdoc.sections)
    prior = [section.number_of("PriorRecordDose") for section in mdoc.sections]
    known = np.array([value for value in prior if value is not None], dtype=np.float64)
    if len(known) == n and len(np.unique(known)) == n:
        return Order(_ranks(known), "PriorRecordDose", known)
    times = [section.time for section in mdoc.sections]
    found = [time for time in times if time is not None]
    if len(found) == n and (n == 1 or len(set(found)) > 1):
        first = min(found)
        return Order(_ranks(np.array([(time - first).total_seconds() for time in found])), "DateTime", None)
    return Order(np.arange(n, dtype=np.int64), "file", None)


def _ranks(values: Float) -> NDArray[np.int64]:
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def _first_number(text: str) -> float | None:
    words = text.replace(",", " ").split()
    try:
        value = float(words[0])
    except (IndexError, ValueError):
        return None
    return value if math.isfinite(value) else None
