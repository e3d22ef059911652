"""What makes a result stale: keys with their stored pre-image, and digests of artifacts.

The key of a run is the SHA-256 of canonical JSON of its pre-image::

    {"format": 1, "stage", "scope", "cache_version", "seed", "items": [...],
     "params": {name: value}, "item_params": {item: {name: value}},
     "inputs": {port: digest or {item: digest}}}

Values of raw-data parameters stand as ``{"data": digest}`` of the files they match. Software version, host,
device, threads, paths and times are recorded, but never in the key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PREIMAGE_FORMAT = 1


def canonical(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, floats by repr, nothing infinite."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.encode()


def digest_of(value: Any) -> str:
    """Return ``sha256:`` + digest of canonical JSON."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()


def preimage(
    *,
    stage: str,
    scope: str,
    cache_version: int,
    seed: int,
    items: Iterable[str],
    params: Mapping[str, Any],
    item_params: Mapping[str, Mapping[str, Any]],
    inputs: Mapping[str, Any],
) -> dict[str, Any]:
    """Put the pre-image of a run together."""
    return {
        "format": PREIMAGE_FORMAT,
        "stage": stage,
        "scope": scope,
        "cache_version": cache_version,
        "seed": seed,
        "items": sorted(items),
        "params": dict(params),
        "item_params": {item: dict(values) for item, values in item_params.items() if values},
        "inputs": dict(inputs),
    }


def params_of_item(image: Mapping[str, Any], item: str | None) -> dict[str, Any]:
    """Return the parameters that hold for one item."""
    return {**image["params"], **image["item_params"].get(item, {})}


def inputs_of_item(image: Mapping[str, Any], item: str | None) -> dict[str, Any]:
    """Return the input digests that one item depends on."""
    if item is None:
        return dict(image["inputs"])
    return {
        port: digest.get(item) if isinstance(digest, Mapping) else digest
        for port, digest in image["inputs"].items()
    }


def item_key(image: Mapping[str, Any], item: str | None) -> str:
    """Return the key of one item: it can be taken from any run whose item has the same key."""
    return digest_of(
        {
            "format": image["format"],
            "stage": image["stage"],
            "cache_version": image["cache_version"],
            "seed": image["seed"],
            "item": item,
            "params": params_of_item(image, item),
            "inputs": inputs_of_item(image, item),
        }
    )


def restrict(image: Mapping[str, Any], items: Iterable[str]) -> dict[str, Any]:
    """Return the pre-image of the same work on some of its items (item scope)."""
    kept = sorted(set(items) & set(image["items"]))
    inputs = {
        port: {item: digest[item] for item in kept if item in digest}
        if isinstance(digest, Mapping)
        else digest
        for port, digest in image["inputs"].items()
    }
    overrides = {item: values for item, values in image["item_params"].items() if item in kept}
    return {**image, "items": kept, "inputs": inputs, "item_params": overrides}


def digest_object(obj: Any, path_digest: Callable[[Path], str]) -> str:
    """Return the digest of a model object by content; a path counts as the digest of its file.

    Names of directories and the bytes of HDF5 do not enter, so that neither moving data nor a newer HDF5
    library makes anything stale.
    """
    digest = hashlib.sha256()
    for part in _parts(obj, path_digest):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return "sha256:" + digest.hexdigest()


def paths_in(obj: Any) -> Iterator[Path]:
    """Yield every path a model object refers to."""
    if isinstance(obj, Path):
        yield obj
    elif dataclasses.is_dataclass(obj):
        for field in dataclasses.fields(obj):
            yield from paths_in(getattr(obj, field.name))
    elif isinstance(obj, (tuple, list)):
        for part in obj:
            yield from paths_in(part)


def _parts(obj: Any, path_digest: Callable[[Path], str]) -> Iterator[bytes]:
    import numpy as np

    if dataclasses.is_dataclass(obj):
        yield type(obj).__name__.encode()
        for field in dataclasses.fields(obj):
            yield field.name.encode()
            yield from _parts(getattr(obj, field.name), path_digest)
    elif isinstance(obj, Path):
        yield b"path"
        yield obj.name.encode()
        yield path_digest(obj).encode()
    elif isinstance(obj, np.ndarray):
        data = np.char.encode(obj, "utf-8") if obj.dtype.kind == "U" else np.ascontiguousarray(obj)
        yield data.dtype.str.encode()
        yield str(data.shape).encode()
        yield data.tobytes()
    elif isinstance(obj, (tuple, list)):
        yield f"sequence {len(obj)}".encode()
        for part in obj:
            yield from _parts(part, path_digest)
    else:
        yield type(obj).__name__.encode()
        yield repr(obj).encode()
