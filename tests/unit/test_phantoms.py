"""The simulator of microscope sessions against formulas written here and against the model's own geometry."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mdocfile
import mrcfile
import numpy as np
import pytest

from staproj.errors import UsageError
from staproj.formats.artifact import read_artifact
from staproj.formats.movie import Movie
from staproj.kernels.ctf import ctf_2d, exposure_filter
from staproj.model.tilt_series import TiltSeries
from staproj.testing.phantoms import (
    detector,
    hexamer,
    imaging,
    microscope,
    optics,
    settings,
    simulate,
    specimen,
)
from staproj.testing.truth import Truth, load_truth

SMALL = {"n_views": 5, "image_shape_yx": (190, 201), "n_beads": 4, "vlp_radius_angstrom": 280.0}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Truth]:
    """Give (session, ideal stacks, truth) of a small session with an odd image size."""
    root = tmp_path_factory.mktemp("session")
    truth = simulate(root / "s", "tiny", seed=5, threads=1, ideal_stacks=root / "ideal", **SMALL)
    return root / "s", root / "ideal", truth


def _one_blob(monkeypatch, position, sigma_angstrom):
    """Give a specimen of one blob, an acquisition and settings, with ice noise switched off."""
    monkeypatch.setattr(imaging, "ICE_NOISE_CONTRAST_ANGSTROM", 0.0)
    chosen = settings.resolve(
        "tiny",
        {"n_beads": 0, "n_vlps": 0, "image_shape_yx": (75, 90), "n_views": 5, "vlp_radius_angstrom": 200.0},
    )
    rng = np.random.default_rng(3)
    empty = specimen.build("TS_01", chosen, rng)
    blob = dataclasses.replace(
        empty,
        blob_xyz_angstrom=np.array([position]),
        blob_sigma_angstrom=np.array([sigma_angstrom]),
        blob_weight_angstrom3=np.array([5.0e5]),
    )
    return blob, microscope.acquire("TS_01", 0, chosen, rng), chosen


def _direct_contrast(position, sigma, acquisition, chosen, view, pixels_xy):
    """Contrast of a Gaussian blob at some pixels, by quadrature over frequencies."""
    geometry, ctf = acquisition.alignment, acquisition.ctf
    centre = geometry.project(np.array([position]))[view, 0]
    depth = geometry.depth(np.array([position]))[view, 0]
    limit, n = 0.055, 1201
    axis = np.linspace(-limit, limit, n)
    fx, fy = np.meshgrid(axis, axis)
    f = np.hypot(fx, fy)
    wavelength = 12.2643247 / np.sqrt(300e3 * (1 + 300e3 * 0.978466e-6))
    direction = np.arctan2(fy, fx) - np.deg2rad(ctf.astigmatism_deg[view])
    u, v = ctf.defocus_u_um[view] * 1e4, ctf.defocus_v_um[view] * 1e4
    defocus = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2 * direction) - depth
    chi = np.pi * wavelength * defocus * f**2 - 0.5 * np.pi * 2.7e7 * wavelength**3 * f**4 + np.arcsin(0.07)
    dose = acquisition.pre_exposure_e_per_angstrom2[view] + 0.5 * chosen.exposure_e_per_angstrom2
    kept = np.exp(-dose / (2 * (0.245 * np.maximum(f, 1e-9) ** -1.665 + 2.81)))
    spectrum = np.sin(chi) * kept * np.exp(-imaging.ENVELOPE_B_ANGSTROM2 * f**2 / 4)
    spectrum = (
        spectrum * np.exp(-2 * np.pi**2 * sigma**2 * f**2) * 5.0e5 * imaging.PROTEIN_CONTRAST_PER_ANGSTROM
    )
    step = axis[1] - axis[0]
    values = []
    for x, y in pixels_xy:
        dx, dy = (np.array([x, y]) - centre) * chosen.pixel_size_angstrom
        values.append((spectrum * np.cos(2 * np.pi * (fx * dx + fy * dy))).sum() * step**2)
    return np.array(values)


@pytest.mark.parametrize("view", [0, 2, 4])
def test_projection_equals_direct_integration(monkeypatch, view):
    """A Gaussian blob off the centre is imaged as the integral over frequencies says, at every tilt."""
    position, sigma = [90.0, -60.0, 130.0], 22.0
    blob, acquisition, chosen = _one_blob(monkeypatch, position, sigma)
    image = imaging.ideal_view(blob, acquisition, chosen, view, np.random.default_rng(0))
    x, y = np.rint(acquisition.alignment.project(np.array([position]))[view, 0]).astype(int)
    pixels = [(x, y), (x + 1, y), (x, y - 2), (x - 3, y + 1), (x + 4, y + 4), (x - 7, y - 2)]
    wanted = _direct_contrast(position, sigma, acquisition, chosen, view, pixels)
    y0, x0 = image.origin_yx
    found = np.array([image.protein[py + y0, px + x0] for px, py in pixels])
    assert np.abs(found - wanted).max() < 0.004 * np.abs(wanted).max()


def test_ice_absorbs_along_the_slanted_path(monkeypatch):
    """Without protein, noise and gold a view has the beam that Beer's law leaves."""
    blob, acquisition, chosen = _one_blob(monkeypatch, [0.0, 0.0, 0.0], 20.0)
    blob = dataclasses.replace(blob, blob_weight_angstrom3=np.zeros(1))
    for view in (0, 2):
        tilt = np.deg2rad(acquisition.alignment.tilt_deg[view])
        x_tilt = np.deg2rad(acquisition.alignment.x_tilt_deg[view])
        path = chosen.ice_thickness_angstrom / (np.cos(tilt) * np.cos(x_tilt))
        image = imaging.ideal_view(blob, acquisition, chosen, view, np.random.default_rng(0))
        assert np.allclose(image.intensity, np.exp(-path / imaging.ICE_ABSORPTION_ANGSTROM), rtol=1e-5)


