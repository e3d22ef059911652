"""``e``: the manifest in the editor of this person, and what staproj makes of it afterwards."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from textual.app import SuspendNotSupported

from staproj.errors import StaprojError

if TYPE_CHECKING:
    from staproj.tui.app import StaprojApp


T = TypeVar("T")


def editor() -> list[str]:
    """Return the editor of this person as a command."""
    asked = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        return shlex.split(asked) or ["vi"]
    except ValueError:  # a quotation mark too many
        return asked.split()


def aside(app: StaprojApp, work: Callable[[], T]) -> T:
    """Give the terminal away while work is done, and take it back whatever comes of that.

    ctrl+c then is for whoever has the terminal.
    """
    results: list[T] = []
    failed: list[BaseException] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        with app.suspend():
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - else the terminal would never be taken back
                failed.append(error)
    finally:
        signal.signal(signal.SIGINT, before)
    app.refresh(layout=True, repaint=True)
    if failed:
        raise failed[0]
    return results[0]


def edit_manifest(app: StaprojApp) -> None:
    """Open staproj.toml in an editor; say afterwards whether it holds and what is stale."""
    project = app.project
    path = project.layout.manifest
    before = _held(path)
    try:
        code = aside(app, lambda: subprocess.run([*editor(), str(path)], check=False).returncode)
    except SuspendNotSupported:
        app.say(f"no editor can be opened from here; edit {path}", "warning")
        return
    except OSError as error:
        app.say(f"cannot start {editor()[0]}: {error.strerror}; set EDITOR", "error")
        return
    if code:
        app.say(f"{editor()[0]} ended with code {code}", "warning")
    elif _held(path) == before:
        app.say("staproj.toml is as it was" if before is not None else "there is no staproj.toml")
    else:
        tell_validation(app)


def _held(path: Path) -> bytes | None:
    """Return what a file holds; ``None``: it is not there, and an editor may write it anew."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def tell_validation(app: StaprojApp) -> None:
    """Say whether the manifest holds, and what is stale under it."""
    try:
        steps = app.project.status()["steps"]
    except StaprojError as error:
        app.keep_error(error)
        app.say(f"staproj.toml does not hold: {error.message}  (! shows all, e edits again)", "error")
        return
    stale = [step["step"] for step in steps if step["to_do"]]
    app.look_on()
    app.say(
        f"staproj.toml holds; to run: {', '.join(stale)}" if stale else "staproj.toml holds; all is fresh"
    )
