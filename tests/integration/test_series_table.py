"""The table of tilt series and their views, on toy stages that record what the real ones record."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.api.series import HAND_WORDS, METRICS, WANTED
from staproj.cli.main import main
from staproj.errors import StaprojError, UsageError
from staproj.report.series import NONE_YET
from staproj.stages import registry
from tests.integration import series_stages as toy


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Return a fresh project of two tilt series."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # no power is cut here
    toy.SWITCH.clear()
    (tmp_path / "series.toml").write_text(toy.TEMPLATE)
    with registry.temporarily(*toy.ALL):
        yield Project.create(tmp_path / "p", str(tmp_path / "series.toml"))
    toy.SWITCH.clear()


def rows(project: Project) -> dict[str, dict[str, Any]]:
    """Return the rows by tilt series."""
    return {row["item"]: row for row in project.series.overview()}


def damage(path: Path) -> None:
    """Change one byte in the middle of a file."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(bytes(raw))


def test_a_row_has_the_numbers_of_each_head(project: Project) -> None:
    """Every number is what the last step of its stage recorded, under whatever name that step has."""
    project.run()
    one, two = rows(project)["TS_01"], rows(project)["TS_02"]
    assert (one["n_views"], one["tilt_min_deg"], one["tilt_max_deg"]) == (4, -40.0, 20.0)
    assert (two["n_views"], two["exposure_e_per_angstrom2"]) == (3, 9.0)
    assert (one["pixel_size_angstrom"], two["pixel_size_angstrom"]) == (2.0, 3.5)
    assert (one["residual_px"], one["leave_out_px"], two["leave_out_px"]) == (0.25, 0.5, None)
    assert (one["defocus_um"], two["defocus_um"]) == (1.25, 1.625)  # of rings_again, which has half of it
    assert (one["astigmatism_um"], one["thickness_angstrom"], one["n_beads"]) == (0.125, 1500.0, 12)
    assert (one["n_particles"], one["particles_from"]) == (40, "reap")
    assert (two["n_particles"], two["particles_from"]) == (0, "reap")
    assert (one["n_excluded"], two["n_excluded"]) == (1, 0)  # the dark view of TS_01


def test_flags_are_of_the_tilt_series_they_concern(project: Project) -> None:
    """Warnings and fallbacks are said of their own series, each with run and text."""
    project.run()
    found = rows(project)
    assert found["TS_01"]["flags"] == []
    assert set(found["TS_02"]["flags"]) == {
        "fallback read",
        "warning beads",
        "few beads",
        "hand undecided",
    }
    told = {note["flag"]: note for note in found["TS_02"]["notes"]}
    assert told["warning beads"]["text"] == "aligned, barely"
    assert told["few beads"]["text"] == "3 beads"
    assert told["fallback read"]["run"] == "r0001"


def test_particles_are_counted_where_they_are_known(project: Project) -> None:
    """Before particles are selected, seeds count; before that nothing does."""
    project.run(until="slab")
    assert rows(project)["TS_01"]["n_particles"] is None
    project.run(until="sow")
    assert (rows(project)["TS_02"]["n_particles"], rows(project)["TS_02"]["particles_from"]) == (100, "sow")


def test_what_was_never_run_is_none(project: Project) -> None:
    """A project without a run has no rows; one with an import only has rows with its numbers only."""
    assert project.series.overview() == []
    with pytest.raises(UsageError, match="no tilt series"):
        project.series.views("TS_01")
    project.run(until="read")
    row = rows(project)["TS_01"]
    assert (row["n_views"], row["n_excluded"], row["residual_px"], row["n_beads"]) == (4, 0, None, None)
    assert row["excluded_now"] == []
    view = project.series.views("TS_01")["views"][3]
    assert (view["stage_tilt_deg"], view["drift_px"], view["excluded"]) == (20.0, None, False)


def test_an_import_without_tables_is_known_by_its_artifacts(project: Project) -> None:
    """Where the import recorded no table, its outputs say views, tilts, exposure and pixel size."""
    toy.SWITCH["bare"] = True
    project.run(until="tidy")
    row = rows(project)["TS_02"]
    assert (row["n_views"], row["tilt_max_deg"], row["pixel_size_angstrom"]) == (3, 3.0, 3.5)
    assert row["exposure_e_per_angstrom2"] == 9.0
    assert project.series.views("TS_02")["views"][0]["pre_exposure_e_per_angstrom2"] == 6.0


def test_a_damaged_record_is_a_flag(project: Project) -> None:
    """Numbers of a record whose bytes changed are none, others stay, and a flag names the step."""
    project.run()
    damage(project.run_dir("rings_again") / "meta.h5")
    damage(project.run_dir("reap") / "meta.h5")
    row = rows(project)["TS_01"]
    assert (row["defocus_um"], row["n_particles"], row["residual_px"]) == (None, None, 0.25)
    assert row["flags"] == ["damaged rings_again", "damaged reap"]
    assert project.series.views("TS_01")["views"][0]["defocus_u_um"] is None


@pytest.mark.parametrize("name", ["spec.json", "outputs.json", "SEALED", "items/TS_01/item.json"])
def test_any_damaged_file_of_a_head_is_survived(project: Project, name: str) -> None:
    """Whatever file of a head is no longer what it was, rows of both series come, with a flag."""
    project.run()
    path = project.run_dir("beads") / name
    path.chmod(0o644)
    path.write_text("{")
    assert [row["item"] for row in project.series.overview()] == ["TS_01", "TS_02"]
    assert len(project.series.views("TS_01")["views"]) == 4
    if name != "outputs.json":  # what is asked of a step that runs once a series stands elsewhere
        assert "damaged beads" in rows(project)["TS_01"]["flags"]


