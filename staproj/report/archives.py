"""What archiving, checking and restoring did, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staproj.report.tables import size, table

_SHOWN = 20


def written_lines(made: Mapping[str, Any]) -> list[str]:
    """Say what went into an archive."""
    lines = [
        f"wrote {made['archive']}: {made['files']} files, {size(made['payload_bytes'])}"
        f" ({size(made['archive_bytes'])} on disk)"
    ]
    if made["resumed_at"]:
        lines.append(f"  went on after {size(made['resumed_at'])} that were there already")
    lines += [f"  damaged: {entry['path']}: {entry['problem']}" for entry in made["problems"][:_SHOWN]]
    left = made["left_out"]
    lines += [f"  left out: {entry['path']}: {entry['why']}" for entry in left[:_SHOWN]]
    if len(left) > _SHOWN:
        lines.append(f"  left out: {len(left) - _SHOWN} more, all in stubs.json of the archive")
    return lines


def expected_lines(told: Mapping[str, Any]) -> list[str]:
    """Say how large an archive would be, and what would stay behind."""
    lines = [f"{size(told['payload_bytes'])} in {told['files']} files of {told['runs']} runs (before zstd)"]
    lines += [
        f"  stays behind, listed with digests: {entry['files']} {name} outputs, {size(entry['bytes'])}"
        for name, entry in sorted(told["stays"].items())
    ]
    if told["raw_outside"]:
        lines.append(f"  raw data not in it: {told['raw_outside']} files, listed with fingerprints")
    left = told["left_out"]
    lines += [f"  left out: {entry['path']}: {entry['why']}" for entry in left[:_SHOWN]]
    return [*lines, *([f"  left out: {len(left) - _SHOWN} more"] if len(left) > _SHOWN else [])]


def verified_lines(found: Mapping[str, Any], where: str) -> list[str]:
    """Say what was checked and what is damaged."""
    runs = f" of {found['runs']} runs" if found["what"] == "project" else ""
    looked = f"{found['files']} files{runs}, {size(found['n_bytes'])}"
    lines = list(found["notes"])
    if found["not_there"]:
        lines.append(f"{found['not_there']} files are not here on purpose and were not looked at")
    if found["ok"]:
        return [f"{where}: every bit as it should be ({looked})", *lines]
    rows = [(d["run"] or "-", d["file"] or "(the archive as a whole)", d["problem"]) for d in found["damage"]]
    return [
        f"{where}: DAMAGED, {len(rows)} found ({looked})",
        *table(["run", "file", "problem"], rows),
        *lines,
    ]


def restored_lines(made: Mapping[str, Any]) -> list[str]:
    """Say what came out of an archive."""
    told = (
        f"restored {made['files']} files, {size(made['n_bytes'])}, to {made['directory']}; all digests match"
    )
    lines = [told if made["files"] else f"nothing was to restore in {made['directory']}: all of it is there"]
    if made["cleared_files"]:
        lines.append(
            f"  {made['cleared_files']} outputs were not in the archive; `staproj status` says which"
        )
    problems = made["problems"][:_SHOWN]
    lines += [
        f"  damaged before it was archived: {entry.get('path')}: {entry.get('problem')}" for entry in problems
    ]
    return lines
