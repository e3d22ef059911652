"""CTF of one tilt series: spectra of tiles, joint fit, what is worth knowing about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

import staproj.kernels.ctf_fit as fit
from staproj.errors import EmptyResultError, InputError
from staproj.kernels.ctf import wavelength_angstrom
from staproj.kernels.erase import erase_discs
from staproj.model.ctf import CtfModel
from staproj.model.tilt_series import TiltSeries
from staproj.stages.api import StageContext
from staproj.stages.ctf.declare import CtfParams
from staproj.stages.ctf.estimate import (
    MIN_EVIDENCE,
    MIN_HAND_DIFFERENCE,
    MIN_VIEW_EVIDENCE,
    SeriesFit,
    SeriesFitter,
    SeriesSpectra,
)
from staproj.stages.shared.views import ViewStack, load_views
from staproj.units import ANGSTROM_PER_UM, Unit

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

FINEST_ANGSTROM = 5.0
N_SECTORS = 12
_DARK_SD = 8.0
_WINDOW_RINGS = 9


def estimate_ctf(inputs: dict[str, Any], params: CtfParams, ctx: StageContext) -> dict[str, CtfModel]:
    """Run the stage: see the declaration."""
    series: TiltSeries = inputs["tilt_series"]
    finest = params.fit_high_angstrom or max(2.06 * series.pixel_size_angstrom, FINEST_ANGSTROM)
    if finest >= params.fit_low_angstrom or finest < 2 * series.pixel_size_angstrom:
        raise InputError(
            f"rings can be fitted from {2 * series.pixel_size_angstrom:.1f} Å (Nyquist) on; asked for "
            f"{params.fit_low_angstrom:.1f}-{finest:.1f} Å",
            where=series.tilt_series_id,
            hint="change fit_low_angstrom and fit_high_angstrom, or use views of finer pixels",
        )
    views = load_views(
        series, inputs["alignment"], pixel_size_angstrom=finest / 2.06, normalise=True,
        threads=ctx.threads, check=ctx.check_cancelled,
    )  # fmt: skip
    spectra, picture = _spectra(views, series, params, finest, ctx)
    nominal = _nominal(series, params)
    fitter = SeriesFitter(
        spectra,
        (params.defocus_min_um * ANGSTROM_PER_UM, params.defocus_max_um * ANGSTROM_PER_UM),
        params.defocus_spread_um * ANGSTROM_PER_UM,
        nominal,
        ctx.check_cancelled,
    )
    ctx.progress(0.5, 1.0, "fitting")
    hands = (-1, 1) if params.defocus_hand == "auto" else (int(params.defocus_hand),)
    result = fitter.solve(hands, params.astigmatism_max_um * ANGSTROM_PER_UM)
    if result.measured:
        result = _settle_hand(result, fitter, params, ctx)
    elif nominal is None:
        raise EmptyResultError(
            f"no Thon rings found (evidence {result.series_evidence:.0f}, {MIN_EVIDENCE:.0f} needed; "
            f"difference of the hands {result.hand_difference:.0f}, {MIN_HAND_DIFFERENCE:.0f} needed)",
            where=series.tilt_series_id,
            hint="set nominal_defocus_um of this tilt series to what the microscope aimed at",
        )
    else:
        ctx.fallback(
            f"Thon rings are too weak to measure: every view has the nominal "
            f"{nominal / ANGSTROM_PER_UM:.2f} µm, hand {result.hand:+d}"
        )
    model = _model(series, views, spectra, result, ctx)
    model = replace(model, searched_from_um=params.defocus_min_um, searched_to_um=params.defocus_max_um)
    ctx.preview("mean_spectrum", picture)
    _record(views, model, result, ctx)
    return {"ctf": model}


def _nominal(series: TiltSeries, params: CtfParams) -> float | None:
    """Return the defocus the microscope aimed at in Å, if anybody said, and it can be meant."""
    value = params.nominal_defocus_um
    if value is None:
        known = series.nominal_defocus_um[np.isfinite(series.nominal_defocus_um) & series.view_used]
        value = float(np.median(known)) if len(known) else 0.0
    inside = params.defocus_min_um <= value <= params.defocus_max_um
    return value * ANGSTROM_PER_UM if inside else None


def _spectra(
    views: ViewStack, series: TiltSeries, params: CtfParams, finest: float, ctx: StageContext
) -> tuple[SeriesSpectra, Float32]:
    """Take whitened spectra of all tiles; also the mean spectrum of the three lowest tilts as a picture."""
    px = views.pixel_size_angstrom
    shape = (views.images.shape[1], views.images.shape[2])
    tile = 2 * round(min(params.tile_size_angstrom / px, *shape) / 2)
    if tile < 32:
        raise InputError(
            f"a tile would have only {tile} pixels",
            where=series.tilt_series_id,
            hint="raise tile_size_angstrom",
        )
    positions = fit.tile_positions(shape, tile)
    bins = fit.spectrum_bins(tile, px, 1 / params.fit_low_angstrom, 1 / finest, N_SECTORS)
    count = bins.count.sum(axis=0)
    if len(count) < 12:
        raise InputError(
            f"only {len(count)} rings between {params.fit_low_angstrom} and {finest:.1f} Å",
            where=series.tilt_series_id,
            hint="raise fit_low_angstrom or tile_size_angstrom",
        )
    # A background that bends more would take away the few rings that coarse pixels show.
    wavelength = wavelength_angstrom(series.microscope.voltage_kv)
    rings_per_um = ANGSTROM_PER_UM * wavelength * (finest**-2 - params.fit_low_angstrom**-2)
    degree = 2 if rings_per_um < 1.0 else 3
    residuals, depths = [], []
    picture = np.zeros((tile, tile))
    flat = np.argsort(np.abs(views.geometry.tilt_deg[views.view_index]))[:3]
    origin = views.project(np.zeros((1, 3)))[:, 0]
    for i in range(views.n_views):
        ctx.check_cancelled()
        ctx.progress(0.5 * i / views.n_views, 1.0, "spectra")
        image = _without_dark_spots(views.images[i], px)
        spectrum = fit.tile_spectra(image, positions, tile, bins)
        mean = np.einsum("tsk,sk->k", spectrum, bins.count) / (count * len(positions))
        smooth = fit.smooth_spectrum(bins.frequency, mean, count, degree)
        residuals.append((spectrum / smooth - 1.0).astype(np.float32))
        matrix = views.rot_view_from_tomo[i]
        planar = (positions + 0.5 * (tile - 1) - origin[i]) * px
        depths.append(matrix[2, :2] @ np.linalg.solve(matrix[:2, :2], planar.T))
        if i in flat:
            picture += fit.mean_power(image, positions, tile)
    microscope = series.microscope
    optics = fit.Optics(
        microscope.voltage_kv, microscope.spherical_aberration_mm, microscope.amplitude_contrast
    )
    return SeriesSpectra(residuals, depths, bins, optics, degree), np.log(picture + 1e-9).astype(np.float32)


def _without_dark_spots(image: Float32, px: float) -> Float32:
    """Erase what is far darker than noise at 40 Å: gold, whose outline has rings of its own."""
    step = max(1, int(10.0 / px))
    smooth = scipy.ndimage.gaussian_filter(image, 20.0 / px)[::step, ::step]
    middle = np.median(smooth)
    spread = 1.4826 * np.median(np.abs(smooth - middle))
    label, n = scipy.ndimage.label(smooth < middle - _DARK_SD * spread)
    if n == 0 or n > 500:
        return image
    centre = np.array(scipy.ndimage.center_of_mass(label > 0, label, np.arange(1, n + 1)))
    area = np.bincount(label.ravel())[1:]
    radius = np.sqrt(area / np.pi) * step + 20.0 / px
    return erase_discs(image, centre[:, ::-1] * step, radius)


def _settle_hand(result: SeriesFit, fitter: SeriesFitter, params: CtfParams, ctx: StageContext) -> SeriesFit:
    """Fall back on the usual hand where the data cannot tell."""
    if params.defocus_hand != "auto" or result.hand_difference >= MIN_HAND_DIFFERENCE:
        return result
    ctx.fallback(
        "the hand of the defocus gradient cannot be told "
        f"(difference {result.hand_difference:.1f}): taken as -1"
    )
    if result.hand == -1:
        return result
    return fitter.solve((-1,), params.astigmatism_max_um * ANGSTROM_PER_UM)


def _model(
    series: TiltSeries, views: ViewStack, spectra: SeriesSpectra, result: SeriesFit, ctx: StageContext
) -> CtfModel:
    """Turn the fit into a model of all views; views that are not used get their neighbours' values."""
    half = np.hypot(result.along, result.across)
    angle = 0.5 * np.rad2deg(np.arctan2(result.across, result.along))
    scores, resolutions = np.zeros(views.n_views), np.zeros(views.n_views)
    tilts = views.geometry.tilt_deg[views.view_index]
    for i in range(views.n_views):
        azimuth = np.deg2rad(2 * spectra.bins.azimuth_deg)
        own = result.defocus[i] + result.along[i] * np.cos(azimuth) + result.across[i] * np.sin(azimuth)
        local = own[None, :] + result.hand * spectra.depth_angstrom[i][:, None]
        mean, weight = fit.equiphase_average(
            spectra.residual[i], local, spectra.bins, float(result.defocus[i])
        )
        model = fit.thon_table(
            np.array([result.defocus[i], result.defocus[i] + 1]), spectra.bins, result.envelope,
            spectra.optics, spectra.smooth_degree,
        ).model[0]  # fmt: skip
        scores[i], resolutions[i] = fit.fit_quality(
            mean, model, weight, spectra.bins.frequency, _WINDOW_RINGS, spectra.smooth_degree
        )
        name = f"view_{views.view_index[i]:03d}_tilt_{tilts[i]:+.1f}"
        for what, y in (("spectrum", mean), ("fit", model)):
            ctx.curve(
                f"{what}_{name}", spectra.bins.frequency, y, x_label="frequency_per_angstrom", y_label="power"
            )
    n = series.n_views

    def spread(values: Float) -> Float:
        return np.interp(np.arange(n), views.view_index, values)

    axis = np.exp(1j * np.deg2rad(2 * angle))
    full_angle = 0.5 * np.rad2deg(np.arctan2(spread(axis.imag), spread(axis.real)))
    used = np.isin(np.arange(n), views.view_index)
    return CtfModel(
        tilt_series_id=series.tilt_series_id,
        defocus_u_um=spread(result.defocus + half) / ANGSTROM_PER_UM,
        defocus_v_um=spread(result.defocus - half) / ANGSTROM_PER_UM,
        astigmatism_deg=full_angle,
        phase_shift_deg=np.zeros(n),
        fit_score=np.where(used, spread(scores), 0.0),
        fit_resolution_angstrom=spread(resolutions),
        defocus_hand=result.hand,
        microscope=series.microscope,
    )