def test_a_series_that_failed_in_the_newest_run_is_flagged(project: Project) -> None:
    """A failed run that is newer than the head flags its series; the numbers stay those of the head."""
    project.run()
    toy.SWITCH["fail"] = "TS_02"
    with pytest.raises(StaprojError):
        project.rerun("rings_again", sets={"defocus_max_um": 6.0})
    found = rows(project)
    assert "failed rings_again" not in found["TS_01"]["flags"]
    note = next(n for n in found["TS_02"]["notes"] if n["flag"] == "failed rings_again")
    assert "no rings at all" in note["text"]
    assert note["run"] == project.newest_run("rings_again")
    assert found["TS_02"]["defocus_um"] == 1.625


def test_a_variant_does_not_stand_for_its_step(project: Project) -> None:
    """Numbers are those of the step itself although its variants come later in the pipeline."""
    project.run()
    project.variants.rerun("rings_again", {"defocus_max_um": "2,16"})
    assert rows(project)["TS_01"]["defocus_um"] == 1.25


def test_views_have_a_row_each(project: Project) -> None:
    """Rows count from 0 by rising tilt; a number is none in a view that a step left out."""
    project.run(sets={"tidy.exclude_views": [0]}, items=["TS_01"])
    found = project.series.views("TS_01")
    views = found["views"]
    assert [view["view"] for view in views] == [0, 1, 2, 3]
    assert [view["excluded"] for view in views] == [True, False, True, False]
    assert [view["stage_tilt_deg"] for view in views] == [-40.0, -20.0, 0.5, 20.0]
    assert [view["pre_exposure_e_per_angstrom2"] for view in views] == [9.0, 3.0, 0.0, 6.0]
    assert [view["n_pixels_replaced"] for view in views] == [0, 10, 20, 30]
    assert [view["residual_px"] for view in views] == [None, 0.26, None, 0.28]
    assert [view["defocus_u_um"] for view in views] == [2.5, 2.6, 2.7, pytest.approx(2.8)]
    assert [view["fit_resolution_angstrom"] for view in views] == [9.0, None, 9.0, 9.0]
    assert found["control"] == {"step": "tidy", "number": 2, "param": "exclude_views"}
    assert found["excluded_now"] == found["excluded_made"] == [0]


def test_views_left_out_in_the_manifest_are_pending_until_run(project: Project) -> None:
    """The manifest and the head are told apart, and a flag says so until the step is run."""
    project.run()
    project.settings.set({"tidy.exclude_views": [1, 0]}, ["TS_01"])
    found = project.series.views("TS_01")
    assert (found["excluded_now"], found["excluded_made"]) == ([0, 1], [])
    assert found["flags"] == ["exclusions not run"]
    assert rows(project)["TS_02"]["excluded_now"] == []
    project.run(until="tidy")
    assert project.series.views("TS_01")["flags"] == []
    assert rows(project)["TS_01"]["n_excluded"] == 3


def test_a_value_that_cannot_be_used_is_a_flag(project: Project) -> None:
    """A manifest with a wrong list of views gives none and a flag."""
    project.run()
    text = project.layout.manifest.read_text()
    project.layout.manifest.write_text(text + '[step.tidy.item.TS_01]\nexclude_views = "all"\n')
    found = project.series.views("TS_01")
    assert found["excluded_now"] is None
    assert found["flags"] == ["bad value"]


def test_five_series_take_no_time(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of five tilt series is there in half a second."""
    for table in (toy.TILTS, toy.ORDER, toy.PIXEL, toy.RESIDUAL, toy.BEADS, toy.DEFOCUS, toy.KEPT):
        for number in (3, 4, 5):
            monkeypatch.setitem(table, f"TS_0{number}", table["TS_01"])  # type: ignore[index]
    project.run()
    project.series.overview()
    start = time.perf_counter()
    assert len(project.series.overview()) == 5
    assert time.perf_counter() - start < 0.5


def test_names_are_those_that_stages_record(repository: Path) -> None:
    """Each metric, table and column that is read stands in the source of its stage."""
    wanted = {
        stage: {*tables, *(c for cs in tables.values() for c in cs)} for stage, tables in WANTED.items()
    }
    wanted |= {"seed": {"n_seeds"}, "fiducials": {"n_beads"}}
    for stage, metric in METRICS.values():
        wanted.setdefault(stage, set()).add(metric)
    wanted["import_stack"] -= {"series", "tilt_series"}  # recorded by import_movies only
    for stage, names in wanted.items():
        source = "".join(p.read_text() for p in (repository / "staproj/stages" / stage).glob("*.py"))
        for name in names:
            word = f'f"{name[:-1]}{{' if name.endswith("*") else f'"{name}"'
            assert word in source, (stage, name)
    assert HAND_WORDS in (repository / "staproj/stages/ctf/run.py").read_text()


def test_the_command_lists_series_and_views(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a series, a line a view, remarks below; --json gives the same values."""
    monkeypatch.chdir(project.root)

    def told(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["series", *words])
        assert end.value.code == 0
        return capsys.readouterr().out

    assert told() == NONE_YET + "\n"
    project.run()
    lines = told().splitlines()
    assert lines[1].split()[:4] == ["TS_01", "3/4", "-40", "to"]
    assert "TS_02: few beads (r0003): 3 beads" in lines
    assert json.loads(told("--json")) == project.series.overview()
    lines = told("TS_01").splitlines()
    assert lines[0] == "TS_01: 4 views"
    assert [line.split()[0] for line in lines[2:6]] == ["0", "1", "x", "3"]
    assert "tidy.exclude_views=[0, 1]" in lines[-1]
    assert json.loads(told("TS_01", "--json")) == project.series.views("TS_01")