def test_simulated_ctf_and_damage_agree_with_the_kernels():
    """Two implementations written apart from each other give the same CTF and the same damage."""
    fx = np.linspace(-0.18, 0.18, 41)[None, :]
    fy = np.linspace(-0.18, 0.18, 37)[:, None]
    chi = optics.phase(
        fx,
        fy,
        defocus_u_angstrom=31000.0,
        defocus_v_angstrom=29500.0,
        astigmatism_deg=33.0,
        voltage_kv=300.0,
        spherical_aberration_mm=2.7,
        amplitude_contrast=0.07,
    )
    other = ctf_2d(
        fx,
        fy,
        defocus_u_angstrom=31000.0,
        defocus_v_angstrom=29500.0,
        astigmatism_deg=33.0,
        voltage_kv=300.0,
        spherical_aberration_mm=2.7,
        amplitude_contrast=0.07,
    )
    assert np.abs(np.sin(chi) - other).max() < 2e-3
    f = np.linspace(0.0, 0.3, 50)
    assert np.abs(optics.damage(f, 60.0) - exposure_filter(f, 60.0)).max() < 1e-6
    assert abs(optics.wavelength_angstrom(300.0) - 0.0196875) < 1e-6


def test_reference_map_is_the_sum_of_its_blobs():
    """Voxels of the reference equal the sum of Gaussians worked out one by one, neighbours included."""
    volume = hexamer.reference_map(6.0, 375.0, 72.0)
    n = volume.shape[0]
    position, sigma, weight = hexamer.blobs()
    sites, turns = hexamer.lattice_neighbours(375.0, 72.0)
    assert n % 2 == 0
    for x, y, z in [(0, 0, 0), (5, -2, 3), (-7, 6, -4), (12, 1, -1), (-3, -13, 2)]:
        total = 0.0
        for site, turn in zip(sites, turns, strict=True):
            for p, s, w in zip(position, np.maximum(sigma, 4.2), weight, strict=True):
                d2 = np.sum((np.array([x, y, z]) * 6.0 - site - turn @ p) ** 2)
                total += w * np.exp(-d2 / (2 * s * s)) / (2 * np.pi * s * s) ** 1.5
        assert volume[z + n // 2, y + n // 2, x + n // 2] == pytest.approx(total, rel=1e-3, abs=1e-5)


def test_lattice_neighbours_lie_on_the_sphere():
    """Neighbouring sites lie on the sphere about (0, 0, -R), their normals pointing outwards."""
    sites, turns = hexamer.lattice_neighbours(375.0, 72.0)
    outward = sites + np.array([0.0, 0.0, 375.0])
    assert np.allclose(np.linalg.norm(outward, axis=1), 375.0)
    assert np.allclose(outward / 375.0, turns[:, :, 2])
    assert np.isclose(np.sort(np.linalg.norm(sites, axis=1))[1], 2 * 375.0 * np.sin(36.0 / 375.0))


def _turned_about_z(position, angle_deg):
    a = np.deg2rad(angle_deg)
    return position @ np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])


