"""Export what a project knows about its particles as a RELION 5 project folder.

The folder holds ``tomograms.star``, one STAR file a tilt series, ``particles.star``, half maps, mask,
``optimisation_set.star`` and ``provenance.json``, which says from which runs every number came. Paths to
images are relative to the folder: start RELION inside of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.api.listing import is_run
from staproj.errors import InputError, StorageError, UsageError
from staproj.project.layout import SIDECAR
from staproj.project.manifest import suggestion

if TYPE_CHECKING:
    from staproj.api.project import Project
    from staproj.formats.relion5 import Relion5Series
    from staproj.model.ctf import CtfModel
    from staproj.model.geometry import TiltGeometry
    from staproj.model.particles import ParticleSet
    from staproj.model.tilt_series import TiltSeries

PARTICLE_STAGES = ("refine", "select")
MAX_UNSAID_PX = 0.01
"""Displacements by what RELION 5 cannot express (magnification of views) up to this go unmentioned."""
_DEFAULT_THICKNESS_ANGSTROM = 3000.0


@dataclass(frozen=True)
class _Sources:
    """Runs the export is made from: ``{what: (run, port)}``, and the chain of runs behind the particles."""

    uses: Mapping[str, tuple[str, str]]
    chain: list[dict[str, Any]]
    mask_run: str | None
    maps_run: str | None


def export_relion5(
    project: Project, out_dir: str | Path, *, step: str | None = None, anonymous: bool = False
) -> dict[str, Any]:
    """Write a RELION 5 folder of the particles of ``step`` (default: the last refine, else select, step).

    Returns ``{"directory", "files", "n_particles", "tilt_series", "runs", "warnings"}``.

    Raises
    ------
    UsageError
        If the folder exists and is not empty, lies among the runs, or no step has particles yet.
    InputError
        If particles, alignment and views do not fit together.
    """
    out = Path(out_dir).absolute()
    _check_target(project, out)
    sources = _sources(project, step)
    temporary = out.with_name(out.name + ".part")
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    try:
        result = _write(project, sources, temporary, out, anonymous)
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return result


def _check_target(project: Project, out: Path) -> None:
    runs = project.root.resolve() / "runs"
    if out.resolve().is_relative_to(runs):
        raise UsageError("exports do not go among the runs", where=str(out), hint="use exports/NAME")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("the folder exists and is not empty", where=str(out), hint="give a new name")


def _sources(project: Project, step: str | None) -> _Sources:
    steps = project.status()["steps"]
    if step is None:
        made = [s for s in steps if s["run"] and s["stage"] in PARTICLE_STAGES]
        if not made:
            raise UsageError("no step has selected or refined particles yet", hint="`staproj run` first")
        refined = [s for s in made if s["stage"] == "refine"]
        step = (refined or made)[-1]["step"]
    elif step not in {s["step"] for s in steps} and not is_run(step):
        raise UsageError(
            f"there is no step {step!r}", hint=suggestion(step, [s["step"] for s in steps], "steps")
        )
    lineage = project.lineage(step)
    run, chain = str(lineage["run"]), lineage["chain"]
    uses = {"particles": (run, "particles")}
    for node in chain:
        if "alignment" in node["inputs"] and "tilt_series" in node["inputs"]:
            for port in ("tilt_series", "alignment", "ctf"):
                if port in node["inputs"]:
                    uses[port] = (node["inputs"][port]["run"], node["inputs"][port]["port"])
            break
    else:
        raise UsageError(f"step {step} was not made from aligned tilt series", hint="name a refine step")
    if "slab" in project.show(uses["alignment"][0])["outputs"]:
        uses["slab"] = (uses["alignment"][0], "slab")
    maps_run = _run_made_from(project, steps, "average", run)
    if maps_run is None and next(n for n in chain if n["run"] == run)["stage"] == "refine":
        maps_run = run
    mask_run = _run_made_from(project, steps, "mask", maps_run) if maps_run else None
    return _Sources(uses, chain, mask_run, maps_run)


def _run_made_from(project: Project, steps: list[dict[str, Any]], stage: str, source: str) -> str | None:
    """Return the last head of a stage that has run ``source`` as a direct input."""
    for entry in reversed(steps):
        if entry["stage"] == stage and entry["run"]:
            node = project.lineage(entry["run"])["chain"][0]
            if any(use["run"] == source for use in node["inputs"].values()):
                return str(entry["run"])
    return None


def _write(project: Project, sources: _Sources, folder: Path, final: Path, anonymous: bool) -> dict[str, Any]:
    from staproj.formats.relion5 import write_optimisation_set, write_particles, write_tomograms

    loaded = {what: project.artifact(*use) for what, use in sources.uses.items()}
    particles: ParticleSet = loaded["particles"]
    lost = sorted(set(particles.tilt_series_id.tolist()) - set(loaded["alignment"]))
    if lost:
        raise InputError(f"particles refer to tilt series without alignment: {', '.join(lost)}")
    warnings: list[str] = []
    series = {name: _series(name, loaded, final, warnings) for name in sorted(loaded["alignment"])}
    warnings += _unsaid(particles, loaded["alignment"])
    write_tomograms(folder, series)
    write_particles(folder / "particles.star", particles, series)
    if not (particles.half_set > 0).all():
        warnings.append("half-sets are not assigned: rlnRandomSubset is left out")
    files = _copy_maps(project, sources, folder, warnings)
    write_optimisation_set(folder / "optimisation_set.star", files)
    runs = {what: f"{run}.{port}" for what, (run, port) in sources.uses.items()}
    runs |= {"half_maps": sources.maps_run or "", "mask": sources.mask_run or ""}
    written = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    _write_provenance(project, sources, folder, runs, written, warnings, anonymous)
    return {
        "directory": str(final),
        "files": [*written, SIDECAR],
        "n_particles": len(particles),
        "tilt_series": list(series),
        "runs": runs,
        "warnings": warnings,
    }


def _series(name: str, loaded: Mapping[str, Any], final: Path, warnings: list[str]) -> Relion5Series:
    """Collect what RELION wants to know about one tilt series."""
    import math

    from staproj.formats.relion5 import Relion5Series

    geometry: TiltGeometry = loaded["alignment"][name]
    views: TiltSeries | None = loaded["tilt_series"].get(name)
    if views is None or views.n_views != geometry.n_views or views.image_shape_yx != geometry.image_shape_yx:
        raise InputError("alignment and views do not belong together", where=name)
    ctf: CtfModel | None = loaded.get("ctf", {}).get(name)
    if ctf is None:
        warnings.append(f"{name}: no CTF, so no defocus was written")
    elif ctf.n_views != geometry.n_views:
        raise InputError("CTF and alignment have different numbers of views", where=name)
    pixel = geometry.pixel_size_angstrom
    ny, nx = geometry.image_shape_yx
    slab = loaded.get("slab", {}).get(name)
    size = (nx * pixel, ny * pixel, _DEFAULT_THICKNESS_ANGSTROM) if slab is None else slab.size_xyz_angstrom
    even = [2 * math.ceil(float(length) / pixel / 2.0 - 1e-9) for length in size]
    stack = os.path.relpath(views.stack_path, final)
    suffix = "" if stack.endswith(".mrcs") else ":mrcs"
    return Relion5Series(
        geometry=replace(geometry, view_used=geometry.view_used & views.view_used),
        ctf=ctf,
        stage_tilt_deg=views.stage_tilt_deg,
        pre_exposure_e_per_angstrom2=views.pre_exposure_e_per_angstrom2,
        micrograph_names=tuple(f"{v + 1:06d}@{stack}{suffix}" for v in range(views.n_views)),
        tomogram_size_xyz_px=(even[0], even[1], even[2]),
    )


def _unsaid(particles: ParticleSet, alignment: Mapping[str, TiltGeometry]) -> list[str]:
    """Say how far off particles come out because RELION 5 knows no magnification of views."""
    import numpy as np

    warnings = []
    for name, geometry in alignment.items():
        mine = particles.of_series(name)
        if len(mine) == 0 or np.all(geometry.magnification == 1.0):
            continue
        plain = replace(geometry, magnification=np.ones_like(geometry.magnification))
        moved = geometry.project(mine.position_xyz_angstrom) - plain.project(mine.position_xyz_angstrom)
        worst = float(np.abs(moved[geometry.view_used]).max())
        if worst > MAX_UNSAID_PX:
            warnings.append(
                f"{name}: views have magnifications, which RELION 5 has not; "
                f"particles are up to {worst:.2f} px off"
            )
    return warnings


def _copy_maps(project: Project, sources: _Sources, folder: Path, warnings: list[str]) -> Any:
    from staproj.formats.relion5 import Relion5Files

    if sources.maps_run is None:
        warnings.append("there are no half maps of these particles yet")
        return Relion5Files()
    halves = project.artifact(sources.maps_run, "half_maps")
    _copy_map(project, sources.maps_run, halves.half_1_path, folder / "half1.mrc")
    _copy_map(project, sources.maps_run, halves.half_2_path, folder / "half2.mrc")
    if sources.mask_run is None:
        warnings.append("there is no mask made from the average of these particles yet")
        return Relion5Files("half1.mrc", "half2.mrc")
    _copy_map(project, sources.mask_run, project.artifact(sources.mask_run, "mask").path, folder / "mask.mrc")
    return Relion5Files("half1.mrc", "half2.mrc", "mask.mrc")


def _copy_map(project: Project, run: str, path: Path, target: Path) -> None:
    """Copy a map of the project; outside of it, a record from elsewhere may name any file of this machine."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(project.root)):
        raise StorageError(
            f"the record of {run} names a map outside of the project: it is not copied",
            where=str(path),
            hint="rerun the step, so that the project holds its own map",
        )
    shutil.copyfile(path, target)


def _write_provenance(
    project: Project,
    sources: _Sources,
    folder: Path,
    roles: Mapping[str, str],
    written: list[str],
    warnings: list[str],
    anonymous: bool,
) -> None:
    from staproj.engine import sidecar

    origin = {f"{part}.mrc": (sources.maps_run, "half_maps") for part in ("half1", "half2")}
    origin |= {"mask.mrc": (sources.mask_run, "mask"), "particles.star": sources.uses["particles"]}
    files = {}
    for name in written:
        run, port = origin.get(name, (None, None))
        files[name] = sidecar.describe_file(folder / name, run=run, port=port)
    record = project.provenance.sidecar(
        "relion5",
        files,
        {
            run
            for run in [*(run for run, _ in sources.uses.values()), sources.maps_run, sources.mask_run]
            if run
        },
        anonymous=anonymous,
        roles=dict(roles),
        warnings=warnings,
        conventions={
            "position": "centred coordinate / px + size / 2.0, origins are 0",
            "orientation": "Rz(-psi) Ry(-tilt) Rz(-rot) takes reference axes to tomogram axes",
            "defocus": "view + rlnTomoHand * depth, Å, positive = underfocus",
            "pre_exposure": "received before the view began",
        },
    )
    sidecar.write(folder, record)
