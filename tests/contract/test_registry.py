"""The list of stages and what is on disk are the same."""

from __future__ import annotations

import pytest

from staproj.errors import UsageError
from staproj.stages import registry
from tests.contract.stages import declared


def test_every_built_in_stage_is_declared_and_loads() -> None:
    """Each name in the registry has a declaration and a function, and no folder is forgotten."""
    assert declared() == list(registry.BUILT_IN)
    for name in registry.BUILT_IN:
        assert callable(registry.get(name).load())


def test_inputs_can_be_made() -> None:
    """Every kind of input is some stage's output."""
    specs = [registry.get(name) for name in declared()]
    made = {port.kind for spec in specs for port in spec.outputs.values()}
    missing = {
        f"{spec.name}.{name}: {port.kind.value}"
        for spec in specs
        for name, port in spec.inputs.items()
        if port.kind not in made
    }
    assert not missing


def test_a_misspelt_stage_gets_a_suggestion() -> None:
    """Asking for a stage that does not exist names the one that was meant."""
    with pytest.raises(UsageError) as caught:
        registry.get("fine_aline")
    assert "fine_align" in caught.value.hint