def _overlap(first, second):
    """Correlation of two sets of equally wide blobs as wide as those of the particle."""
    d2 = np.sum((first[:, None] - second[None]) ** 2, axis=2)
    return np.exp(-d2 / (4 * 5.0**2)).sum()


def test_particle_is_sixfold_chiral_and_polar():
    """Sixty degrees map the particle onto itself; its mirror image and its upside down do not fit it."""
    position, _, _ = hexamer.blobs()
    angles = np.arange(0.0, 60.0, 5.0)
    ring = np.mean([_overlap(position, _turned_about_z(position, a)) for a in angles])
    own = _overlap(position, position) - ring

    def best(other):
        return max(_overlap(position, _turned_about_z(other, a)) for a in angles) - ring

    assert _overlap(position, _turned_about_z(position, 60.0)) - ring == pytest.approx(own)
    assert best(position) == pytest.approx(own)
    assert best(position * np.array([-1.0, 1.0, 1.0])) < 0.55 * own
    assert best(position * np.array([1.0, -1.0, -1.0])) < 0.55 * own


def test_particles_form_a_hexagonal_lattice_on_spheres(session):
    """Particles sit on the spheres about one spacing apart, look outwards, and point at a neighbour."""
    truth = session[2]
    for one in truth.series.values():
        p = one.particles
        radial = p.position_xyz_angstrom - one.spheres.centre_xyz_angstrom[p.object_id]
        distance = np.linalg.norm(radial, axis=1)
        assert np.abs(distance / one.spheres.radius_angstrom[p.object_id] - 1).max() < 0.06
        cosine = np.einsum("ni,ni->n", radial / distance[:, None], p.rot_tomo_from_ref[:, :, 2])
        assert np.rad2deg(np.arccos(cosine)).mean() < 3.5
        gap = np.linalg.norm(p.position_xyz_angstrom[:, None] - p.position_xyz_angstrom[None], axis=2)
        np.fill_diagonal(gap, np.inf)
        near = gap < 1.35 * truth.spacing_angstrom
        assert 0.88 * truth.spacing_angstrom < np.median(gap.min(axis=1)) < 1.05 * truth.spacing_angstrom
        assert 4.5 < near.sum(axis=1).mean() < 6.0
        i, j = np.nonzero(near)
        bond = p.position_xyz_angstrom[j] - p.position_xyz_angstrom[i]
        local = np.einsum("nij,ni->nj", p.rot_tomo_from_ref[i], bond)
        order = np.exp(6j * np.arctan2(local[:, 1], local[:, 0])).mean()
        assert order.real > 0.7
        assert abs(order.imag) < 0.1
        assert np.allclose(np.linalg.det(p.rot_tomo_from_ref), 1.0)


def test_beads_are_where_the_model_projects_them(session):
    """The darkest spot near each projected bead is its centre to half a pixel, in every view."""
    _, ideal, truth = session
    for name, one in truth.series.items():
        series = read_artifact(ideal / name / "tilt_series.h5", TiltSeries, project_root=ideal)
        with mrcfile.open(series.stack_path) as handle:
            stack = handle.data.astype(float)
        seen = 0
        for view, xy in enumerate(one.alignment.project(one.gold.position_xyz_angstrom)):
            apart = np.linalg.norm(xy[:, None] - xy[None], axis=2) + 1e3 * np.eye(len(xy))
            for bead, (x, y) in enumerate(xy):
                if not (14 < x < 186 and 14 < y < 175) or apart[bead].min() < 18:
                    continue
                row, column = round(y), round(x)
                patch = stack[view, row - 9 : row + 10, column - 9 : column + 10]
                gy, gx = np.mgrid[-9:10, -9:10]
                edge = np.median(patch[gy**2 + gx**2 > 64])
                dark = np.where(gy**2 + gx**2 < 60, np.maximum(0.75 * edge - patch, 0.0), 0.0)
                found = np.array([(dark * gx).sum(), (dark * gy).sum()]) / dark.sum()
                assert np.abs(found + np.array([column - x, row - y])).max() < 0.5
                seen += 1
        assert seen >= 10


