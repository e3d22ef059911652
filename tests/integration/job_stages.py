"""A stage that takes as long as a test wants.

Installed for other processes as a plug-in; the directory ``control`` beside the manifest steers it:
``hold`` keeps it waiting, ``deaf`` makes it deaf to requests to stop, ``die`` ends its process.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any

from staproj.stages.api import StageContext
from tests.integration import toy_stages as toy

TEMPLATE = """schema = 2
[project]
name = "slow"
[step.import]
stage = "toy_import"
[step.import.params]
movies = "raw/*.txt"
[step.slow]
stage = "toy_slow"
inputs = { tilt_series = "import" }
[step.slow.params]
offset_px = 2.0
[step.mean]
stage = "toy_mean"
inputs = { tilt_series = "slow" }
"""


def run_slow(inputs: dict[str, Any], params: Any, ctx: StageContext) -> dict[str, Any]:
    """Wait as the files of the test say, then shift."""
    control = Path(os.environ["TOY_CONTROL"])
    with (control / "calls").open("a") as calls:
        calls.write(f"{ctx.item}\n")
    (control / "gpu").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
    ctx.progress(1, 4, "waiting")
    if (control / "deaf").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as one that hangs in a library
    time.sleep(float(os.environ.get("TOY_SLEEP_S", "0")))
    while (control / "hold").exists() or (control / f"hold-{ctx.item}").exists():
        time.sleep(0.02)
        if not (control / "deaf").exists():
            ctx.check_cancelled()
        if (control / "die").exists():
            os.kill(os.getpid(), signal.SIGKILL)
    return toy.run_shift(inputs, params, ctx)


SLOW = dataclasses.replace(toy.SHIFT, name="toy_slow", run="tests.integration.job_stages:run_slow")
