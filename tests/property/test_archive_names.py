"""Archives with any names at all, right in every other way: nothing lands where it should not."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from staproj.api.archives import restore, verify_path
from staproj.errors import StaprojError
from staproj.project.bag import Oxum
from staproj.project.tarball import Member, header, name_problem, padding
from tests.integration.test_archive_hostile import MANIFEST_FILE, made_up

PARTS = st.sampled_from(
    ["a", "A", "b", "..", ".", "", "é", "e\u0301", "x y", "x ", "\\", "\n", "\x1b[1m", "\u202e", "~", "-rf"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join) | st.text(min_size=1, max_size=20)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=30)), max_size=4))
@settings(max_examples=250, deadline=None)
def test_names_lead_nowhere_else(files: list[tuple[str, bytes]]) -> None:
    """Accepted archives give exactly their files below the new directory; refused ones give nothing."""
    allowed = [(n, c) for n, c in files if not name_problem("b/data/" + n)]
    strange = [(n, c) for n, c in files if name_problem("b/data/" + n)]
    members: list[tuple[str, bytes] | bytes] = [MANIFEST_FILE, *allowed]
    for name, content in strange:
        try:
            raw = header(Member("b/data/" + name, len(content), 0))
        except UnicodeEncodeError:
            continue
        members.append(raw + content + bytes(padding(len(content))))
    total = sum(len(c) for _, c in files) + len(MANIFEST_FILE[1])
    oxum = Oxum(total, len(members)) if len(members) > 1 + len(allowed) else None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "in"
        place.mkdir()
        (place / "a.tar").write_bytes(made_up(*members, oxum=oxum))
        try:
            restore(place / "a.tar", place / "out")
        except StaprojError:
            assert sorted(p.name for p in Path(folder).rglob("*")) == ["a.tar", "in"]
            return
        assert not strange
        assert verify_path(place / "a.tar")["ok"]
        found = {
            p.relative_to(place / "out").as_posix(): p.read_bytes()
            for p in (place / "out").rglob("*")
            if p.is_file()
        }
        assert found == {MANIFEST_FILE[0]: MANIFEST_FILE[1], **dict(allowed)}
        assert sorted(p.name for p in place.iterdir()) == ["a.tar", "out"]
