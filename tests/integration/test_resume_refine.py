"""A refinement that is cut off goes on after its last finished round, and ends with the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from staproj.errors import CancelledError
from staproj.testing.stage_harness import RecordingContext, StageResult, run_stage
from tests.integration.test_particle_stages import BOX, Scene

ROUNDS = 3


@dataclass
class CutOff(RecordingContext):
    """Stops the stage when a round is done (its checkpoint is on the disk by then), or in the next one."""

    at_round: int = 1
    in_next: bool = False
    seen: int = 0

    def progress(self, done: float, total: float, message: str = "") -> None:
        """Count rounds."""
        self.seen = int(done)
        if self.seen == self.at_round and not self.in_next:
            raise CancelledError("cut off")

    def check_cancelled(self) -> None:
        """Stop in the middle of the round after."""
        if self.in_next and self.seen == self.at_round:
            raise CancelledError("cut off")


def refine(scene: Scene, folder: Path, start: str, ctx: RecordingContext | None = None) -> StageResult:
    """Refine displaced particles."""
    inputs = {"particles": scene.displaced(6.0, 8.0), "map": scene.map, **scene.inputs(False)}
    params = {**BOX, "binning": 1, "n_iterations": ROUNDS, "start": start}
    return run_stage("refine", inputs, params, folder, ctx=ctx)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all outputs."""
    out = folder / "refine" / "out"
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("start", ["map", "particles"])
def test_a_resumed_refinement_has_the_same_bytes(tmp_path: Path, start: str) -> None:
    """Cut off after and within every round; one round at most is repeated; files and records are the same."""
    scene = Scene(tmp_path, n=12)
    whole = refine(scene, tmp_path / "whole", start)
    wanted = contents(tmp_path / "whole")
    assert {"average.mrc", "half_1.mrc", "half_2.mrc", "particles.h5", "fsc.h5"} <= set(wanted)
    n_rounds = len(whole.ctx.tables["rounds"]["round"])
    cuts = [(at, False) for at in range(1, n_rounds + 1)] if start == "map" else [(1, True)]
    for at, in_next in cuts:
        folder = tmp_path / f"cut-{at}"
        ctx = CutOff(folder / "refine", threads=1, at_round=at, in_next=in_next)
        with pytest.raises(CancelledError):
            refine(scene, folder, start, ctx)
        resumed = refine(scene, folder, start)
        told = [message for message in resumed.ctx.messages if message.startswith("round ")]
        assert len(told) == n_rounds - at, "a finished round was repeated"
        assert contents(folder) == wanted
        assert resumed.ctx.metrics == whole.ctx.metrics
        assert resumed.ctx.verdicts == whole.ctx.verdicts
        for name, column in whole.ctx.tables["rounds"].items():
            np.testing.assert_array_equal(resumed.ctx.tables["rounds"][name], column)
        assert not (folder / "refine" / "checkpoint").exists()


def test_a_damaged_checkpoint_does_not_count(tmp_path: Path) -> None:
    """With one bit turned in the checkpoint all rounds are made anew, to the same end."""
    scene = Scene(tmp_path, n=12)
    whole = refine(scene, tmp_path / "whole", "map")
    folder = tmp_path / "cut"
    with pytest.raises(CancelledError):
        refine(scene, folder, "map", CutOff(folder / "refine", threads=1, at_round=1))
    (path,) = (folder / "refine" / "checkpoint").glob("*.npz")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    path.write_bytes(bytes(damaged))
    resumed = refine(scene, folder, "map")
    told = [message for message in resumed.ctx.messages if message.startswith("round ")]
    assert len(told) == len(whole.ctx.tables["rounds"]["round"])
    assert resumed.ctx.metrics == whole.ctx.metrics


def test_a_resumed_initial_reference_has_the_same_bytes(tmp_path: Path) -> None:
    """Cut off after its first try: that is not made again, and the second draws what it would have drawn."""
    scene = Scene(tmp_path, n=8)
    params = {**BOX, "binning": 1, "max_particles": 8, "n_starts": 2, "n_iterations": 2}
    params |= {"shift_range_angstrom": 16.0, "axial_range_angstrom": 16.0, "resolution_angstrom": 28.0}
    inputs = {"particles": {"TS": scene.displaced(3.0, 6.0)}, **scene.inputs(False)}
    whole = run_stage("initial_reference", inputs, params, tmp_path / "whole")
    folder = tmp_path / "cut"
    with pytest.raises(CancelledError):
        run_stage(
            "initial_reference", inputs, params, folder, ctx=CutOff(folder / "initial_reference", threads=1)
        )
    resumed = run_stage("initial_reference", inputs, params, folder)
    assert "try 1 was finished before" in resumed.ctx.messages
    name = "initial_reference/out/reference.mrc"
    assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert resumed.ctx.metrics == whole.ctx.metrics
