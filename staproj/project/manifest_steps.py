"""Whole steps written into a manifest, or taken out, with everything else left as it is, byte for byte."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from typing import Any

import tomlkit

from staproj.errors import ManifestError
from staproj.project import manifest_edit
from staproj.project.manifest import Change

_BARE = re.compile(r"^[A-Za-z0-9_-]+$")
_HEADER = re.compile(r"^\s*\[\s*(?:step)\s*\.\s*(?:\"([^\"]+)\"|'([^']+)'|([A-Za-z0-9_-]+))\s*[.\]]")
_TABLE = re.compile(r"^\s*\[")
REMARK = "# variant "


def append(text: str, steps: Mapping[str, Mapping[str, Any]], *, remarks: Mapping[str, str]) -> str:
    """Return the manifest with new steps at its end; ``remarks`` are comments above some of them.

    ``steps`` is ``{name: {"stage", "inputs", "variant", "params", "item"}}``.

    Raises
    ------
    ManifestError
        If the manifest writes its steps in a way that cannot be added to.
    """
    lines = [text.rstrip("\r\n")]
    for name, table in steps.items():
        lines += ["", *([REMARK + remarks[name]] if name in remarks else []), *_step_lines(name, table)]
    new = "\n".join(lines) + "\n"
    if "\r\n" in text:
        new = new.replace("\r\n", "\n").replace("\n", "\r\n")
    wanted = tomllib.loads(text)
    wanted["step"] = {**wanted.get("step", {}), **{name: dict(table) for name, table in steps.items()}}
    _check(new, wanted, f"write the steps {', '.join(steps)} by hand")
    return new


def remove(text: str, names: Collection[str]) -> str:
    """Return the manifest without some steps.

    Raises
    ------
    ManifestError
        If they cannot be told from the rest.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    kept: list[str] = []
    after: list[str] = []  # comments and blank lines since the last line of a step that goes
    inside = False
    for line in text.splitlines(keepends=True):
        header = _HEADER.match(line)
        if header and (header[1] or header[2] or header[3]) in names:
            if not inside:
                _drop_remark(kept)
            inside = True
        elif inside and _TABLE.match(line):
            inside = False
            kept += after if after and not after[0].strip() else [end, *after]
        if not inside:
            kept.append(line)
        elif line.strip() and not line.lstrip().startswith("#"):
            after = []
        else:
            after.append(line)
    wanted = tomllib.loads(text)
    for name in names:
        wanted["step"].pop(name, None)
    new = "".join(kept).rstrip("\r\n") + end
    if _same(new, wanted):
        return new
    return manifest_edit.apply(text, [Change(("step", name), None) for name in names])


def _drop_remark(kept: list[str]) -> None:
    """Take away the remark that was written above a step, and the blank lines before it."""
    while kept and (not kept[-1].strip() or kept[-1].startswith(REMARK)):
        kept.pop()


def _step_lines(name: str, table: Mapping[str, Any]) -> list[str]:
    place = f"step.{_key(name)}"
    lines = [f"[{place}]"]
    lines += [f"{key} = {_value(table[key])}" for key in ("stage", "inputs", "variant") if key in table]
    if table.get("params"):
        lines += [f"[{place}.params]", *(f"{_key(k)} = {_value(v)}" for k, v in table["params"].items())]
    for item, values in table.get("item", {}).items():
        lines += [f"[{place}.item.{_key(item)}]", *(f"{_key(k)} = {_value(v)}" for k, v in values.items())]
    return lines


def _key(name: str) -> str:
    return name if _BARE.match(name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(str(k))} = {_value(v)}" for k, v in value.items()) + " }"
    plain = list(value) if isinstance(value, tuple) else value
    return tomlkit.item(plain).as_string()


def _same(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _check(text: str, wanted: Mapping[str, Any], hint: str) -> None:
    if not _same(text, wanted):
        raise ManifestError("editing would have changed more than was asked for", hint=hint)