def test_mdoc_reads_as_serialem_wrote_it(session):
    """A reader of SerialEM files finds sections in time order, Windows paths, doses, and the zero dose."""
    root, _, truth = session
    first, last = (mdocfile.read(root / "mdoc" / f"TS_0{k}.mdoc") for k in (1, 2))
    assert list(first["ExposureDose"].astype(float)) == [6.0] * 5
    assert list(first["PriorRecordDose"].astype(float)) == [0.0, 6.0, 12.0, 18.0, 24.0]
    assert set(last["ExposureDose"].astype(float)) == {0.0}
    tilts = np.round(first["TiltAngle"].astype(float))
    assert list(tilts) == [0.0, 30.0, -30.0, -60.0, 60.0]
    for table, name in ((first, "TS_01"), (last, "TS_02")):
        names = [str(path).rsplit("\\", 1)[-1] for path in table["SubFramePath"]]
        assert all(str(path).startswith("D:\\DATA") for path in table["SubFramePath"])
        assert sorted(names) == sorted(p.name for p in (root / "frames").glob(f"{name}_*"))
        assert all(int(n) == 3 for n in table["NumSubFrames"])
    assert "Tilt axis angle = 85.3" in (root / "mdoc" / "TS_01.mdoc").read_text()
    assert truth.info["settings"]["n_views"] == 5


def test_movies_hold_the_promised_electrons(session):
    """Frames times gain have the mean of beam and ice, as MRC and as TIFF; drift adds up to nothing."""
    root, _, truth = session
    with mrcfile.open(root / "gain.mrc") as handle:
        gain = handle.data.copy()
    assert gain.mean() == pytest.approx(1.0, abs=1e-3)
    assert 0.02 < gain.std() < 0.08
    for name, ending in (("TS_01", "mrc"), ("TS_02", "tif")):
        one = truth.series[name]
        path = root / "frames" / f"{name}_000_0.0.{ending}"
        with Movie(path) as movie:
            assert movie.shape == (3, 190, 201)
            frames = np.stack([movie.frame(k) for k in range(3)])
        tilt = np.deg2rad(one.alignment.tilt_deg[2])
        x_tilt = np.deg2rad(one.alignment.x_tilt_deg[2])
        path_angstrom = truth.info["slab_thickness_angstrom"] / np.cos(tilt) / np.cos(x_tilt)
        expected = 6.0 * 81.0 / 3 * np.exp(-path_angstrom / imaging.ICE_ABSORPTION_ANGSTROM)
        assert np.median(frames * gain) == pytest.approx(expected, rel=0.03)
        assert (frames > 2 * expected).any()
        assert one.drift is not None
        assert np.abs(one.drift.drift_xy_px.mean(axis=1)).max() < 1e-12
        assert 0.5 < np.abs(np.diff(one.drift.drift_xy_px, axis=1)).max() < 5.0


def test_frames_move_by_the_drift():
    """Content of frame f lies at +drift, and the ideal sum puts it back."""
    chosen = settings.resolve(
        "tiny",
        {
            "n_frames": 2,
            "exposure_e_per_angstrom2": 100.0,
            "vlp_radius_angstrom": 200.0,
            "image_shape_yx": (70, 81),
            "n_vlps": 0,
            "n_beads": 0,
        },
    )
    y, x = np.mgrid[0:100, 0:110]
    dark = 1.0 - 0.8 * np.exp(-((x - 54.0) ** 2 + (y - 47.0) ** 2) / 32.0)
    view = imaging.IdealView(dark.astype(np.float32), np.zeros((100, 110), np.float32), (12, 14))
    rng = np.random.default_rng(1)
    camera = dataclasses.replace(
        detector.build(chosen, rng), hot_yx=(np.zeros(0, int), np.zeros(0, int)), hot_counts=np.zeros(0)
    )
    drift = np.array([[1.6, -2.2], [-1.6, 2.2]])
    made = detector.record(view, drift, camera, chosen, rng, dtype=np.int16, with_ideal=True)
    gy, gx = np.mgrid[0:70, 0:81]

    def centroid(image):
        hole = np.maximum(0.93 * np.median(image) - image, 0.0) * (np.hypot(gx - 40, gy - 35) < 14)
        return np.array([(hole * gx).sum(), (hole * gy).sum()]) / hole.sum()

    for frame, moved in zip(made.frames, drift, strict=True):
        assert np.abs(centroid(frame * camera.gain) - (np.array([40.0, 35.0]) + moved)).max() < 0.15
    assert made.ideal is not None
    assert np.abs(centroid(made.ideal) - [40.0, 35.0]).max() < 0.15


