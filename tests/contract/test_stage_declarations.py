"""Every stage is declared so that command line, forms, manifests, records and the engine can rely on it."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from staproj.stages import registry
from staproj.stages.api import Params, Port, StageSpec
from staproj.units import Unit
from tests.contract.stages import declared, spec_of

GROUPS = {"import", "align", "ctf", "reconstruct", "particles", "maps"}
# Words that a name may not use instead of a unit suffix, and the unit each stands for.
QUANTITIES = {
    "pixel_size": Unit.ANGSTROM,
    "voxel_size": Unit.ANGSTROM,
    "defocus": Unit.MICROMETRE,
    "voltage": Unit.KILOVOLT,
    "spherical_aberration": Unit.MILLIMETRE,
    "tilt_axis": Unit.DEGREE,
    "exposure": Unit.EXPOSURE,
}

pytestmark = pytest.mark.parametrize("name", declared())


@pytest.fixture
def spec(name: str) -> StageSpec:
    return spec_of(name)


def test_declaration_is_whole(spec: StageSpec, name: str) -> None:
    """A stage carries its folder's name, a one-line summary, a group, a help page and a version."""
    assert isinstance(spec, StageSpec)
    assert spec.name == name
    assert name in registry.names()
    assert spec.summary.strip()
    assert "\n" not in spec.summary
    assert len(spec.summary) <= 120
    assert spec.group in GROUPS
    assert spec.cache_version >= 1
    assert spec.scope in {"item", "project"}
    assert len(spec.doc) >= 80, (
        "`doc` is the stage's help page: what it does, what good output looks like, what to try"
    )


def test_ports_are_typed(spec: StageSpec) -> None:
    """Every port has a kind whose model class exists, a sentence of help and a plain name."""
    assert spec.outputs
    for port_name, port in [*spec.inputs.items(), *spec.outputs.items()]:
        assert isinstance(port, Port)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", port_name)
        assert port.doc.strip()
        module, _, cls = port.kind.model.partition(":")
        assert inspect.isclass(getattr(importlib.import_module(module), cls))


def test_outputs_are_always_there(spec: StageSpec) -> None:
    """No output is optional, and a stage that runs once a tilt series takes inputs."""
    assert not any(port.optional for port in spec.outputs.values())
    if spec.scope == "item":
        assert spec.inputs


def test_parameters_carry_units_bounds_and_help(spec: StageSpec) -> None:
    """Every parameter has one sentence of help, a name that ends in its unit, and bounds."""
    assert issubclass(spec.params, Params)
    config = spec.params.model_config
    assert config.get("frozen")
    assert config.get("extra") == "forbid"
    assert config.get("allow_inf_nan") is False
    for field_name, field in spec.params.model_fields.items():
        where = f"{spec.name}.{field_name}"
        unit = _unit(field, where)
        assert field_name.endswith(unit.suffix), f"{where}: unit {unit.name} wants the suffix {unit.suffix}"
        if unit is Unit.ONE:
            longest = max(
                (u.suffix for u in Unit if u.suffix and field_name.endswith(u.suffix)), key=len, default=""
            )
            assert not longest, f"{where}: ends in {longest} but is declared without that unit"
        assert field.description, where
        assert field.description.rstrip().endswith((".", "?")), f"{where}: help is a sentence"
        assert len(field.description) <= 240, f"{where}: one sentence"
        assert "\n" not in field.description, where
        if _is_number(field) and not (
            unit is Unit.ONE and field_name.endswith("threshold")
        ):  # on the data's own scale
            assert field.metadata or _bounded(spec, field_name), f"{where}: a number needs bounds"


def test_quantities_are_named_with_their_unit(spec: StageSpec) -> None:
    """A parameter whose name starts like a physical quantity has that quantity's unit."""
    for field_name, field in spec.params.model_fields.items():
        for word, unit in QUANTITIES.items():
            if re.match(
                rf"{word}(_(min|max|step|tolerance|range|sd))*_(angstrom|um|nm|mm|kv|deg|px|e_per_angstrom2)$",
                field_name,
            ):
                assert _unit(field, field_name) in {unit, Unit.NANOMETRE, Unit.PIXEL}


def test_defaults_validate(spec: StageSpec) -> None:
    """A stage can be built without a single setting, and its defaults keep their own bounds."""
    values = spec.params(**_needed(spec)).model_dump()
    rebuilt = spec.params.model_validate(values)
    assert rebuilt.model_dump() == values


