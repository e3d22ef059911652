"""Recipes as lines of text and as a script, from the plain values that ``staproj.api`` gives."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from staproj.report.tables import duration, number, table

_END = "END_OF_STAPROJ_DATA"
_MOST = 12

_CHECK_RAW = """import hashlib, json, os, sys
bad = 0
for path, wanted in json.load(sys.stdin):
    try:
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            digest = hashlib.sha256(str(size).encode() + b"\\n")
            digest.update(handle.read(1 << 20))
            if size > 1 << 20:
                handle.seek(max(1 << 20, size - (1 << 20)))
                digest.update(handle.read(1 << 20))
        found = "q:" + digest.hexdigest()
    except OSError as error:
        found = error.strerror
    if found != wanted:
        bad += 1
        print("raw data is not what it was:", path, found)
sys.exit(4 if bad else 0)"""

_CHECK_OUT = """import glob, hashlib, json, sys
out = sorted(glob.glob(sys.argv[1]))[-1]
bad = 0
for path, wanted in json.load(sys.stdin):
    try:
        with open(out + "/" + path, "rb") as handle:
            found = "sha256:" + hashlib.sha256(handle.read()).hexdigest()
    except OSError as error:
        found = error.strerror
    bad += found != wanted
    print("the same" if found == wanted else "OTHERWISE", path)
sys.exit(4 if bad else 0)"""


def recipe_lines(data: Mapping[str, Any]) -> list[str]:
    """Show how to make a run again."""
    software = data["software"]
    commit = f", commit {software['commit'][:12]}" if software["commit"] else ""
    commit += " with uncommitted changes" if software["dirty"] else ""
    commands = data["commands"]
    rows = [
        [use["port"], f"{use['run']}.{use['output']}", use["step"], _short(use["digest"])]
        for use in data["inputs"]
    ]
    inputs = table(["input", "from", "step", "digest"], rows) if rows else []
    lines = [
        f"{data['run']} ({data['step']}), made {data['created']} by {data['who']}",
        "",
        f"  as typed      {' '.join(data['typed']) or '-'}",
        f"  here again    {commands['here']}",
        f"  compare       {commands['check']}",
        f"  elsewhere     staproj reproduce {data['run']} --script > again.sh; bash again.sh DIRECTORY",
        "",
        *data["manifest"].rstrip().split("\n"),
        "",
        *(inputs or ["no inputs but raw data"]),
        "",
        f"seed {data['seed']}, {data['threads']} threads, on {data['device']}",
        f"staproj {software['staproj']}{commit}, Python {software['python']}",
        f"  {software['install']}",
    ]
    return [*lines, "", *_raw_lines(data), "", *_output_lines(data)]


def check_lines(data: Mapping[str, Any]) -> list[str]:
    """Say whether a run came out the same, and by how much not."""
    lines = []
    for unit in data["units"]:
        name = f"{unit['run']} {unit['item'] or ''}".rstrip()
        if unit["error"]:
            lines.append(f"✗ {name}: {unit['error']}")
        elif unit["equal"]:
            told = f"{unit['files']} file{'s' * (unit['files'] != 1)} the same, bit for bit"
            lines.append(f"✓ {name}: {told} ({duration(unit['wall_s'])})")
        else:
            lines.append(f"✗ {name}: {len(unit['differing'])} of {unit['files']} files differ")
            lines += [f"    {part['path']}: {_difference(part)}" for part in unit["differing"][:_MOST]]
    told = "comes out the same" if data["equal"] else "does not come out the same"
    return [*lines, "", f"{data['run']} {told}"]


def script(data: Mapping[str, Any], root: str) -> str:
    """Return a shell script that makes a run again from raw data in a new directory, and compares.

    Whatever comes from the record is quoted or stands as JSON: a record cannot add commands.
    """
    step = data["chain"][-1]["step"]
    quoted = shlex.quote
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", f"{data['run']}-{data['step']}")
    raw = json.dumps([[part["path"], part["fingerprint"]] for part in data["raw"]])
    sums = json.dumps([[part["path"], part["sha256"]] for part in data["outputs"]])
    version = data["software"]["staproj"]
    lines = [
        "#!/usr/bin/env bash",
        f"# Makes {plain} again, with everything it was made from, in a new directory; compares its outputs.",
        "# usage: bash this-file [NEW_DIRECTORY]",
        "# DATA: the directory that raw data is relative to (the project it was first made in)",
        "set -euo pipefail",
        f"target=${{1:-{plain}-again}}",
        f"data=${{DATA:-{quoted(root)}}}",
        'if [ -e "$target/staproj.toml" ]; then echo "$target is a project already" >&2; exit 2; fi',
        'mkdir -p "$target"',
        f"for name in {' '.join(quoted(name) for name in data['links'])}; do",
        '  [ -e "$target/$name" ] || ln -s "$data/$name" "$target/$name"',
        "done",
        'cd "$target"',
        f"wanted={quoted(version)}",
        "have=$(staproj --version | tail -n 1)",
        'case "$have" in *"$wanted") ;; *) echo "made with staproj $wanted, here is $have" >&2 ;; esac',
        f"python3 -c {quoted(_CHECK_RAW)} <<'{_END}'",
        raw,
        _END,
        f"cat > staproj.toml <<'{_END}'",
        data["manifest_all"].rstrip("\n"),
        _END,
        " ".join(quoted(word) for word in shlex.split(data["commands"]["elsewhere"])),
        f"python3 -c {quoted(_CHECK_OUT)} {quoted(f'runs/r*-{step}/out')} <<'{_END}'",
        sums,
        _END,
    ]
    return "\n".join(lines) + "\n"


def _raw_lines(data: Mapping[str, Any]) -> list[str]:
    raw = data["raw"]
    if not raw:
        return ["no raw data"]
    lines = [f"raw data, {len(raw)} files:"]
    lines += [f"  {part['fingerprint'][:18]}…  {part['path']}" for part in raw[:_MOST]]
    return [*lines, f"  ... and {len(raw) - _MOST} more (--json lists all)"] if len(raw) > _MOST else lines


def _output_lines(data: Mapping[str, Any]) -> list[str]:
    outputs = data["outputs"]
    lines = [f"outputs, {len(outputs)} files:"]
    lines += [f"  {part['sha256'][:23]}…  {part['path']}" for part in outputs[:_MOST]]
    more = len(outputs) - _MOST
    return [*lines, f"  ... and {more} more (--json lists all)"] if more > 0 else lines


def _difference(part: Mapping[str, Any]) -> str:
    if part["found"] is None:
        return "was not made"
    if part["expected"] is None:
        return "is new"
    largest = part.get("max_abs_difference")
    amount = f", by at most {number(largest)}" if largest is not None else ""
    return f"{part.get('told', 'differs')}{amount}"


def _short(digest: Any) -> str:
    if isinstance(digest, Mapping):
        first = next(iter(digest.items()), ("", ""))
        return f"{first[0]} {str(first[1])[:18]}…" + (
            f" and {len(digest) - 1} more" if len(digest) > 1 else ""
        )
    return f"{str(digest)[:18]}…"
