"""How to make a run again: commands, parameters, inputs, raw data, software. Read from the records alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from staproj.engine.recreate import scope_of
from staproj.engine.remake import runs_behind
from staproj.engine.view import View
from staproj.errors import StaprojError, UsageError
from staproj.project import atomic
from staproj.project.manifest import SCHEMA

_ALWAYS = ("numpy", "scipy", "numba", "llvmlite", "h5py")


def recipe(view: View, run: str) -> dict[str, Any]:
    """Return everything that is needed to make a run again.

    Keys: run, step, stage, created, who, note, typed, commands, chain, manifest, manifest_all, inputs, raw,
    links, software, seed, threads, device, items, outputs, key. ``manifest`` is the part of this step,
    ``manifest_all`` a whole manifest of it and all it was made from; ``links`` are the places inside the
    project where raw data lies.

    Raises
    ------
    UsageError
        If the run is not complete.
    """
    directory = view.run(run)
    if not directory.is_sealed():
        raise UsageError(f"run {directory.id} is not complete", hint=f"`staproj log {directory.id}` says why")
    spec = view.spec(directory.id)
    names = _step_names(view, directory.id)
    raw = _raw(view, names)
    step = names[directory.id]
    return {
        "run": directory.id,
        "step": spec["step"],
        "stage": spec["stage"],
        "created": spec["created"],
        "who": spec["who"],
        "note": spec["note"],
        "typed": spec["command"],
        "commands": _commands(view, directory.id, step),
        "chain": [{"run": one, "step": name} for one, name in names.items()],
        "manifest": _fragment(view, directory.id, names, layers=True),
        "manifest_all": _manifest(view, names),
        "inputs": _inputs(spec),
        "raw": raw,
        "links": sorted({part["path"].split("/", 1)[0] for part in raw if not part["path"].startswith("/")}),
        "software": _software(view, directory.id),
        "seed": spec["preimage"]["seed"],
        "threads": spec.get("execution", {}).get("threads"),
        "device": spec.get("execution", {}).get("device"),
        "items": spec["items"],
        "outputs": [
            {"path": entry["path"], "size": entry["size"], "sha256": entry["sha256"]}
            for entry in view.outputs(directory.id)["files"]
        ],
        "key": spec["key"],
    }


def _step_names(view: View, run: str) -> dict[str, str]:
    """Return ``{run: name of its step}`` of a run and all it was made from, inputs first, names unique."""
    names: dict[str, str] = {}
    newest_first = runs_behind(view, run)[::-1]
    for one in newest_first:
        step = str(view.spec(one)["step"])
        names[one] = f"{step}-{one}" if step in names.values() else step
    return {one: names[one] for one in reversed(newest_first)}


def _commands(view: View, run: str, step: str) -> dict[str, str]:
    spec = view.spec(run)
    words = ["staproj", "run", step]
    for item in spec["items"] if scope_of(spec) == "item" and _is_part(view, run) else []:
        words += ["--item", str(item)]
    return {
        "here": f"staproj rerun {run}",
        "check": f"staproj reproduce {run} --check",
        "elsewhere": " ".join(words),
    }


def _is_part(view: View, run: str) -> bool:
    """Tell whether a run was made for some of the tilt series that its inputs hold."""
    spec = view.spec(run)
    for use in spec["inputs"].values():
        with suppress(StaprojError):
            held = view.digests(str(use["run"]), str(use["port"]))
            if isinstance(held, Mapping) and isinstance(use["digest"], Mapping):
                return set(held) != set(spec["items"])
    return False


def _manifest(view: View, names: Mapping[str, str]) -> str:
    """Return a manifest with one step a run, every parameter written out."""
    last = view.spec(list(names)[-1])
    head = [
        f"schema = {SCHEMA}",
        "",
        "[project]",
        f"name = {_toml(last['run'] + '-' + last['step'])}",
        f"seed = {last['preimage']['seed']}",
    ]
    return "\n".join([*head, "", *(_fragment(view, run, names) for run in names)])


def _fragment(view: View, run: str, names: Mapping[str, str], *, layers: bool = False) -> str:
    """Return the tables of one step; ``layers`` adds where each value came from."""
    spec = view.spec(run)
    step = names[run]
    uses = {port: f"{names[str(use['run'])]}.{use['port']}" for port, use in spec["inputs"].items()}
    lines = [f"[step.{_key(step)}]", f"stage = {_toml(spec['stage'])}"]
    if uses:
        lines.append(f"inputs = {_toml(uses)}")
    lines += _table(f"step.{_key(step)}.params", spec["params"], layers)
    for item, table in sorted(spec["item_params"].items()):
        lines += _table(f"step.{_key(step)}.item.{_key(item)}", table, layers)
    return "\n".join(lines) + "\n"


def _table(name: str, params: Mapping[str, Any], layers: bool) -> list[str]:
    """Return one table; "automatic" values (none) are left out, as a manifest has no word for them."""
    lines = []
    for key, entry in params.items():
        if entry["value"] is None:
            continue
        line = f"{_key(key)} = {_toml(entry['value'])}"
        lines.append(f"{line.ljust(44)} # {entry['layer']}" if layers else line)
    return [f"[{name}]", *lines] if lines else []


def _inputs(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "port": port,
            "run": use["run"],
            "step": use["step"],
            "output": use["port"],
            "kind": use["kind"],
            "digest": use["digest"],
        }
        for port, use in spec["inputs"].items()
    ]


def _raw(view: View, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return raw data of a run and of all it was made from."""
    found: dict[str, dict[str, Any]] = {}
    for run in names:
        for entry in view.spec(run)["data"].values():
            for path, fingerprint in entry["files"]:
                found[path] = {"path": path, "fingerprint": fingerprint, "read_by": run}
    return [found[path] for path in sorted(found)]


def _software(view: View, run: str) -> dict[str, Any]:
    """Return what has to be installed: staproj with commit, python, the packages it computes with."""
    spec = view.spec(run)
    env: dict[str, Any] = {}
    with suppress(StaprojError):
        env = atomic.read_json(view.run(run).env)
    packages = env.get("packages") if isinstance(env.get("packages"), dict) else {}
    wanted = {name.lower() for name in (*_ALWAYS, *_required())}
    pinned = {str(k): str(v) for k, v in (packages or {}).items() if str(k).lower() in wanted}
    git = env.get("git") if isinstance(env.get("git"), dict) else {}
    version = str(spec["software"].get("staproj", env.get("staproj", "")))
    return {
        "staproj": version,
        "python": str(spec["software"].get("python", env.get("python", ""))),
        "commit": (git or {}).get("sha"),
        "dirty": (git or {}).get("dirty"),
        "packages": pinned,
        "cpu": env.get("cpu"),
        "system": env.get("system"),
        "install": " ".join(
            ["pip install", f"staproj=={version}", *(f"{name}=={value}" for name, value in pinned.items())]
        ),
    }


def _required() -> list[str]:
    """Return the packages that staproj needs, by name."""
    try:
        found = requires("staproj") or []
    except PackageNotFoundError:
        return []
    plain = [line for line in found if "extra ==" not in line]
    return ["".join(c if c.isalnum() or c in "-_." else " " for c in line).split()[0] for line in plain]


def _key(text: str) -> str:
    plain = bool(text) and text.isascii() and all(c.isalnum() or c in "-_" for c in text)
    return text if plain else json.dumps(text)


def _toml(value: Any) -> str:
    """Return a value as TOML writes it in one line."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(str(k))} = {_toml(v)}" for k, v in value.items() if v is not None)
        return "{ " + inside + " }" if inside else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
