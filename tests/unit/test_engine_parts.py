"""Keys, digests and parameter layers on their own."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from staproj.engine import digest, reasons
from staproj.engine.context import small_grey

IMAGE = digest.preimage(
    stage="ctf",
    scope="item",
    cache_version=1,
    seed=0,
    items=["b", "a"],
    params={"x": 1.0, "y": "z"},
    item_params={"a": {"x": 2.0}, "b": {}},
    inputs={"views": {"a": "sha256:1", "b": "sha256:2"}, "map": "sha256:3"},
)


def test_keys_do_not_depend_on_order_and_depend_on_everything_else():
    """Canonical JSON: order is nothing, every value is something."""
    other = json.loads(json.dumps(IMAGE))
    other["params"] = dict(reversed(list(other["params"].items())))
    assert digest.digest_of(other) == digest.digest_of(IMAGE)
    keys = {digest.item_key(IMAGE, "a"), digest.item_key(IMAGE, "b")}
    for field, value in (
        ("cache_version", 2),
        ("seed", 1),
        ("stage", "gold"),
        ("params", {"x": 1.5, "y": "z"}),
    ):
        keys.add(digest.item_key({**IMAGE, field: value}, "b"))
    keys.add(digest.item_key({**IMAGE, "inputs": {**IMAGE["inputs"], "map": "sha256:4"}}, "b"))
    assert len(keys) == 7


def test_key_of_an_item_ignores_other_items():
    """What changes for a leaves b's key alone; an own value equal to the common one is no difference."""
    changed = json.loads(json.dumps(IMAGE))
    changed["item_params"]["a"]["x"] = 9.0
    changed["inputs"]["views"]["a"] = "sha256:9"
    assert digest.item_key(changed, "b") == digest.item_key(IMAGE, "b")
    assert digest.item_key(changed, "a") != digest.item_key(IMAGE, "a")
    same = digest.restrict(changed, ["b"])
    assert digest.item_key(same, "b") == digest.item_key(IMAGE, "b")
    explicit = {**IMAGE, "item_params": {**IMAGE["item_params"], "b": {"x": 1.0}}}
    assert digest.item_key(explicit, "b") == digest.item_key(IMAGE, "b")


def test_a_key_known_for_ever():
    """The key of a given pre-image is part of the record format: it must not change by accident."""
    text = '{"a":1.5,"b":["Å",null,true]}'
    assert digest.canonical({"b": ["Å", None, True], "a": 1.5}) == text.encode()
    assert digest.digest_of({}).endswith("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_last_bit(value):
    """Two different floats have different keys, the same float the same."""
    assert digest.canonical(value) == digest.canonical(float(repr(value)))
    assert digest.canonical(value) != digest.canonical(math.nextafter(value, 0.0 if value else 1.0))


@dataclass
class _Thing:
    path: Path
    data: np.ndarray
    name: str
    more: tuple[Path, ...] = ()


def _digest(thing: _Thing) -> str:
    return digest.digest_object(thing, lambda path: f"content of {path.name}")


def test_object_digest_is_of_content():
    """Directories do not count; file content, names, array values, shapes, types and text do."""
    start = _Thing(Path("/a/x.mrc"), np.arange(4), "n", (Path("/a/y"),))
    base = _digest(start)
    assert _digest(_Thing(Path("/elsewhere/x.mrc"), np.arange(4), "n", (Path("/b/y"),))) == base
    others = [
        _Thing(Path("/a/z.mrc"), np.arange(4), "n", (Path("/a/y"),)),
        _Thing(Path("/a/x.mrc"), np.arange(4).reshape(2, 2), "n", (Path("/a/y"),)),
        _Thing(Path("/a/x.mrc"), np.arange(4.0), "n", (Path("/a/y"),)),
        _Thing(Path("/a/x.mrc"), np.array([0, 1, 2, 4]), "n", (Path("/a/y"),)),
        _Thing(Path("/a/x.mrc"), np.arange(4), "m", (Path("/a/y"),)),
        _Thing(Path("/a/x.mrc"), np.arange(4), "n"),
    ]
    assert len({base, *map(_digest, others)}) == 7
    assert digest.digest_object(start, lambda path: "other") != base


def test_reasons_name_what_differs_and_nothing_else():
    """Common, per-item and appearing things each give one reason."""
    assert reasons.own_differences("ctf", IMAGE, json.loads(json.dumps(IMAGE))) == []
    new = {**IMAGE, "params": {"x": 1.0, "y": "q"}, "cache_version": 2, "seed": 3}
    found = {(r.kind, r.field, r.old, r.new) for r in reasons.own_differences("ctf", IMAGE, new)}
    assert found == {
        ("param", "ctf.y", "z", "q"),
        ("cache_version", "ctf", 1, 2),
        ("param", "project.seed", 0, 3),
    }
    new = {**IMAGE, "item_params": {"b": {"x": 5.0}}}
    found = {(r.kind, r.field, r.old, r.new) for r in reasons.own_differences("ctf", IMAGE, new)}
    assert found == {("item", "ctf.a.x", 2.0, 1.0), ("item", "ctf.b.x", 1.0, 5.0)}
    new = {**IMAGE, "items": ["a", "c"]}
    found = {(r.kind, r.field) for r in reasons.own_differences("ctf", IMAGE, new)}
    assert found == {("item", "ctf.b"), ("item", "ctf.c")}


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (256, 257), (600, 1001), (2000, 1)])
def test_previews_are_small_and_grey(shape: tuple[int, int], rng: np.random.Generator):
    """Odd, even and thin pictures fit into 256 pixels; NaN and constants do no harm."""
    image = rng.normal(size=shape)
    image[0, 0] = np.nan
    small = small_grey(image)
    assert small.dtype == np.uint8
    assert max(small.shape) <= 256
    assert small_grey(np.full(shape, 3.0)).max() == 0
