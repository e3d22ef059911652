"""What a run computes with: the device, and how many threads the libraries may take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from staproj.errors import DeviceError, UsageError

DEVICES = ("auto", "cpu", "gpu")
INSTEAD_OF_GPU = "a GPU was asked for; this stage computes on the CPU"


def check_device(device: str) -> None:
    """Refuse a device that does not exist before anything is started.

    Raises
    ------
    UsageError
        If there is no device of that name.
    DeviceError
        If a GPU is asked for and none can be used.
    """
    if device not in DEVICES:
        raise UsageError(f"there is no device {device!r}", hint=f"use {', '.join(DEVICES)}")
    if device == "gpu" and not _gpu_is_usable():
        raise DeviceError(
            "a GPU was asked for, but cupy is not installed or sees no GPU",
            where="--device gpu",
            hint="use --device cpu; or pip install 'staproj[gpu]' (CUDA 13) or 'staproj[cuda12]', "
            "and see that `nvidia-smi` lists a GPU",
        )


def device_used(asked: str) -> tuple[str, tuple[str, ...]]:
    """Return the device that stages compute on when ``asked`` is wanted, and what has to be said about it."""
    return "cpu", (INSTEAD_OF_GPU,) if asked == "gpu" else ()


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Hold numba and the linear-algebra libraries that are loaded to ``threads`` threads."""
    from threadpoolctl import threadpool_limits

    numba = sys.modules.get("numba")
    before = None
    if numba is not None:
        with suppress(AttributeError, ValueError):
            before = numba.get_num_threads()
            numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    try:
        with threadpool_limits(limits=max(1, threads)):
            yield
    finally:
        if numba is not None and before is not None:
            numba.set_num_threads(before)


def _gpu_is_usable() -> bool:
    from staproj.kernels.xp import has_gpu

    try:
        return has_gpu()
    except Exception:  # noqa: BLE001 - a broken driver raises errors of its own kind
        return False
