"""Every exception staproj raises on purpose, in one tree.

::

    StaprojError                 exit 1   something staproj can explain
    ├── UsageError               exit 2   the command line or an argument is wrong
    ├── ManifestError            exit 2   staproj.toml does not say something that can be run
    ├── ProjectError             exit 2   the directory is not a (readable) project
    ├── InputError               exit 1   a file or artifact handed to a stage cannot be used
    │   └── FormatError          exit 1   bytes that are not what their name or header promises
    ├── EmptyResultError         exit 1   a computation ended with nothing to work on
    ├── StageError               exit 1   a stage failed
    ├── StorageError             exit 1   disk full, no permission, damaged record
    ├── LockedError              exit 3   somebody else is writing; try again
    ├── DeviceError              exit 3   no GPU memory, no such device
    ├── CheckError               exit 4   a check found something stale, missing or damaged
    └── CancelledError           exit 130 the person stopped the work

A message says what happened, ``where`` names the file and key, ``hint`` says what to do.
"""

from __future__ import annotations


class StaprojError(Exception):
    """Base of everything staproj raises on purpose.

    Parameters
    ----------
    message
        What happened, in one sentence.
    hint
        What the person can do about it.
    where
        File, key or item the message is about.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        """Show the message, the place and the remedy on lines of their own."""
        lines = [self.message]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  try:   {self.hint}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the error as it is shown by ``--json``."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }

    def __reduce__(self) -> tuple[object, ...]:
        """Keep hint and place when the error crosses a process boundary."""
        return (_rebuild, (type(self), self.message, self.hint, self.where))


def _rebuild(cls: type[StaprojError], message: str, hint: str, where: str | None) -> StaprojError:
    return cls(message, hint=hint, where=where)


class UsageError(StaprojError, ValueError):
    """The command line or an argument is wrong."""

    exit_code = 2


class ManifestError(StaprojError, ValueError):
    """The manifest does not describe something that can be run."""

    exit_code = 2


class ProjectError(StaprojError, OSError):
    """The directory is not a project, or not one this version can read."""

    exit_code = 2


class InputError(StaprojError, ValueError):
    """A file or artifact handed to a stage cannot be used."""


class FormatError(InputError):
    """Bytes are not what their name or header promises."""


class EmptyResultError(StaprojError, ValueError):
    """A computation ended with nothing to work on."""


class StageError(StaprojError, RuntimeError):
    """A stage failed."""


class StorageError(StaprojError, OSError):
    """The disk is full, not writable, or holds a damaged record."""


class LockedError(StaprojError, OSError):
    """Somebody else is writing to the project; try again."""

    exit_code = 3


class DeviceError(StaprojError, RuntimeError):
    """A compute device is missing or has no memory left."""

    exit_code = 3


class CheckError(StaprojError, RuntimeError):
    """A check found something stale, missing or damaged."""

    exit_code = 4


class CancelledError(StaprojError, RuntimeError):
    """The person stopped the work."""

    exit_code = 130
