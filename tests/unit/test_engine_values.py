"""Messages about values of parameters: what is wrong, the bounds with their unit, a value that does."""

from __future__ import annotations

from pathlib import Path

import pytest

from staproj.api import Project
from staproj.engine import params
from staproj.errors import ManifestError, UsageError
from staproj.stages import registry


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("defocus_max_um", "-6", r"defocus_max_um = -6: must be > 0 µm"),
        ("defocus_max_um", "1e99", r"must be <= 20 µm"),
        ("defocus_max_um", "deep", r"must be a number > 0 and <= 20 µm"),
        ("fit_high_angstrom", "1e5", r"must be <= 100 Å"),
    ],
)
def test_a_value_out_of_bounds_is_told_with_bounds_and_unit(name: str, value: str, message: str):
    """The first problem is told (not that a number is no text), with the unit and an example that fits."""
    spec = registry.get("ctf")
    with pytest.raises(UsageError, match=message) as info:
        params.parse_value(spec, name, value, step="ctf")
    example = info.value.hint.rpartition("=")[2]
    assert params.parse_value(spec, name, example, step="ctf") == float(example)


def test_every_parameter_of_every_stage_explains_itself():
    """A table as value is refused in words for each parameter that takes none, and the example fits."""
    for spec in registry.all_stages():
        for name in spec.params.model_fields:
            nothing: dict[str, object] = {"no": {"such": ["thing"]}}
            with pytest.raises(UsageError) as info:
                params.parse_value(spec, name, nothing, step="x")
            assert "Input" not in info.value.message, name
            assert "a value" not in info.value.hint, name
            example = info.value.hint.partition(f"--set x.{name}=")[2]
            if example:
                params.parse_value(spec, name, example, step="x")


def test_values_that_do_not_fit_each_other_are_told_plainly(tmp_path: Path):
    """The stage's own words, both values, and where the value came from."""
    with pytest.raises(ManifestError, match=r"step 'ctf': defocus_max_um must be larger") as info:
        Project.create(tmp_path / "p", "demo", movies="m/*.mrc", sets={"ctf.defocus_max_um": "0.1"})
    assert "Value error" not in str(info.value)
    assert "defocus_min_um is 0.5" in info.value.message
    assert not (tmp_path / "p").exists()


def test_facts_of_the_microscope_are_set_at_the_step_that_reads_the_data(tmp_path: Path):
    """--set microscope.voltage_kv names the step that takes it."""
    with pytest.raises(UsageError, match=r"--set import_movies\.voltage_kv=200"):
        Project.create(tmp_path / "p", "demo", movies="m/*.mrc", sets={"microscope.voltage_kv": "200"})
