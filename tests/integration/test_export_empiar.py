"""EMPIAR depositions: facts from the record, people from a file, nothing made up, the schema kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from staproj.api import Project, empiar, json_schema
from staproj.errors import FormatError, UsageError
from staproj.formats.mrc import write_mrc
from tests.unit.import_sets import write_mdoc, write_movies

PEOPLE = """
title = "Simulated particles on spheres"
release_date = "RE"
experiment_type = 2
emdb = ["EMD-1234"]
[[authors]]
surname = "Chang"
initials = "YW"
orcid = "0000-0002-1825-0097"
[[authors]]
surname = "O'Neil"
initials = "J"
[corresponding_author]
first_name = "Yi-Wei"
last_name = "Chang"
organization = "An institute"
email = "chang@example.org"
country = "US"
[[principal_investigator]]
first_name = "Yi-Wei"
last_name = "Chang"
organization = "An institute"
email = "chang@example.org"
country = "US"
[[citation]]
title = "Particles on spheres"
preprint = true
journal_publication = false
doi = "10.1234/abc"
"""

MANIFEST = """schema = 1
[template]
name = "tiny"
help = "Movies and a stack."
[project]
name = "tiny"
[microscope]
voltage_kv = 300.0
[step.movies]
stage = "import_movies"
[step.movies.params]
movies = "raw/*_*.*"
mdoc = "raw/*.mdoc"
[step.stacks]
stage = "import_stack"
[step.stacks.params]
stacks = "stack/*.st"
angles = "stack/*.rawtlt"
exposure_e_per_angstrom2 = 3.0
tilt_axis_deg = 85.3
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with two series of movies (MRC and TIFF) and two stacks, imported."""
    folder = tmp_path_factory.mktemp("empiar")
    (folder / "tiny.toml").write_text(MANIFEST)
    raw, stacks = folder / "p" / "raw", folder / "p" / "stack"
    raw.mkdir(parents=True)
    stacks.mkdir()
    write_movies(raw, "TS_01")
    write_mdoc(raw, "TS_01")
    write_movies(raw, "TS_02", suffix=".tif")
    write_mdoc(raw, "TS_02", suffix=".tif")
    for name, views in (("TS_01", 3), ("TS_02", 4)):
        write_mrc(stacks / f"{name}.st", np.ones((views, 10, 14), np.float32), 5.4)
        (stacks / f"{name}.rawtlt").write_text("".join(f"{3 * v}\n" for v in range(views)))
    project = Project.create(folder / "p", str(folder / "tiny.toml"))
    project.run()
    return project


def test_what_is_on_record_is_filled_in(tiny: Project, tmp_path: Path) -> None:
    """Image sets have kind, format, type of values, sizes, numbers and pixel size of the files themselves."""
    (tmp_path / "m.toml").write_text(PEOPLE)
    made = empiar.export_empiar(tiny, tmp_path / "e.json", tmp_path / "m.toml")
    found = json.loads((tmp_path / "e.json").read_text())
    jsonschema.Draft7Validator(json_schema.load("empiar_deposition")).validate(found)
    by_name = {entry["name"]: entry for entry in found["imagesets"]}
    movies, series = by_name["movies TIFF"], by_name["tilt series MRC"]
    assert by_name["movies MRC"]["header_format"] == "('T1', '')"
    assert (movies["category"], movies["header_format"]) == ("('T2', '')", "('T3', '')")
    assert (movies["num_images_or_tilt_series"], movies["frames_per_image"]) == (5, 2)
    assert (movies["image_width"], movies["image_height"]) == (16, 12)
    assert movies["pixel_width"] == pytest.approx(1.35)
    assert (series["category"], series["num_images_or_tilt_series"]) == ("('T9', '')", 2)
    assert (series["frames_per_image"], series["voxel_type"]) == (4, "('T7', '')")
    assert "differ" in series["details"]
    assert found["authors"][1] == {"name": "('O'Neil', 'J')", "order_id": 1, "author_orcid": None}
    assert found["citation"][0]["published"] is True
    assert found["cross_references"] == [{"name": "EMD-1234"}]
    workflow = json.loads(Path(made["files"][2]).read_text())
    assert found["workflow_file"]["path"] == "data/e.workflow.json"
    assert "@graph" in workflow
    rows = [line.split("\t") for line in (tmp_path / "e.files.tsv").read_text().splitlines()]
    assert all(Path(source).is_file() for source, _ in rows)
    assert len({target for _, target in rows}) == len(rows) == made["n_files"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('title = "Simulated particles on spheres"', "", "title"),
        ('release_date = "RE"', 'release_date = "soon"', "release_date"),
        ('surname = "Chang"', "", "authors[0].surname"),
        ('initials = "YW"', 'initials = "yw"', "authors[0]"),
        ("0000-0002-1825-0097", "0000-0002-1825-0098", "orcid"),
        ('email = "chang@example.org"', 'email = "nobody"', "email"),
        ('country = "US"', 'country = "Atlantis"', "country"),
        ('title = "Particles on spheres"', "", "citation[0].title"),
        ("[[citation]]", "[[something]]", "citation"),
    ],
)
def test_what_is_lacking_is_said_and_never_made_up(
    tiny: Project, tmp_path: Path, old: str, new: str, told: str
) -> None:
    """Without a name, a date, a right ORCID nothing is written, and the error names the place."""
    (tmp_path / "m.toml").write_text(PEOPLE.replace(old, new, 1))
    with pytest.raises(UsageError, match="lacks") as caught:
        empiar.export_empiar(tiny, tmp_path / "e.json", tmp_path / "m.toml")
    assert told in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["m.toml"]


def test_the_form_asks_for_everything(tiny: Project, tmp_path: Path) -> None:
    """The empty form is TOML; with it the error lists each person's missing fields at once."""
    words = [sys.executable, "-m", "staproj", "export", "empiar-template", str(tmp_path / "m.toml")]
    subprocess.run(words, check=True, capture_output=True)
    with pytest.raises(UsageError) as caught:
        empiar.export_empiar(tiny, tmp_path / "e.json", tmp_path / "m.toml")
    for name in ("title", "release_date", "authors[0].surname", "corresponding_author.email", "citation[0]"):
        assert name in str(caught.value)
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(FormatError):
        empiar.export_empiar(tiny, tmp_path / "e.json", tmp_path / "bad.toml")
    with pytest.raises(UsageError, match="no such file"):
        empiar.export_empiar(tiny, tmp_path / "e.json", tmp_path / "none.toml")


