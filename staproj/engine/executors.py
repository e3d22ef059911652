"""Where items are computed: in this process, or in several of their own.

Both are ``concurrent.futures`` executors, so that a cluster's can stand in their place.

A worker process is a fresh interpreter (nothing is forked: numba's threads would not survive it) that is told
what to do over a socket. It ends when its parent does, however that ended. One that dies (the kernel kills
the largest when memory runs out) fails the item it worked on, and only that.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import staproj
from staproj.errors import StageError

Kind = Literal["inline", "processes"]


class WorkerDiedError(StageError):
    """A worker process ended before its work was done."""


class InlineExecutor(Executor):
    """Runs each call at once, in the thread that submits it; Ctrl-C and exits go straight through."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call and return the finished future."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - this is what a future is for
            future.set_exception(error)
        return future

    def kill(self) -> None:
        """Do nothing: there is no other process."""


class ProcessExecutor(Executor):
    """Runs calls in up to ``workers`` processes, started when first needed and used again."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(max(1, workers), thread_name_prefix="item")
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send one call to the next free process.

        Raises
        ------
        StageError
            If the call cannot be sent (a stage declared inside a function, say).
        """
        try:
            message = pickle.dumps((fn, args, kwargs))
        except Exception as error:
            raise StageError(
                f"this stage cannot be sent to another process: {error}",
                hint="use --jobs 1; stages must be importable by name",
            ) from error
        return self._threads.submit(self._call, message)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once their present calls are done."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            self._end_all()

    def kill(self) -> None:
        """End the processes now; their calls fail with ``WorkerDiedError``."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.process.kill()
        self._threads.shutdown(wait=True)
        self._end_all()

    def _call(self, message: bytes) -> Any:
        worker = self._take()
        try:
            done, value = worker.call(message)
        except WorkerDiedError:
            with self._lock:
                self._all.discard(worker)
            raise
        self._idle.put(worker)
        if done:
            return value
        raise value

    def _take(self) -> _Worker:
        with suppress(queue.Empty):
            return self._idle.get_nowait()
        with self._lock:
            if self._closed:
                raise WorkerDiedError("the worker processes were stopped")
            worker = _Worker()
            self._all.add(worker)
        return worker

    def _end_all(self) -> None:
        with self._lock:
            self._closed = True
            workers, self._all = list(self._all), set()
        for worker in workers:
            worker.end()


def make_executor(kind: Kind, workers: int = 1) -> InlineExecutor | ProcessExecutor:
    """Return the executor called ``kind``."""
    return InlineExecutor() if kind == "inline" else ProcessExecutor(workers)


class _Worker:
    """One process and the socket to it."""

    def __init__(self) -> None:
        here, there = socket.socketpair()
        with there:
            command = [sys.executable, "-P", "-m", "staproj.engine.executors", str(there.fileno())]
            # Never the working directory ("" here, -P there): a project brings no code with it.
            path = [os.path.abspath(part) for part in sys.path if part]
            path.append(str(Path(staproj.__file__).resolve().parents[1]))
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            )
        self.connection = Connection(here.detach())

    def call(self, message: bytes) -> tuple[bool, Any]:
        """Return ``(True, result)`` or ``(False, exception)``."""
        try:
            self.connection.send_bytes(message)
            done, value, told = pickle.loads(self.connection.recv_bytes())  # noqa: S301 - our own process
        except (EOFError, OSError):
            self.connection.close()
            raise WorkerDiedError(
                f"its process ended before its work was done ({_how_ended(self.process.wait())})",
                hint="if memory ran out: fewer --jobs, or a smaller batch or binning",
            ) from None
        if not done:
            value.__cause__ = _RemoteTraceback(told)
        return bool(done), value

    def end(self) -> None:
        """Close the socket, which ends the process, and wait for it."""
        self.connection.close()
        try:
            self.process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _how_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    return f"killed by signal {-code}, {name}"


class _RemoteTraceback(Exception):  # noqa: N818 - shown as the cause of the real error
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def _sendable(error: Exception) -> bytes:
    """Pack an exception with its traceback as text; one that cannot travel becomes a StageError."""
    text = "".join(traceback.format_exception(error))
    try:
        packed = pickle.dumps((False, error, text))
        pickle.loads(packed)  # noqa: S301 - our own bytes, just made: some exceptions pack but do not unpack
    except Exception:  # noqa: BLE001 - whatever it is that an exception holds
        words = str(error).strip().splitlines()
        plain = StageError(f"{type(error).__name__}: {words[0] if words else ''}")
        packed = pickle.dumps((False, plain, text))
    return packed


def _serve(descriptor: int) -> None:
    """Do what the parent sends until it closes the socket or dies."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides; it hears them too
    connection = Connection(descriptor)
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                calls.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            fn, args, kwargs = pickle.loads(calls.get())  # noqa: S301 - from the parent process only
            reply = pickle.dumps((True, fn(*args, **kwargs), ""))
        except Exception as error:  # noqa: BLE001 - sent back as it is
            reply = _sendable(error)
        connection.send_bytes(reply)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
