"""Array-level kernels give the same answer on every array library."""

from __future__ import annotations

from types import ModuleType

import array_api_strict
import numpy as np
import pytest

from staproj.kernels import xp
from staproj.kernels.ctf import ctf_1d, ctf_2d, exposure_filter
from staproj.kernels.fourier import reduce_images


@pytest.fixture(params=[np, array_api_strict], ids=["numpy", "strict"])
def library(request: pytest.FixtureRequest) -> ModuleType:
    """Return one array library; the strict one refuses whatever only numpy can do."""
    module: ModuleType = request.param
    return module


def test_reduced_images_are_the_same_on_every_library(library: ModuleType) -> None:
    """Fourier cropping uses only what the array standard has."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 31, 40)).astype(np.float32)

    small = reduce_images(library.asarray(images), 2)

    np.testing.assert_allclose(np.asarray(small), reduce_images(images, 2), atol=1e-5)


def test_ctf_and_exposure_are_the_same_on_every_library(library: ModuleType) -> None:
    """CTF and exposure filter use only what the array standard has, and hold at zero frequency."""
    frequency = np.linspace(0.0, 0.2, 50)
    fx, fy = np.meshgrid(np.linspace(-0.1, 0.1, 9), np.linspace(0.0, 0.1, 5))
    optics = {"voltage_kv": 300.0, "spherical_aberration_mm": 2.7, "amplitude_contrast": 0.07}
    astigmatic = {"defocus_u_angstrom": 26000.0, "defocus_v_angstrom": 24000.0, "astigmatism_deg": 30.0}

    line = ctf_1d(library.asarray(frequency), 25000.0, **optics)
    plane = ctf_2d(library.asarray(fx), library.asarray(fy), **astigmatic, **optics)
    left = exposure_filter(library.asarray(frequency), 60.0)

    np.testing.assert_allclose(np.asarray(line), ctf_1d(frequency, 25000.0, **optics), atol=1e-12)
    np.testing.assert_allclose(np.asarray(plane), ctf_2d(fx, fy, **astigmatic, **optics), atol=1e-12)
    np.testing.assert_allclose(np.asarray(left), exposure_filter(frequency, 60.0), atol=1e-12)
    assert float(line[0]) == pytest.approx(0.07)
    assert float(left[0]) == pytest.approx(1.0)


def test_absent_gpu_is_said_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cupy nothing fails until a GPU is asked for, and then in words."""
    monkeypatch.setattr(xp, "_cupy", lambda: None)

    assert not xp.has_gpu()
    assert xp.get_namespace("cpu").asarray([1.0]).shape == (1,)
    with pytest.raises(RuntimeError, match="no GPU"):
        xp.get_namespace("gpu")
