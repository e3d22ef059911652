"""Sentences filled from the record: what is not on record is left out, never invented."""

from __future__ import annotations

import re
from typing import Any

import pytest

from staproj.api.facts import Facts, names_in
from staproj.formats.artifact import model_class
from staproj.project.record import ItemRecord
from staproj.stages import registry
from staproj.stages.api import StageSpec
from tests.contract.stages import declared, spec_of


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> Facts:
    """Return what is known of a made-up run on two tilt series."""
    told: dict[str, Any] = {
        "run": "r0001",
        "state": "failed",
        "items": ["a", "b"],
        "params": {
            "binning": {"value": 2, "layer": "step"},
            "robust": {"value": True, "layer": "default"},
            "mode": {"value": "patch", "layer": "default"},
            "symmetry": {"value": None, "layer": "default"},
        },
        "item_params": {"b": {"binning": {"value": 4, "layer": "item"}}},
        "inputs": {"mask": {}},
    }
    found = Facts(None, told)  # type: ignore[arg-type]
    table = {"beads": {"x_px": [1.0, -3.0]}}
    parts = [_part({"n": 3.0, "share": 0.25, "bad": float("nan")}, table), _part({"n": 5.0}, {})]
    found.__dict__["parts"] = parts
    return found


class _Part:
    def __init__(self, metrics: dict[str, float], tables: dict[str, Any]) -> None:
        self.metrics, self.tables = metrics, tables


def _part(metrics: dict[str, float], tables: dict[str, Any]) -> _Part:
    return _Part(metrics, tables)


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("{n:.0f} beads.", "3 to 5 beads."),
        ("{n.sum:.0f}, {n.min:.0f}, {n.max:.0f}, {n.median:.1f}.", "8, 3, 5, 4.0."),
        ("{binning:.0f}.", "2 to 4."),
        ("{share.percent:.0f} %.", "25 %."),
        ("{beads.x_px:.0f} px.", "\N{MINUS SIGN}3 to 1 px."),
        ("{beads.x_px.total:.0f} px.", "\N{MINUS SIGN}2 px."),
        ("Unknown {never:.0f}.", ""),
        ("Not a number: {bad:.1f}.", ""),
        ("No symmetry: {symmetry}.", ""),
        ("Made[ with {never} things][ by {n.max:.0f}].", "Made by 5."),
        ("[robust? Robust.][!robust? Plain.]", "Robust."),
        ("[mode=patch? By patches.][mode=object? By objects.]", "By patches."),
        ("A[in.mask?, masked][in.ctf?, with CTF].", "A, masked."),
        ("[never? This.][!never? That.]", ""),
        ("[!symmetry? None.]", "None."),
    ],
)
def test_sentences_say_what_is_known(facts: Facts, sentence: str, text: str) -> None:
    """Values, ranges, conditions and optional parts come out as written down; unknown ones vanish."""
    assert facts.fill(sentence) == text


def test_refinement_tells_the_rounds_that_were_made(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Poses that settle early end it: the number told is that of the rounds on record, not the limit."""
    monkeypatch.setattr(Facts, "_outputs", lambda _self, _names: ["C6"])
    facts.params = {"n_iterations": [9], "binning": [1]}
    metrics = {"n_half_1": 10.0, "n_half_2": 12.0, "resolution_angstrom": 9.5}
    facts.__dict__["parts"] = [_part(metrics, {"rounds": {"round": [1.0, 2.0]}})]
    text = facts.fill(registry.get("refine").methods[0])
    assert "number of rounds: 2" in text
    assert "9 " not in text


def test_records_have_what_facts_read() -> None:
    """The parts of a record carry metrics and tables under these names."""
    assert {"metrics", "tables"} <= set(ItemRecord.__dataclass_fields__)


@pytest.mark.parametrize("name", declared())
def test_sentences_of_stages_name_facts_that_can_be_there(name: str) -> None:
    """Each fact in a stage's sentences is a parameter, a port, or stands in the stage's code."""
    spec: StageSpec = spec_of(name)
    source = _source(spec)
    for sentence in spec.methods:
        assert sentence.count("[") == sentence.count("]")
        assert sentence.count("{") == sentence.count("}")
        for fact in names_in(sentence):
            head, _, rest = fact.partition(".")
            if head == "out":
                port, field = rest.split(".")[:2]
                assert field in model_class(spec.outputs[port].kind).__dataclass_fields__, fact
            elif head == "in":
                assert spec.inputs[rest].optional, fact
            else:
                wanted = rest or head
                assert wanted in spec.params.model_fields or re.search(rf"\b{wanted}\b", source), fact


def _source(spec: StageSpec) -> str:
    import importlib
    import inspect

    module = importlib.import_module(spec.run.partition(":")[0])
    texts = [inspect.getsource(module)]
    for value in vars(module).values():
        other = inspect.getmodule(value)
        if other is not None and other.__name__.startswith("staproj.stages"):
            texts.append(inspect.getsource(other))
    return "\n".join(texts)


def test_every_stage_has_words_for_a_paper() -> None:
    """No built-in stage is silent about what it did."""
    assert [spec.name for spec in registry.all_stages() if not spec.methods] == []
