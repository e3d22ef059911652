"""Reading and editing the manifest."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from staproj.errors import LockedError, ManifestError, ProjectError, StaprojError
from staproj.project import manifest, manifest_edit
from staproj.project.manifest import Change

TEXT = """# head comment
schema = 2   # integer

[project]
name = "x"
uuid = "u"

[microscope]            # facts
voltage_kv = 300.0
exposure_e_per_angstrom2 = { TS_01 = 2.4, TS_03 = 3.1 }

[step.motion]
stage = "motion"
inputs = { movies = "import.movies" }   # where from
[step.motion.params]
patches = [
  1,   # along x
  1,
]

# an override
[step.motion.item.TS_01]
patches = [2, 2]  # finer
"""


def test_everything_is_read():
    """Steps, references, parameters and overrides come out as written."""
    read = manifest.parse(TEXT, "m")
    step = read.steps["motion"]
    assert (step.stage, step.inputs["movies"].step, step.inputs["movies"].port) == (
        "motion",
        "import",
        "movies",
    )
    assert step.params == {"patches": [1, 1]}
    assert step.items["TS_01"] == {"patches": [2, 2]}
    assert read.microscope["exposure_e_per_angstrom2"] == {"TS_01": 2.4, "TS_03": 3.1}


def test_references():
    """Step, step.port and run:… are told apart; anything else is refused."""
    assert manifest.parse_ref("run:r0007.map", "m") == manifest.Ref("run:r0007.map", run="r0007", port="map")
    for bad in ("", "run:7", "1x", "a b", "/etc/passwd", "run:"):
        with pytest.raises(ManifestError):
            manifest.parse_ref(bad, "m")


def test_one_value_changes_and_nothing_else():
    """All other lines stay byte for byte, comments included; the comment of the line itself too."""
    new = manifest_edit.apply(TEXT, [Change(("microscope", "voltage_kv"), 200.0)])
    changed = [(a, b) for a, b in zip(TEXT.splitlines(), new.splitlines(), strict=True) if a != b]
    assert changed == [("voltage_kv = 300.0", "voltage_kv = 200.0")]
    new = manifest_edit.apply(TEXT, [Change(("step", "motion", "item", "TS_01", "patches"), [3, 3])])
    assert "patches = [3, 3]  # finer" in new


def test_new_tables_are_made_where_they_belong():
    """A parameter of a step without parameters, and an override of a new item, parse back."""
    changes = [
        Change(("step", "motion", "item", "TS_03", "patches"), [4, 4]),
        Change(("site", "motion", "threads"), 2),
        Change(("microscope", "exposure_e_per_angstrom2", "TS_05"), 3.0),
    ]
    data = tomllib.loads(manifest_edit.apply(TEXT, changes))
    assert data["step"]["motion"]["item"]["TS_03"] == {"patches": [4, 4]}
    assert data["step"]["motion"]["item"]["TS_01"] == {"patches": [2, 2]}
    assert data["site"]["motion"] == {"threads": 2}
    assert data["microscope"]["exposure_e_per_angstrom2"]["TS_05"] == 3.0


def test_a_new_key_stands_with_its_table():
    """A key is added under the last key of its table, not below the comment that heads the next one."""
    changes = [Change(("step", "motion", "params", "bin"), 2), Change(("project", "seed"), 3)]
    new = manifest_edit.apply(TEXT, changes)
    assert "  1,\n]\nbin = 2\n\n# an override\n" in new
    assert 'uuid = "u"\nseed = 3\n\n[microscope]' in new
    end = manifest_edit.apply(TEXT.rstrip("\n"), [Change(("step", "motion", "item", "TS_01", "x"), 1)])
    assert "# finer\nx = 1" in end


def test_removal():
    """A removed key is gone, removing what is not there does nothing."""
    key = ("step", "motion", "item", "TS_01", "patches")
    assert "finer" not in manifest_edit.apply(TEXT, [Change(key, None)])
    assert manifest_edit.apply(TEXT, [Change(("step", "nothing", "params", "x"), None)]) == TEXT


def test_a_value_where_a_table_is_needed():
    """Setting below a value is refused, not forced."""
    with pytest.raises(ManifestError):
        manifest_edit.apply(TEXT, [Change(("schema", "x"), 1)])


def test_windows_line_ends_stay():
    """A file with CRLF has CRLF everywhere after an edit."""
    new = manifest_edit.apply(TEXT.replace("\n", "\r\n"), [Change(("step", "motion", "params", "more"), 1)])
    assert new.count("\r\n") == new.count("\n")


def test_an_edit_does_not_overwrite_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """If the file changes between reading and writing, nothing is written."""
    path = tmp_path / "staproj.toml"
    path.write_text(TEXT)
    real = manifest_edit.apply

    def meanwhile(text: str, changes: list[Change]) -> str:
        path.write_text(TEXT + "# mine\n")
        return real(text, changes)

    monkeypatch.setattr(manifest_edit, "apply", meanwhile)
    with pytest.raises(LockedError):
        manifest_edit.edit(path, [Change(("project", "name"), "y")])
    assert path.read_text() == TEXT + "# mine\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("schema = 2\nsteps = 1", "steps"),
        ("schema = 0", "schema"),
        ("schema = true", "schema"),
        ("schema = 2\nproject = 3", "project"),
        ("schema = 2\n[project]\nnme = 1", "name"),
        ("schema = 2\n[project]\nname = 1", "quotes"),
        ("schema = 2\n[step.1x]\nstage = 'a'", "letter first"),
        ("schema = 2\n[step.a]\nstage = 'a'\n[step.a.item.'../x']\ny = 1", "tilt series"),
        ("schema = 2\n[step.a]\nstage = 'a'\nparams = 3", "table"),
        ("schema = 2\n[step.a]\nstage = 'a'\ninputs = ['b']", "table"),
        ("a = " + "[" * 5000, "TOML"),
    ],
)
def test_bad_form_is_named(text: str, names: str):
    """Each fault gives one error that names the place and a remedy."""
    with pytest.raises((ManifestError, ProjectError)) as info:
        manifest.parse(text, "here")
    assert names in str(info.value)
    assert "here" in str(info.value)


def test_keys_of_a_newer_schema_pass_and_of_ours_do_not():
    """What a newer staproj added is no reason not to read; in today's schema it is a slip of the pen."""
    text = "schema = 3\nlater = 1\n[project]\nname = 'x'\nmood = 'good'\n[step.a]\nstage = 'a'\nwhen = 1\n"
    found = manifest.parse(text, "here")
    assert (found.schema, found.name, list(found.steps)) == (3, "x", ["a"])
    with pytest.raises(ManifestError, match="later"):
        manifest.parse(text.replace("schema = 3", "schema = 2"), "here")
    assert manifest.parse("schema = 1\n", "here").schema == 1


