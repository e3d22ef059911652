"""``e``: the manifest in the editor of this person, and what staproj makes of it afterwards."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from staproj.errors import StaprojError

if TYPE_CHECKING:
    from staproj.tui.app import StaprojApp


def editor() -> list[str]:
    """Return the editor of this person as a command."""
    return shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")


def edit_manifest(app: StaprojApp) -> None:
    """Open staproj.toml in an editor; say afterwards whether it holds and what is stale."""
    project = app.project
    path = project.layout.manifest
    before = _held(path)
    try:
        with app.suspend():
            code = subprocess.run([*editor(), str(path)], check=False).returncode
    except SuspendNotSupported:
        app.say(f"no editor can be opened from here; edit {path}", "warning")
        return
    except OSError as error:
        app.say(f"cannot start {editor()[0]}: {error.strerror}; set EDITOR", "error")
        return
    app.refresh(layout=True, repaint=True)
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
