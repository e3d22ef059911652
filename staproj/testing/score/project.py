"""What a project has made, found by stage: the newest step of each kind that the pipeline ends in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.api import Project
from staproj.errors import StaprojError
from staproj.model.particles import ParticleSet

Float = NDArray[np.float64]


class Results:
    """Outputs of a project by stage; ``None`` for whatever has not been made. ``notes`` say what and why."""

    def __init__(self, root: Path | str) -> None:
        self.project = Project.open(root)
        self.notes: list[str] = []
        self._steps: list[tuple[str, str]] = [
            (str(step["step"]), str(step["stage"])) for step in self.project.status()["steps"] if step["run"]
        ]

    def step_of(self, *stages: str) -> str | None:
        """Return the last step (in pipeline order) of the first of ``stages`` that has a run."""
        for stage in stages:
            steps = [step for step, kind in self._steps if kind == stage]
            if steps:
                return steps[-1]
        return None

    def get(self, port: str, *stages: str) -> Any:
        """Return the output ``port`` of the first of ``stages`` that has a run, or ``None``."""
        step = self.step_of(*stages)
        if step is None:
            self.notes.append(f"no run of {' or '.join(stages)} yet")
            return None
        try:
            return self.project.artifact(step, port)
        except StaprojError as error:
            self.notes.append(f"{step}.{port}: {error.message}")
            return None

    def per_item(self, port: str, *stages: str) -> dict[str, Any]:
        """Return ``{tilt series: artifact}``, empty if there is none."""
        found = self.get(port, *stages)
        return found if isinstance(found, dict) else {}

    def particles(self, *stages: str) -> ParticleSet | None:
        """Return all particles as one set."""
        found = self.get("particles", *stages)
        if isinstance(found, dict):
            return ParticleSet.concatenate(list(found.values())) if found else None
        return found if isinstance(found, ParticleSet) else None

    def parameters(self, stage: str) -> dict[str, Any]:
        """Return the parameters that the last run of a stage had; empty if it has none."""
        step = self.step_of(stage)
        return {} if step is None else dict(self.project.record(step).params)

    def drift(self) -> dict[str, Float]:
        """Return ``{tilt series: drift_xy_px [view, frame, 2]}`` as the stage ``motion`` recorded it."""
        step = self.step_of("motion")
        if step is None:
            self.notes.append("no run of motion yet")
            return {}
        found: dict[str, Float] = {}
        for item, record in self.project.record(step).items.items():
            table = record.tables.get("drift")
            if table is not None and item is not None:
                view, frame = table["view"].astype(int), table["frame"].astype(int)
                drift = np.full((view.max() + 1, frame.max() + 1, 2), np.nan)
                drift[view, frame, 0] = table["drift_x_px"]
                drift[view, frame, 1] = table["drift_y_px"]
                found[item] = drift
        return found
