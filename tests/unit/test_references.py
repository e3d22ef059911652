"""The literature that stages cite: whole entries, valid BibTeX, no citation without an entry."""

from __future__ import annotations

import re

import pytest

from staproj.stages import references, registry
from tests import bibtex_reader

NEEDED = {
    "article": {"author", "title", "journal", "year", "volume", "pages"},
    "incollection": {"author", "title", "booktitle", "publisher", "year", "pages"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "book": {"author", "title", "publisher", "year"},
    "misc": {"author", "title", "year"},
}


@pytest.fixture(scope="module")
def entries() -> dict[str, dict[str, str]]:
    """Return all entries as another reader of BibTeX sees them."""
    own = references.staproj_itself("0.1.0+local.1", 2026)
    return bibtex_reader.read(references.bibtex([*references.REFERENCES.values(), own]))


def test_every_entry_is_whole(entries: dict[str, dict[str, str]]) -> None:
    """Each entry has the fields its type needs, and plain characters that BibTeX can typeset."""
    assert set(references.REFERENCES) < set(entries)
    assert references.bibtex(references.REFERENCES.values()).isascii()
    for key, fields in entries.items():
        assert NEEDED[fields["@"]] <= set(fields), key
        assert re.fullmatch(r"(19|20)\d\d", fields["year"]), key
        assert not re.search(r"(?<!\\)[&%#]", "".join(v for name, v in fields.items() if name != "doi")), key
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", key)
        if "pages" in fields:
            assert re.fullmatch(r"e?\d+(--\d+)?", fields["pages"]), key
        if "doi" in fields:
            assert re.fullmatch(r"10\.\d{4,}/\S+", fields["doi"]), key


def test_pages_and_dois_are_of_one_entry_each(entries: dict[str, dict[str, str]]) -> None:
    """No DOI stands for two works, and pages run forwards."""
    dois = [fields["doi"].lower() for fields in entries.values() if "doi" in fields]
    assert len(dois) == len(set(dois))
    for fields in entries.values():
        first, _, last = fields.get("pages", "1").partition("--")
        if last:
            assert int(first) < int(last)


@pytest.mark.parametrize(
    ("key", "family", "year", "volume", "first_page"),
    [  # looked up by hand, independent of the table
        ("Rohou2015", "Rohou", "2015", "192", "216"),
        ("Xiong2009", "Xiong", "2009", "168", "378"),
        ("Kremer1996", "Kremer", "1996", "116", "71"),
        ("Hagen2017", "Hagen", "2017", "197", "191"),
        ("Mastronarde2008", "Mastronarde", "2008", "230", "212"),
        ("Turonova2017", r"Turo{\v{n}}ov", "2017", "199", "187"),
        ("Rosenthal2003", "Rosenthal", "2003", "333", "721"),
        ("Chen2013", "Chen", "2013", "135", "24"),
        ("Harris2020", "Harris", "2020", "585", "357"),
        ("Virtanen2020", "Virtanen", "2020", "17", "261"),
    ],
)
def test_entries_are_those_of_the_journals(
    entries: dict[str, dict[str, str]], key: str, family: str, year: str, volume: str, first_page: str
) -> None:
    """First author, year, volume and first page of well-known papers are right."""
    entry = entries[key]
    assert entry["author"].startswith(family)
    assert (entry["year"], entry["volume"], entry["pages"].partition("--")[0]) == (year, volume, first_page)


def test_every_citation_of_every_stage_resolves() -> None:
    """Built-in stages cite keys that exist; nothing in the table is never cited by stage or software."""
    cited = {key for spec in registry.all_stages() for key in spec.citations}
    assert cited | set(references.SOFTWARE.values()) == set(references.REFERENCES)


def test_the_reader_of_this_test_finds_faults() -> None:
    """The checker refuses open braces, doubled keys and stray text."""
    good = "@article{a,\n author = {B},\n title = {{C} d}\n}"
    assert bibtex_reader.read(good) == {"a": {"@": "article", "author": "B", "title": "{C} d"}}
    for bad in (
        good + good,
        good[:-1],
        good.replace("{B}", "{B"),
        good + " x",
        good.replace("author =", "author"),
    ):
        with pytest.raises(ValueError, match=r"."):
            bibtex_reader.read(bad)
