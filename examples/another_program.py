"""Run the pipeline on images that another program simulated, and compare the average with the truth.

The dataset is one tilt series of one virus-like particle, made with cryoJAX through a real geometry of
EMPIAR-10164: 40 views of 288 x 288 pixels at 5.4 Å, 234 hexamers, 6 gold beads. It comes as a stack with a
``.rawtlt`` file, so the pipeline starts at ``import_stack``.

    python examples/another_program.py [DATA] [--project DIR]

DATA is the directory with ``TS_01.mrc``, ``TS_01.rawtlt`` and ``truth.npz`` (default:
../shared/data/sim_vlp_cryojax beside the repository). Ends with exit code 1 if the map is worse than 1.5
times the bound.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from staproj.api import Project
from staproj.errors import StaprojError
from staproj.testing.cryojax_set import write_truth
from staproj.testing.score import score_project

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "sim_vlp_cryojax"
WORST_RATIO = 1.5


def make_project(data: Path, root: Path) -> Project:
    """Return a project for the stack; the facts that no file holds are given here."""
    if (root / "staproj.toml").exists():
        return Project.open(root)
    return Project.create(
        root,
        template="stack",
        movies=str(data / "TS_01.mrc"),
        sets={
            "import_stack.angles": str(data / "TS_01.rawtlt"),
            "import_stack.order": "dose_symmetric",
            "import_stack.tilt_axis_deg": 85.3,
            "import_stack.exposure_e_per_angstrom2": 3.0,
            # What the microscope aimed at (TargetDefocus in the mdoc of the real series): used where Thon
            # rings are too weak, as in these small noisy fields without ice.
            "ctf.nominal_defocus_um": 4.0,
            # Enough for 234 particles, and quicker than the defaults.
            "initial_reference.max_particles": 100,
            "initial_reference.n_starts": 2,
        },
    )


def average_and_compare(data: Path, root: Path) -> dict[str, Any]:
    """Run whatever is not fresh, and return the scores."""
    project = make_project(data, root)
    project.run()
    truth = root / "truth"
    if not (truth / "truth.json").exists():
        write_truth(data, truth)
    scores: dict[str, Any] = score_project(root, truth)
    scores["fallbacks"] = [
        f"{step['step']}: {text}"
        for step in project.status()["steps"]
        for item in project.record(step["step"]).items.values()
        for text in item.fallbacks
    ]
    return scores


def main() -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, nargs="?", default=DATA)
    parser.add_argument("--project", type=Path, default=None)
    arguments = parser.parse_args()
    if not (arguments.data / "truth.npz").is_file():
        print(f"no dataset in {arguments.data}", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory() as scratch:
            scores = average_and_compare(arguments.data, arguments.project or Path(scratch) / "project")
    except StaprojError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    ours, bound = scores["map"]["fsc05_angstrom"], scores["map"]["oracle_fsc05_angstrom"]
    for text in scores["fallbacks"]:
        print(f"not as asked: {text}")
    print(f"map against truth, FSC 0.5:            {ours:.1f} Å")
    print(f"average at the true poses, FSC 0.5:    {bound:.1f} Å (the bound)")
    print(f"ratio:                                 {ours / bound:.2f} (at most {WORST_RATIO})")
    return 0 if ours <= WORST_RATIO * bound else 1


if __name__ == "__main__":
    sys.exit(main())
