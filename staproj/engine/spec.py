"""Content of ``spec.json``: what a run is made from, written before anything is computed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from staproj.engine import digest, environment
from staproj.engine.view import Expected, View
from staproj.project import versions
from staproj.project.layout import RunDir
from staproj.project.process import user_name

RECORD_FORMAT = 1


def build(
    view: View,
    expected: Expected,
    run: RunDir,
    *,
    items: Sequence[str],
    image: Mapping[str, Any],
    note: str,
    execution: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the record. ``items`` are the tilt series of this run, ``image`` the pre-image of its key."""
    node = expected.node
    return {
        "record_format": RECORD_FORMAT,
        "run": run.id,
        "uuid": str(uuid.uuid4()),
        "step": node.name,
        "stage": node.spec.name,
        "cache_version": node.spec.cache_version,
        "scope": node.spec.scope,
        "created": versions.now(),
        "who": user_name(),
        "command": _command(view),
        "note": note,
        "previous": view.heads.get(node.name),
        "parents": sorted({use.run for use in expected.inputs.values()}),
        "items": list(items),
        "params": expected.common.table(),
        "item_params": _item_params(expected, items),
        "inputs": {port: use.as_dict() for port, use in expected.inputs.items()},
        "data": dict(expected.data),
        "seed": view.manifest.seed,
        "execution": dict(execution),
        "software": environment.software(),
        "preimage": dict(image),
        "key": digest.digest_of(image),
    }


def _command(view: View) -> list[str]:
    """Return the command as typed; the project's own directory is not kept."""
    root = os.path.abspath(view.layout.root)
    return [word.replace(root, ".") for word in environment.command_line()]


def _item_params(expected: Expected, items: Sequence[str]) -> dict[str, Any]:
    common = expected.common.table()
    found = {}
    for item, resolved in expected.per_item.items():
        if item in items:
            found[item] = {name: entry for name, entry in resolved.table().items() if entry != common[name]}
    return {item: table for item, table in found.items() if table}
