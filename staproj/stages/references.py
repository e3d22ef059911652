"""The literature that stages cite, and the software they stand on, by BibTeX key.

A stage names keys in ``StageSpec.citations``. A field that is not certain is left out, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """One entry. ``authors`` are "Family, Given" in order; ``kind`` is the BibTeX type."""

    key: str
    kind: str
    authors: tuple[str, ...]
    title: str
    year: int
    journal: str = ""
    volume: str = ""
    number: str = ""
    pages: str = ""
    doi: str = ""
    book: str = ""
    publisher: str = ""

    def short(self) -> str:
        """Return ``Rohou & Grigorieff 2015``."""
        names = [author.partition(",")[0] for author in self.authors]
        who = " & ".join(names) if len(names) <= 2 else f"{names[0]} et al."
        return f"{who} {self.year}"

    def text(self) -> str:
        """Return the entry as one line of a list of references."""
        names = [author.replace(",", "", 1).strip("{}") for author in self.authors]
        shown = names if len(names) <= 8 else [*names[:7], "et al."]
        volume = f" {self.volume}" if self.volume else ""
        issue = f"({self.number})" if self.number else ""
        pages = f", {self.pages.replace('--', '–')}" if self.pages else ""
        where = f"{self.journal or self.book or self.publisher}{volume}{issue}{pages}"
        parts = [
            f"{', '.join(shown)} ({self.year})",
            self.title,
            where,
            f"doi:{self.doi}" if self.doi else "",
        ]
        return ". ".join(part for part in parts if part)

    def bibtex(self) -> str:
        """Return the entry as BibTeX."""
        fields = {
            "author": " and ".join(self.authors),
            "title": "{" + self.title + "}",
            "journal": self.journal,
            "booktitle": self.book,
            "publisher": self.publisher,
            "year": str(self.year),
            "volume": self.volume,
            "number": self.number,
            "pages": self.pages,
            "doi": self.doi,
        }
        lines = [
            f"  {name} = {{{value if name == 'doi' else _latex(value)}}}"
            for name, value in fields.items()
            if value
        ]
        return f"@{self.kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"


_LATEX = {
    "ä": r"{\"a}", "ö": r"{\"o}", "ü": r"{\"u}", "á": r"{\'a}", "é": r"{\'e}", "í": r"{\'i}", "ó": r"{\'o}",
    "Å": r"{\AA}", "ň": r"{\v{n}}", "č": r"{\v{c}}", "š": r"{\v{s}}", "&": r"\&", "–": "--", "—": "---",
    "Á": r"{\'A}", "ø": r"{\o}", "ñ": r"{\~n}", "%": r"\%", "_": r"\_", "#": r"\#",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _article(
    key: str, authors: str, title: str, journal: str, year: int, volume: str, pages: str, doi: str = "",
    number: str = "",
) -> Reference:  # fmt: skip
    people = tuple(name.strip() for name in authors.split(";"))
    return Reference(key, "article", people, title, year, journal, volume, number, pages, doi)


_JSB = "Journal of Structural Biology"
_ENTRIES = (
    _article(
        "Kremer1996", "Kremer, James R.; Mastronarde, David N.; McIntosh, J. Richard",
        "Computer visualization of three-dimensional image data using IMOD",
        _JSB, 1996, "116", "71--76", "10.1006/jsbi.1996.0013",
    ),
    _article(
        "Guckenberger1982", "Guckenberger, R.",
        "Determination of a common origin in the micrographs of tilt series in three-dimensional electron "
        "microscopy",
        "Ultramicroscopy", 1982, "9", "167--173",
    ),
    _article(
        "Rohou2015", "Rohou, Alexis; Grigorieff, Nikolaus",
        "CTFFIND4: Fast and accurate defocus estimation from electron micrographs",
        _JSB, 2015, "192", "216--221", "10.1016/j.jsb.2015.08.008",
    ),
    _article(
        "Xiong2009",
        "Xiong, Quanren; Morphew, Mary K.; Schwartz, Cindi L.; Hoenger, Andreas H.; Mastronarde, David N.",
        "CTF determination and correction for low dose tomographic tilt series",
        _JSB, 2009, "168", "378--387", "10.1016/j.jsb.2009.08.016",
    ),
    _article(
        "Mastronarde2017", "Mastronarde, David N.; Held, Susannah R.",
        "Automated tilt series alignment and tomographic reconstruction in IMOD",
        _JSB, 2017, "197", "102--113", "10.1016/j.jsb.2016.07.011",
    ),
    _article(
        "Mastronarde2008", "Mastronarde, David N.",
        "Correction for non-perpendicularity of beam and tilt axis in tomographic reconstructions with the "
        "IMOD package",
        "Journal of Microscopy", 2008, "230", "212--217", "10.1111/j.1365-2818.2008.01977.x",
    ),
    Reference(
        "Triggs2000", "incollection",
        ("Triggs, Bill", "McLauchlan, Philip F.", "Hartley, Richard I.", "Fitzgibbon, Andrew W."),
        "Bundle adjustment — a modern synthesis", 2000, volume="1883", pages="298--372",
        doi="10.1007/3-540-44480-7_21", book="Vision Algorithms: Theory and Practice", publisher="Springer",
    ),
    _article(
        "Harauz1986", "Harauz, George; van Heel, Marin",
        "Exact filters for general geometry three dimensional reconstruction",
        "Optik", 1986, "73", "146--156",
    ),
    _article(
        "Rosenthal2003", "Rosenthal, Peter B.; Henderson, Richard",
        "Optimal determination of particle orientation, absolute hand, and contrast loss in single-particle "
        "electron cryomicroscopy",
        "Journal of Molecular Biology", 2003, "333", "721--745", "10.1016/j.jmb.2003.07.013",
    ),
    _article(
        "Chen2013",
        "Chen, Shaoxia; McMullan, Greg; Faruqi, Abdul R.; Murshudov, Garib N.; Short, Judith M.; "
        "Scheres, Sjors H. W.; Henderson, Richard",
        "High-resolution noise substitution to measure overfitting and validate resolution in 3D structure "
        "determination by single particle electron cryomicroscopy",
        "Ultramicroscopy", 2013, "135", "24--35", "10.1016/j.ultramic.2013.06.004",
    ),
    _article(
        "Scheres2012", "Scheres, Sjors H. W.; Chen, Shaoxia",
        "Prevention of overfitting in cryo-EM structure determination",
        "Nature Methods", 2012, "9", "853--854", "10.1038/nmeth.2115",
    ),
    _article(
        "Mastronarde2005", "Mastronarde, David N.",
        "Automated electron microscope tomography using robust prediction of specimen movements",
        _JSB, 2005, "152", "36--51", "10.1016/j.jsb.2005.07.007",
    ),
    _article(
        "Hagen2017", "Hagen, Wim J. H.; Wan, William; Briggs, John A. G.",
        "Implementation of a cryo-electron tomography tilt-scheme optimized for high resolution subtomogram "
        "averaging",
        _JSB, 2017, "197", "191--198", "10.1016/j.jsb.2016.06.007",
    ),
    _article(
        "Li2013",
        "Li, Xueming; Mooney, Paul; Zheng, Shawn; Booth, Christopher R.; Braunfeld, Michael B.; "
        "Gubbens, Sander; Agard, David A.; Cheng, Yifan",
        "Electron counting and beam-induced motion correction enable near-atomic-resolution single-particle "
        "cryo-EM",
        "Nature Methods", 2013, "10", "584--590", "10.1038/nmeth.2472",
    ),
    _article(
        "Mastronarde2018", "Mastronarde, David N.",
        "Advanced data acquisition from electron microscopes with SerialEM",
        "Microscopy and Microanalysis", 2018, "24", "864--865", "10.1017/S1431927618004816", number="S1",
    ),
    _article(
        "Grant2015", "Grant, Timothy; Grigorieff, Nikolaus",
        "Measuring the optimal exposure for single particle cryo-EM using a 2.6 Å reconstruction of "
        "rotavirus VP6",
        "eLife", 2015, "4", "e06980", "10.7554/eLife.06980",
    ),
    Reference(
        "Radermacher1992", "incollection", ("Radermacher, Michael",),
        "Weighted back-projection methods", 1992,
        pages="91--115", book="Electron Tomography: Three-Dimensional Imaging with the Transmission Electron "
        "Microscope", publisher="Plenum Press",
    ),
    _article(
        "Turonova2017", "Turoňová, Beata; Schur, Florian K. M.; Wan, William; Briggs, John A. G.",
        "Efficient 3D-CTF correction for cryo-electron tomography using NovaCTF improves subtomogram "
        "averaging resolution to 3.4 Å",
        _JSB, 2017, "199", "187--195", "10.1016/j.jsb.2017.07.007",
    ),
    _article(
        "Gonzalez2010", "González, Álvaro",
        "Measurement of areas on a sphere using Fibonacci and latitude–longitude lattices",
        "Mathematical Geosciences", 2010, "42", "49--64", "10.1007/s11004-009-9257-x",
    ),
    _article(
        "Harris2020",
        "Harris, Charles R.; Millman, K. Jarrod; van der Walt, Stéfan J.; Gommers, Ralf; Virtanen, Pauli; "
        "Cournapeau, David; Wieser, Eric; Taylor, Julian; Berg, Sebastian; Smith, Nathaniel J.; others",
        "Array programming with NumPy",
        "Nature", 2020, "585", "357--362", "10.1038/s41586-020-2649-2",
    ),
    _article(
        "Virtanen2020",
        "Virtanen, Pauli; Gommers, Ralf; Oliphant, Travis E.; Haberland, Matt; Reddy, Tyler; "
        "Cournapeau, David; Burovski, Evgeni; Peterson, Pearu; Weckesser, Warren; Bright, Jonathan; others",
        "SciPy 1.0: fundamental algorithms for scientific computing in Python",
        "Nature Methods", 2020, "17", "261--272", "10.1038/s41592-019-0686-2",
    ),
    Reference(
        "Lam2015", "inproceedings", ("Lam, Siu Kwan", "Pitrou, Antoine", "Seibert, Stanley"),
        "Numba: a LLVM-based Python JIT compiler", 2015, pages="1--6", doi="10.1145/2833157.2833162",
        book="Proceedings of the Second Workshop on the LLVM Compiler Infrastructure in HPC",
        publisher="ACM",
    ),
    Reference(
        "Collette2013", "book", ("Collette, Andrew",), "Python and HDF5", 2013, publisher="O'Reilly Media",
    ),
    _article(
        "Burnley2017", "Burnley, Tom; Palmer, Colin M.; Winn, Martyn",
        "Recent developments in the CCP-EM software suite",
        "Acta Crystallographica Section D", 2017, "73", "469--477", "10.1107/S2059798317007859",
    ),
)  # fmt: skip

REFERENCES: dict[str, Reference] = {entry.key: entry for entry in _ENTRIES}

SOFTWARE = {
    "numpy": "Harris2020",
    "scipy": "Virtanen2020",
    "numba": "Lam2015",
    "h5py": "Collette2013",
    "mrcfile": "Burnley2017",
}
"""Packages that staproj computes and stores with, and what their authors ask to be cited."""


def get(key: str) -> Reference | None:
    """Return the reference of a key; ``None`` for free text, as stages from plug-ins may give."""
    return REFERENCES.get(key)


def say(citation: str) -> str:
    """Return a citation of a stage as a person reads it."""
    found = get(citation)
    return found.text() if found else citation


def bibtex(references: Iterable[Reference]) -> str:
    """Return a BibTeX file."""
    return "\n\n".join(entry.bibtex() for entry in references) + "\n"


def staproj_itself(version: str, year: int) -> Reference:
    """Return the entry of this software, as it was used."""
    return Reference(
        "staproj" + re.sub(r"[^0-9A-Za-z]+", "-", version),
        "misc",
        ("{the staproj developers}",),
        f"staproj, version {version}",
        year,
    )