def test_same_seed_gives_same_bytes(session, tmp_path):
    """A session depends on its seed and on nothing else, such as the number of threads."""
    root = session[0]
    simulate(tmp_path / "again", "tiny", seed=5, threads=3, **SMALL)
    simulate(tmp_path / "other", "tiny", seed=6, threads=1, **SMALL)
    for path in sorted(root.rglob("*")):
        if path.is_file():
            twin = tmp_path / "again" / path.relative_to(root)
            assert path.read_bytes() == twin.read_bytes(), path.name
    movie = "frames/TS_01_000_0.0.mrc"
    assert (root / movie).read_bytes() != (tmp_path / "other" / movie).read_bytes()


def test_acquisition_order_is_dose_symmetric():
    """Views go 0, +1, -1, -2, +2, +3, -3, -4 ... from the middle, and every view comes once."""
    order = np.argsort(microscope.dose_symmetric_order(9)) - 4
    assert list(order) == [0, 1, -1, -2, 2, 3, -3, -4, 4]
    for n in (3, 4, 16, 41):
        assert sorted(microscope.dose_symmetric_order(n)) == list(range(n))


def test_real_geometry_is_taken_from_star_files(shared_data):
    """With a directory of RELION 5 star files the views have their tilts, axes and defoci."""
    folder = shared_data / "empiar10164_geometry"
    chosen = settings.resolve("tiny", {"real_geometry_dir": folder, "n_views": 41})
    made = microscope.acquire("TS_01", 1, chosen, np.random.default_rng(0))
    assert len(made.stage_tilt_deg) == 41
    assert np.allclose(made.alignment.tilt_deg - made.stage_tilt_deg, 0.829, atol=0.02)
    assert abs(made.alignment.tilt_axis_deg[20] - 85.27) < 0.01
    assert made.acquisition_index[20] == 0
    assert 1.3 < np.median(made.ctf.defocus_u_um) < 1.8


@pytest.mark.parametrize(
    ("preset", "override", "message"),
    [
        ("huge", {}, "no preset"),
        ("tiny", {"n_view": 3}, "n_view"),
        ("tiny", {"pixel_size_angstrom": 0.0}, "pixel_size_angstrom"),
        ("tiny", {"vlp_radius_angstrom": 1400.0}, "does not fit"),
        ("tiny", {"n_vlps": 9}, "VLPs"),
        ("tiny", {"n_beads": 60, "bead_diameter_angstrom": 300.0}, "beads"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, preset, override, message):
    """A preset, a setting or a specimen that cannot be gives one error that names it."""
    with pytest.raises(UsageError, match=message):
        simulate(tmp_path / "s", preset, **override)


def test_full_directory_is_left_alone(tmp_path):
    """A directory that holds something is not simulated into."""
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="empty"):
        simulate(tmp_path, "tiny")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_interrupted_simulation_leaves_nothing(tmp_path):
    """A simulation that is stopped half-way leaves no directory that looks like a session."""

    def stop(done, total, name):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "s", "tiny", threads=1, progress=stop, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_truth_reads_back(session):
    """What simulate returns is what lies on disk."""
    truth = load_truth(session[0] / "truth")
    assert truth.n_particles == session[2].n_particles > 100
    volume, voxel = truth.reference()
    assert volume.shape[0] * voxel >= 260.0
    assert volume.max() > 0.5
