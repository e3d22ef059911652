"""Mutations of files: single bytes, spliced parts, and parts of JSON and TOML trees."""

from __future__ import annotations

import copy
import datetime
import json
import random
import tomllib
from typing import Any

STRANGE: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    -(2**63),
    10**19,
    10**30,
    1e308,
    -0.0,
    0.5,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "\n",
    "x" * 300,
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "r0001",
    "r0002",
    "r0099",
    "r9999999999",
    "j0001",
    "TS_01",
    "_whole",
    "shift",
    "~",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "\ud800",
    "\x00",
    "a\nb",
    "sha256:" + "0" * 64,
    "q:" + "0" * 64,
    "sealed",
    "started",
    "%s{0}",
    "step.port.more",
    "failed",
    "raw/*.txt",
    "**",
    "/",
    "toy_shift",
    "2026-01-01T00:00:00Z",
    "run:r0001",
    [],
    {},
    [[]],
    [1, [2, [3]]],
    {"TS_01": 1},
    {"": ""},
    {"items": {}},
    ["a"] * 50,
    {"value": 1, "layer": "x"},
]
TOKENS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"'",
    b",",
    b":",
    b"=",
    b"\n",
    b"\x00",
    b"\xff",
    b"\\u0000",
    b"NaN",
    b"Infinity",
    b"1e999",
    b"9" * 5000,
    b"-",
    b"../",
    b"/",
    b"\xef\xbb\xbf",
    b"[[",
    b"]]",
    b"\xed\xa0\x80",
    b"'''",
    b'"""',
    b"#",
    b"a.b.c.d",
    b"0x" + b"f" * 60,
    b"[" * 3000,
    b'{"a":' * 500,
    b"inf",
    b"1979-05-27",
    b".",
    b"\\ud800",
]


def any_bytes(draw: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Flip, set, cut, repeat, insert or splice bytes, once or a few times."""
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        size = len(made)
        at = draw.randrange(size + 1)
        how = draw.randrange(9)
        if how == 0 and size:
            made[at % size] ^= 1 << draw.randrange(8)
        elif how == 1 and size:
            made[at % size] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        elif how == 2:
            del made[at:]
        elif how == 3:
            del made[at : at + draw.choice((1, 2, 4, 8, 64, 512))]
        elif how == 4:
            made[at:at] = made[at : at + draw.choice((1, 8, 64, 512))]
        elif how == 5:
            made[at:at] = draw.choice(TOKENS)
        elif how == 6:
            number = draw.choice((0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1))
            width = draw.choice((2, 4, 8))
            made[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        elif how == 7 and other:
            cut = draw.randrange(len(other) + 1)
            made[at:] = other[cut:]
        elif size:
            made[at % size] = draw.randrange(256)
    return bytes(made)


def tree(draw: random.Random, value: Any) -> Any:
    """Replace, remove, repeat or rename one part of a JSON value, or of several."""
    value = json.loads(json.dumps(value)) if not isinstance(value, dict | list) else value
    for _ in range(draw.choice((1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return _strange(draw)
        parent, key = draw.choice(places)
        how = draw.randrange(6)
        if how == 0:
            del parent[key]
        elif how == 1 and isinstance(parent, dict):
            parent[str(_strange(draw))] = parent.pop(key)
        elif how == 2 and isinstance(parent, list):
            parent.insert(draw.randrange(len(parent) + 1), parent[key])
        elif how == 3:
            other_parent, other_key = draw.choice(places)
            try:
                parent[key] = json.loads(json.dumps(other_parent[other_key], default=str))
            except (KeyError, IndexError):  # it went with another part
                continue
        else:
            parent[key] = _strange(draw)
    return value


def json_bytes(draw: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Change a JSON document as a tree, or as bytes."""
    if draw.random() < 0.25:
        return any_bytes(draw, data, other)
    return json.dumps(tree(draw, json.loads(data)), indent=1).encode()


def lines(draw: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Change JSON lines: one as a tree, or their order and number, or bytes."""
    if draw.random() < 0.25:
        return any_bytes(draw, data, other)
    rows = data.splitlines()
    for _ in range(draw.choice((1, 1, 3))):
        if not rows:
            break
        at = draw.randrange(len(rows))
        how = draw.randrange(5)
        if how == 0:
            del rows[at]
        elif how == 1:
            rows.insert(at, draw.choice(rows))
        elif how == 2:
            rows[at] = rows[at][: draw.randrange(len(rows[at]) + 1)]
        else:
            try:
                rows[at] = json.dumps(tree(draw, json.loads(rows[at]))).encode()
            except ValueError:
                continue
    return b"\n".join(rows) + draw.choice((b"\n", b"", b"\n{"))


def toml_bytes(draw: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Change a TOML document as a tree, by lines, or as bytes."""
    how = draw.random()
    if how < 0.3:
        return any_bytes(draw, data, other)
    if how < 0.55:
        rows = data.split(b"\n")
        for _ in range(draw.choice((1, 1, 2, 4))):
            at = draw.randrange(len(rows))
            rows[at : at + draw.randrange(3)] = draw.choice(([], [rows[at], rows[at]], [draw.choice(rows)]))
            rows = rows or [b""]
        return b"\n".join(rows)
    value = tree(draw, tomllib.loads(data.decode()))
    parts = value.items() if isinstance(value, dict) else ()
    text = "\n".join(f"{_key(str(key))} = {_toml(part)}" for key, part in parts)
    return text.encode("utf-8", "surrogatepass")


def _strange(draw: random.Random) -> Any:
    return copy.deepcopy(draw.choice(STRANGE))


def _places(value: Any) -> Any:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(parts):
        yield value, key
        yield from _places(part)


def _key(key: str) -> str:
    return json.dumps(key)


def _toml(value: Any) -> str:
    """Write a value as TOML, in one line (what TOML cannot say becomes something near)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(str(k))} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, float):
        return {"inf": "inf", "-inf": "-inf", "nan": "nan"}.get(repr(value), repr(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return '""' if value is None else json.dumps(str(value))
