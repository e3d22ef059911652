"""A stage that reports much, for as long as it is let, in a project of its own, to try live views on."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

from staproj.stages.api import StageContext
from tests.integration import toy_stages as toy

REPOSITORY = Path(__file__).resolve().parents[2]
STEP = "talking"
WORD = "frame"
"""Each line of the log: this word and a number."""
LINES_PER_S, REPORTS_PER_S = 20, 40
MOST_S = 1200.0

MANIFEST = f"""schema = 2
[project]
name = "live"
[step.import]
stage = "toy_import"
[step.import.params]
movies = "raw/*.txt"
[step.{STEP}]
stage = "toy_talking"
inputs = {{ tilt_series = "import" }}
[step.{STEP}.params]
offset_px = 2.0
[step.mean]
stage = "toy_mean"
inputs = {{ tilt_series = "{STEP}" }}
"""


def run_talking(inputs: dict[str, Any], params: Any, ctx: StageContext) -> dict[str, Any]:
    """Write log lines and progress until the file ``enough`` appears, then shift."""
    enough = Path(os.environ["LIVE_CONTROL"]) / "enough"
    began = time.monotonic()
    said = reported = 0
    while (now := time.monotonic() - began) < MOST_S and not enough.exists():
        while said < now * LINES_PER_S:
            ctx.log(
                f"{WORD} {said}: residual {1.0 + (said * 37 % 100) / 250:.3f} px, shift {said % 91:.1f} Å"
            )
            said += 1
        while reported < now * REPORTS_PER_S:
            ctx.progress(reported % 2000, 2000, f"frame {reported}")
            reported += 1
        ctx.check_cancelled()
        time.sleep(0.5 / REPORTS_PER_S)
    return toy.run_shift(inputs, params, ctx)


TALKING = dataclasses.replace(toy.SHIFT, name="toy_talking", run=f"{__name__}:run_talking")


def build(home: Path) -> tuple[Path, dict[str, str]]:
    """Build the project below ``home``; return its directory, and the environment that knows its stages."""
    root, control, plugin = home / "live", home / "control", home / "plug-in" / "live-0.dist-info"
    for directory in (root / "raw", control, plugin):
        directory.mkdir(parents=True)
    for number in (1, 2, 3):
        (root / "raw" / f"TS_0{number}.txt").write_text(f"{10 * number}\n")
    (root / "staproj.toml").write_text(MANIFEST)
    plugin.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: live\nVersion: 0\n")
    stages = {"toy_import": f"{toy.HERE}:IMPORT", "toy_mean": f"{toy.HERE}:MEAN"}
    stages["toy_talking"] = f"{__name__}:TALKING"
    lines = [f"{name} = {target}" for name, target in stages.items()]
    plugin.joinpath("entry_points.txt").write_text("[staproj.stages]\n" + "\n".join(lines) + "\n")
    more = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join([str(plugin.parent), str(REPOSITORY), *filter(None, more)])
    return root, {"PYTHONPATH": path, "LIVE_CONTROL": str(control)}


def end(environment: dict[str, str]) -> None:
    """Let the stage come to its end, now and for all tilt series that follow."""
    (Path(environment["LIVE_CONTROL"]) / "enough").touch()