def test_raw_data_out_of_reach(tiny: Project, tmp_path: Path) -> None:
    """What only the files know is asked for when they are gone, and can be told in the form."""
    sets, _ = empiar.image_sets(tiny)
    entry, files = sets[0]
    lost = ({**entry, "voxel_type": None}, files)
    import tomllib

    people = tomllib.loads(PEOPLE)
    with pytest.raises(UsageError, match="lacks") as caught:
        empiar.deposition(people, [lost], "w.json")
    assert "imagesets[0].voxel_type" in str(caught.value)
    people["imageset"] = {entry["name"]: {"voxel_type": "('T3', '')"}}
    made = empiar.deposition(people, [lost], "w.json")
    assert made["imagesets"][0]["voxel_type"] == "('T3', '')"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 20_000) | st.floats(-5, 5) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_the_checker_agrees_with_jsonschema(data: Any) -> None:
    """Whatever single value of a right deposition is replaced, both say the same of it."""
    import tomllib

    entry = {
        "name": "n", "directory": "data/x", "category": "('T9', '')", "header_format": "('T1', '')",
        "data_format": "('T1', '')", "num_images_or_tilt_series": 1, "frames_per_image": 2,
        "voxel_type": "('T7', '')", "image_width": 4,
    }  # fmt: skip
    content: Any = empiar.deposition(tomllib.loads(PEOPLE), [(entry, [])], "w.json")
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(_VALUES)
        break
    schema = json_schema.load("empiar_deposition")
    theirs = not list(jsonschema.Draft7Validator(schema).iter_errors(content))
    ours = not [p for p in json_schema.problems(content, schema) if "e-mail" not in p[1]]
    assert ours == theirs