def _record(views: ViewStack, model: CtfModel, result: SeriesFit, ctx: StageContext) -> None:
    index = views.view_index
    weak = result.evidence < MIN_VIEW_EVIDENCE
    mean = model.mean_defocus_angstrom[index] / ANGSTROM_PER_UM
    ctx.table(
        "views",
        {
            "view": index,
            "tilt_deg": views.geometry.tilt_deg[index],
            "defocus_u_um": model.defocus_u_um[index],
            "defocus_v_um": model.defocus_v_um[index],
            "astigmatism_deg": model.astigmatism_deg[index],
            "fit_score": model.fit_score[index],
            "fit_resolution_angstrom": model.fit_resolution_angstrom[index],
            "evidence": result.evidence,
            "from_neighbours": weak,
        },
        doc="Defocus at the tomogram centre; evidence is a log-likelihood ratio against no rings",
    )
    ctx.curve(
        "series_evidence", result.scan_defocus / ANGSTROM_PER_UM, result.scan,
        x_label="defocus_um", y_label="log_evidence",
    )  # fmt: skip
    ctx.curve("defocus", views.geometry.tilt_deg[index], mean, x_label="tilt_deg", y_label="defocus_um")
    ctx.metric("defocus_median_um", float(np.median(mean)), Unit.MICROMETRE)
    ctx.metric("astigmatism_median_um", float(np.median((model.defocus_u_um - model.defocus_v_um)[index])),
               Unit.MICROMETRE)  # fmt: skip
    ctx.metric("fit_score_median", float(np.median(model.fit_score[index])))
    ctx.metric("series_evidence", result.series_evidence)
    ctx.metric("hand_difference", result.hand_difference)
    ctx.metric("n_views_from_neighbours", float(weak.sum()))
    if result.measured and weak.any():
        ctx.fallback(f"{int(weak.sum())} views show no rings of their own: defocus follows their neighbours")
    ctx.verdict(
        f"defocus {mean.min():.2f}-{mean.max():.2f} µm (median {np.median(mean):.2f}), hand {result.hand:+d} "
        f"(difference {result.hand_difference:.0f}), "
        f"rings to {np.median(model.fit_resolution_angstrom[index]):.1f} Å, "
        f"median score {np.median(model.fit_score[index]):.2f}, "
        f"{int(weak.sum())} of {len(index)} views from neighbours"
        + ("" if result.measured else ", NOT measured: no rings"),
        warning=not result.measured,
    )
