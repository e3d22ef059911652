"""Care of a project: examination, migration, the lock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from staproj.errors import LockedError
from staproj.project import lock
from staproj.project.layout import Layout


class Care:
    """What keeps a project sound."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)

    def doctor(
        self,
        *,
        deep: bool = False,
        probe: bool = False,
        fix: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, Any]:
        """Examine everything: ``sound``, ``findings``, ``fixed``, ``file_system``, how much was looked at.

        ``deep`` reads every byte of every output; ``probe`` tries out the file system in full; ``fix`` first
        does what is safe. Each finding says what to do.

        Raises
        ------
        StaprojError
            If ``fix`` is asked for and the project cannot be written to.
        """
        from staproj.engine.doctor import examine

        return examine(self.root, deep=deep, full_probe=probe, fix=fix, progress=progress).as_dict()

    def migrate(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Bring the project to today's schema: ``{"from", "to", "actions", "backup", "dry_run"}``.

        Raises
        ------
        ProjectError
            If the project is of a newer schema.
        """
        from staproj.project.migrate import migrate

        return migrate(self.layout, dry_run=dry_run).as_dict()

    def lock(self) -> dict[str, Any]:
        """Return who holds the lock: ``{"locked", "owner", "age_s", "owner_is_gone"}``.

        ``owner_is_gone`` is ``None`` where that cannot be known from here.
        """
        path = self.layout.lock
        if not path.exists():
            return {"locked": False, "owner": {}, "age_s": None, "owner_is_gone": None}
        return {
            "locked": True,
            "owner": {key: value for key, value in lock.owner_of(path).items() if key != "token"},
            "age_s": lock.age_s(path),
            "owner_is_gone": lock.is_proven_dead(path),
        }

    def unlock(self, *, i_checked: bool = False) -> dict[str, Any]:
        """Break the lock if its owner is gone; ``i_checked`` is the proof for one on another machine.

        Returns what :meth:`lock` did before, with ``broken``.

        Raises
        ------
        LockedError
            If the owner lives, or may live on another machine.
        """
        found = self.lock()
        if not found["locked"]:
            return {**found, "broken": False}
        owner = found["owner"]
        who = f"{owner.get('user', 'somebody')} on {owner.get('host', 'an unknown host')}"
        what = f"process {owner.get('pid', '?')}: {owner.get('purpose', 'unknown')}"
        if found["owner_is_gone"] is None and not i_checked:
            raise LockedError(
                f"the lock is held by {who} ({what}) for {found['age_s']:.0f} s; that is another machine",
                where=str(self.layout.lock),
                hint="look there whether that process lives; if it is gone: `staproj unlock --i-checked`",
            )
        if found["owner_is_gone"] is False:
            raise LockedError(
                f"the lock is held by {who} ({what}), which is alive",
                where=str(self.layout.lock),
                hint="wait for it, or stop it first",
            )
        return {**found, "broken": lock.break_lock(self.layout.lock, proven=found["owner_is_gone"] is None)}
