"""Which stages the contract tests run over."""

from __future__ import annotations

from pathlib import Path

import staproj.stages
from staproj.stages import registry
from staproj.stages.api import StageSpec

FOLDER = Path(staproj.stages.__file__).parent


def declared() -> list[str]:
    """Return stages that have a declaration, in pipeline order, then folders the registry does not name."""
    folders = {path.parent.name for path in FOLDER.glob("*/declare.py")}
    return [n for n in registry.BUILT_IN if n in folders] + sorted(folders - set(registry.BUILT_IN))


def spec_of(name: str) -> StageSpec:
    """Return the declaration of a stage."""
    return registry.get(name)