def test_a_manifest_of_another_schema_is_not_edited(tmp_path: Path):
    """The writer of manifests refuses, whoever calls it."""
    path = tmp_path / "staproj.toml"
    for schema in (1, 3):
        path.write_text(text := TEXT.replace("schema = 2", f"schema = {schema}"))
        with pytest.raises(ManifestError, match="not edited"):
            manifest_edit.edit(path, [Change(("project", "name"), "y")])
        assert path.read_text() == text


def test_not_text(tmp_path: Path):
    """Bytes that are not UTF-8 give an error with their position."""
    path = tmp_path / "staproj.toml"
    path.write_bytes(b"schema = 2 # \xff")
    with pytest.raises(ManifestError, match="UTF-8"):
        manifest.load(path)


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
PLAIN = st.one_of(
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20),
)
VALUES = st.one_of(PLAIN, st.lists(st.integers(-5, 5), max_size=3), st.dictionaries(NAMES, PLAIN, max_size=3))
KEYS = st.one_of(
    st.tuples(st.just("step"), NAMES, st.just("params"), NAMES),
    st.tuples(st.just("step"), NAMES, st.just("item"), NAMES, NAMES),
    st.tuples(st.just("microscope"), NAMES),
)


@given(st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=6))
def test_any_edits_give_what_was_asked_and_keep_comments(edits):
    """After any series of edits the values are there, other values are untouched and comments survive."""
    changes = [Change(keys, value) for keys, value in edits]
    try:
        new = manifest_edit.apply(TEXT, changes)
    except ManifestError:
        return  # a later edit needed a table where an earlier one had put a value
    data = tomllib.loads(new)
    for keys, value in dict(edits).items():
        found = data
        for key in keys:
            found = found[key]
        if not any(other[: len(keys)] == keys and other != keys for other, _ in edits):
            assert found == value
            assert type(found) is type(value)
    for comment in ("# head comment", "# integer", "# facts", "# where from", "# along x", "# an override"):
        assert comment in new
    assert data["project"] == {"name": "x", "uuid": "u"}


@given(st.text(max_size=200))
def test_any_text_is_a_manifest_or_a_clear_error(text):
    """Nothing but errors of ours comes out of reading."""
    with suppress(StaprojError):
        manifest.parse("schema = 2\n" + text, "m")


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_table_as_a_step(value):
    """Strange values in the places of tables give errors of ours."""
    import tomlkit

    def clean(v):
        if isinstance(v, dict):
            return {k: clean(x) for k, x in v.items() if x is not None}
        return [clean(x) for x in v if x is not None] if isinstance(v, list) else v

    if value is None:
        return
    for data in (
        {"schema": 1, "step": clean(value)},
        {"schema": 1, "step": {"a": clean(value)}},
        {"schema": 1, "step": {"a": {"stage": "b", "inputs": clean(value)}}},
    ):
        with suppress(StaprojError):
            manifest.parse(tomlkit.dumps(data), "m")