def test_params_survive_toml(spec: StageSpec) -> None:
    """Parameters written to TOML, read back and validated are equal to what was written."""
    before = spec.params(**_needed(spec))
    plain = _drop_none(json.loads(before.model_dump_json()))
    text = tomlkit.dumps({"step": {"x": {"params": plain}}})
    after = spec.params.model_validate(tomlkit.parse(text).unwrap()["step"]["x"]["params"])
    assert after == before


def test_unknown_and_unfit_values_are_refused(spec: StageSpec) -> None:
    """An unknown name is refused, and so are infinity and text where a number belongs."""
    with pytest.raises(ValidationError):
        spec.params(**_needed(spec), no_such_parameter=1)
    for field_name, field in spec.params.model_fields.items():
        if field.annotation in {int, float}:
            for bad in (float("inf"), float("nan"), "many"):
                with pytest.raises(ValidationError):
                    spec.params(**(_needed(spec) | {field_name: bad}))


def test_help_and_schema_build(spec: StageSpec) -> None:
    """The declaration gives a JSON schema with unit and help for each parameter."""
    schema = spec.params.model_json_schema()
    json.dumps(schema)
    for field_name in spec.params.model_fields:
        entry = schema["properties"][field_name]
        assert entry["description"]
        assert entry["unit"] in Unit.__members__
    assert (spec.params.__doc__ or "").strip()


def test_parameters_are_plain_data(spec: StageSpec) -> None:
    """Parameters hold numbers, text, flags, lists and tables only: no execution options hide among them."""
    forbidden = {"device", "gpu", "threads", "batch", "batch_size", "seed", "workers", "verbose"}
    assert not forbidden & set(spec.params.model_fields)
    json.dumps(json.loads(spec.params(**_needed(spec)).model_dump_json()))


def test_data_paths_are_marked(spec: StageSpec) -> None:
    """Only import stages read raw data, and they mark the parameters that name it."""
    marked = [n for n, f in spec.params.model_fields.items() if _extra(f).get("data_path")]
    takes_artifacts = bool(spec.inputs)
    if not takes_artifacts:
        assert marked, "a stage without inputs reads raw data: mark the parameters with data_path=True"


def test_tables_are_explained(repository: Path, name: str) -> None:
    """Each table that the stage (or what stages share) records comes with a sentence on its rows."""
    silent = []
    stages = repository / "staproj" / "stages"
    for path in sorted([*(stages / name).glob("*.py"), *(stages / "shared").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ctx.table":
                given = [*node.args[2:], *(word.value for word in node.keywords if word.arg == "doc")]
                if not given or ast.unparse(given[0]) in {"''", "None"}:
                    silent.append(f"{path.name}:{node.lineno}")
    assert not silent


def test_run_function_is_importable(spec: StageSpec) -> None:
    """The function that does the work exists and is called as run(inputs, params, ctx)."""
    module, _, function_name = spec.run.partition(":")
    assert module == f"staproj.stages.{spec.name}.run"
    assert function_name
    function = spec.load()
    assert function.__doc__
    assert list(inspect.signature(function).parameters) == ["inputs", "params", "ctx"]


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    assert isinstance(extra, dict), "declare parameters with param(...)"
    return extra


def _unit(field: FieldInfo, where: str) -> Unit:
    assert field.json_schema_extra, f"{where}: declare parameters with param(...)"
    return Unit[str(_extra(field)["unit"])]


def _is_number(field: FieldInfo) -> bool:
    return field.annotation in {int, float, int | None, float | None}


def _bounded(spec: StageSpec, field_name: str) -> bool:
    entry = spec.params.model_json_schema()["properties"][field_name]
    keys = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    return any(keys & set(part) for part in [entry, *entry.get("anyOf", [])])


def _needed(spec: StageSpec) -> dict[str, Any]:
    """Values for parameters without a default: patterns of raw data only."""
    needed = {}
    for field_name, field in spec.params.model_fields.items():
        if field.is_required():
            assert _extra(field)["data_path"], f"{spec.name}.{field_name} needs a default"
            needed[field_name] = ["*.mrc"] if "list" in str(field.annotation) else "*.mrc"
    return needed


def _drop_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _drop_none(v) for k, v in value.items() if v is not None}
    return value
