"""Words for examinations, migrations and locks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staproj.report.tables import pairs

_SIGN = {"damage": "!!", "warning": "! ", "note": "  "}
_CAPABILITIES = {
    "mkdir_exclusive": "making a directory has one winner",
    "rename_replaces": "a file replaces another in one step",
    "rename_exclusive": "a directory in use cannot be replaced",
    "hard_links": "hard links",
    "flock": "file locks",
    "symlinks": "symbolic links",
    "case_sensitive": "upper and lower case differ",
    "long_names": "long file names",
}


def doctor_lines(found: Mapping[str, Any], *, probe: bool = False) -> list[str]:
    """Return what an examination found, the worst first, each with what to do."""
    lines = [f"done: {told}" for told in found["fixed"]]
    order = list(_SIGN)
    for finding in sorted(found["findings"], key=lambda one: order.index(one["severity"])):
        lines.append(f"{_SIGN[finding['severity']]} {finding['where']}: {finding['message']}")
        lines.append(f"     {finding['fix']}")
    if probe and found["file_system"]:
        lines += ["file system", *pairs(_disk(found["file_system"]))]
    size = f", {found['read_bytes'] / 1e6:.0f} MB read" if found["read_bytes"] else ""
    lines.append(f"{found['runs']} runs and {found['files']} outputs looked at{size}")
    wrong = sum(finding["severity"] != "note" for finding in found["findings"])
    lines.append("nothing is wrong" if not wrong else f"{wrong} things are wrong")
    return lines


def _disk(found: Mapping[str, Any]) -> dict[str, str]:
    told = {words: "yes" if found.get(name) else "no" for name, words in _CAPABILITIES.items()}
    if found.get("fsync_ms") is not None:
        told["making one file safe"] = f"{found['fsync_ms']:.1f} ms"
    told["times of files in steps of"] = f"{found['mtime_ns']} ns"
    told["clock of the file server"] = f"{found['clock_skew_s']:+.1f} s"
    told["free space"] = f"{found['free_bytes'] / 1e9:.0f} GB"
    if found.get("free_inodes") is not None:
        told["free files"] = str(found["free_inodes"])
    return told


def migrate_lines(found: Mapping[str, Any]) -> list[str]:
    """Return what a migration did, or would do."""
    if not found["actions"]:
        return [f"schema {found['to']}: nothing to migrate"]
    head = "would bring" if found["dry_run"] else "brought"
    lines = [f"{head} the project from schema {found['from']} to {found['to']}"]
    lines += [f"  {action}" for action in found["actions"]]
    if found["backup"]:
        lines.append(f"files as they were before: {found['backup']}")
    return lines


def unlock_lines(found: Mapping[str, Any]) -> list[str]:
    """Return who held the lock and what became of it."""
    if not found["locked"]:
        return ["the project is not locked"]
    owner = found["owner"]
    who = f"{owner.get('user', 'somebody')} on {owner.get('host', 'an unknown host')}"
    what = f"process {owner.get('pid', '?')}, {owner.get('purpose', 'unknown')}, {found['age_s']:.0f} s ago"
    said = "broken" if found["broken"] else "gone by itself"
    return [f"the lock of {who} ({what}) is {said}"]
