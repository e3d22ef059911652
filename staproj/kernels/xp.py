"""The one door to array libraries: numpy, cupy, or any array-API namespace. Only this module imports cupy.

Kernels that are built from array operations take ``xp = namespace(array)`` and use what the array API
standard has, plus :func:`fft_module`. Numba kernels are the CPU half of pairs whose CUDA half stands
beside them; they take numpy arrays.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

Array = Any


def namespace(*arrays: Array) -> Any:
    """Return the array namespace that ``arrays`` share."""
    return array_api_compat.array_namespace(*arrays)


def has_gpu() -> bool:
    """Say whether cupy is installed and sees a device."""
    cupy = _cupy()
    return cupy is not None and bool(cupy.cuda.is_available())


def get_namespace(device: str) -> Any:
    """Return the namespace for ``"cpu"`` or ``"gpu"``.

    Raises
    ------
    RuntimeError
        If a GPU is asked for and there is none.
    """
    if device == "cpu":
        return array_api_compat.array_namespace(np.empty(0))
    if not has_gpu():
        raise RuntimeError("no GPU: cupy is not installed or sees no device")
    cupy = _cupy()
    assert cupy is not None
    return array_api_compat.array_namespace(cupy.empty(0))


def to_host(array: Array) -> np.ndarray[Any, Any]:
    """Copy an array of any library to numpy."""
    if hasattr(array, "get"):
        host: np.ndarray[Any, Any] = array.get()
        return host
    return np.asarray(array)


def fft_module(array: Array) -> Any:
    """Return the FFT functions for an array: scipy.fft (keeps float32) for numpy, else its own."""
    if isinstance(array, np.ndarray):
        import scipy.fft

        return scipy.fft
    cupy = _cupy()
    if cupy is not None and isinstance(array, cupy.ndarray):
        import cupyx.scipy.fft

        return cupyx.scipy.fft
    return namespace(array).fft


def _cupy() -> ModuleType | None:
    try:
        import cupy
    except ImportError:
        return None
    module: ModuleType = cupy
    return module
