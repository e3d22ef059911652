"""Build a project of thousands of runs quickly, without computing anything.

    python -m tests.trials.big_project DIR [--runs 10000] [--chains 5]

The pipeline is that of a template, several chains side by side. Every chain was run many times, each time
with another value of one parameter, and its last round is the one the manifest asks for now. What that round
is made from comes from the engine's own functions; earlier rounds are the same records with other values.
Outputs are a few bytes of text each, with true sizes and SHA-256.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import random
import time
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.engine import digest, environment, spec
from staproj.engine.outputs import merge_items
from staproj.engine.plan import Node, is_per_item
from staproj.engine.view import View
from staproj.project import manifest, record, versions
from staproj.project.layout import Layout, RunDir, RunName, artifact_in, templates_dir
from staproj.project.process import this_process

ITEMS = ("TS_01", "TS_02", "TS_03")
FILE_BYTES = 400
_START = 1_790_000_000.0
_EVERY_S = 60.0
_RUN_MARK, _KEY_MARK = "r" + "0" * 11, "sha256:" + "0" * 64


@dataclass
class Made:
    """What a built project holds, for tests to compare with."""

    root: Path
    runs: int
    heads: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    wall_s: float = 0.0


def build(
    root: Path,
    runs: int = 10_000,
    *,
    chains: int = 5,
    template: str | None = None,
    items: Sequence[str] = ITEMS,
) -> Made:
    """Build a project of exactly ``runs`` runs in the new directory ``root``.

    ``template`` is the text of a manifest (default: the template ``demo``); its raw data are made up.
    """
    began = time.monotonic()
    text = template if template is not None else (templates_dir() / "demo.toml").read_text(encoding="utf-8")
    layout = Layout(root)
    for directory in (layout.runs, layout.versions, layout.annotations, layout.private, root / "raw"):
        directory.mkdir(parents=True)
    for item in items:
        (root / "raw" / f"{item}.txt").write_text(f"{item}\n")
        (root / "raw" / f"{item}.mdoc").write_text(f"{item}\n")
    layout.manifest.write_text(_manifest(tomllib.loads(text), chains))
    maker = _Maker(layout, tuple(items))
    made = maker.all_rounds(runs)
    layout.counter.write_text(str(runs))
    made.wall_s = time.monotonic() - began
    return made


def _manifest(data: Mapping[str, Any], chains: int) -> str:
    """Return the manifest: the steps of a template once a chain, ``ctf`` as ``ctf_1``, ``ctf_2``, ..."""
    lines = ["# A synthetic project.", f"schema = {manifest.SCHEMA}", "", "[project]", 'name = "big"']
    lines += [f'uuid = "{uuid.UUID(int=7, version=4)}"', "seed = 1", "", "[microscope]"]
    lines += [f"{key} = {_toml(value)}" for key, value in data.get("microscope", {}).items()]
    for chain in range(1, chains + 1):
        for name, step in data["step"].items():
            lines += ["", f"[step.{name}_{chain}]", f"stage = {_toml(step['stage'])}"]
            if inputs := step.get("inputs"):
                lines.append(f"inputs = {_toml({p: _renamed(ref, chain) for p, ref in inputs.items()})}")
            params = dict(step.get("params", {}))
            if "movies" in params:
                params["movies"] = "raw/*.txt"
            if "mdoc" in params:
                params["mdoc"] = "raw/*.mdoc"
            if params:
                lines += [f"[step.{name}_{chain}.params]", *(f"{k} = {_toml(v)}" for k, v in params.items())]
    return "\n".join(lines) + "\n"


def _renamed(ref: str, chain: int) -> str:
    step, dot, port = ref.partition(".")
    return f"{step}_{chain}{dot}{port}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(part)}" for key, part in value.items()) + " }"
    return json.dumps(value)


class _Maker:
    """Writes the runs of one project."""

    def __init__(self, layout: Layout, items: tuple[str, ...]) -> None:
        self.layout = layout
        self.items = items
        self.view = View.open(layout.root)
        self.nodes = list(self.view.graph.nodes.values())
        self.env = environment.collect(threads=2, device="cpu")
        self.records: dict[str, bytes] = {}
        self.item_record = self._item_record()
        self.specs: dict[str, dict[str, Any]] = {}
        self.digests: dict[tuple[int, str, str], Any] = {}  # by round, step, port
        self.rng = random.Random(1)
        self.made = Made(layout.root, 0)

    def all_rounds(self, runs: int) -> Made:
        """Write the last round as the manifest asks for it, then the earlier ones, then the versions."""
        count = len(self.nodes)
        if runs < count:
            raise ValueError(f"a project of {count} steps needs at least {count} runs")
        earlier = runs - count
        rounds = -(-earlier // count)
        first_of_last = earlier + 1
        for place, node in enumerate(self.nodes):
            self._last_round(node, RunName(first_of_last + place, node.name), rounds)
        number = 0
        moments = []
        for turn in range(rounds):
            heads = {}
            for node in self.nodes[: earlier - number]:
                number += 1
                name = RunName(number, node.name)
                if self._earlier_round(node, name, turn, rounds):
                    heads[node.name] = name.id
            moments.append((number, heads))
        moments.append((runs, self.made.heads))
        self._write_versions(moments)
        self.made.runs = runs
        return self.made

    def _last_round(self, node: Node, name: RunName, turn: int) -> None:
        """Write the run that is fresh now, from the engine's own idea of what it is made from."""
        view = View.open(self.layout.root)
        view.__dict__.update(manifest=self.view.manifest, graph=self.view.graph)
        expected = view.expected(node.name)
        run = self.layout.run(name)
        run.path.mkdir()
        made = spec.build(
            view,
            expected,
            run,
            items=list(expected.items),
            image=expected.image or {},
            note="",
            execution={"threads": 2, "device": "cpu", "device_asked": "auto"},
        )
        made["created"] = _time(name.number)
        self.specs[node.name] = made
        self._write(node, run, made, turn)
        self.made.heads[node.name] = name.id

    def _earlier_round(self, node: Node, name: RunName, turn: int, rounds: int) -> bool:
        """Write a run of an earlier round; return whether it was completed."""
        last = self.specs[node.name]
        image = json.loads(json.dumps(last["preimage"]))
        made = {**last, "run": name.id, "uuid": str(uuid.UUID(int=self.rng.getrandbits(128), version=4))}
        made["created"], made["note"] = _time(name.number), f"round {turn + 1}"
        made["previous"] = None if turn == 0 else f"r{name.number - len(self.nodes):04d}"
        made["params"] = {key: dict(entry) for key, entry in last["params"].items()}
        varied = _varied(node, image["params"])
        if varied is not None:
            value = image["params"][varied] + (rounds - turn) * 0.001
            image["params"][varied] = value
            made["params"][varied] = {"value": value, "layer": "step"}
        made["inputs"] = {}
        for port, use in last["inputs"].items():
            source = int(use["run"][1:]) - int(last["run"][1:]) + name.number
            value = self.digests[turn, use["step"], use["port"]]
            made["inputs"][port] = {**use, "run": f"r{source:04d}", "digest": value}
            image["inputs"][port] = value
        made["parents"] = sorted({use["run"] for use in made["inputs"].values()})
        made["preimage"], made["key"] = image, digest.digest_of(image)
        leaf = not any(node.name in other.parents() for other in self.nodes)
        failed = leaf and turn % 7 == 3
        self._write(node, self.layout.run(name), made, turn, failed=failed)
        return not failed

    def _write(
        self, node: Node, run: RunDir, made: dict[str, Any], turn: int, *, failed: bool = False
    ) -> None:
        """Write all files of a run as the engine leaves them."""
        units: list[str | None] = list(made["items"]) if node.spec.scope == "item" else [None]
        began = _START + _EVERY_S * run.name.number
        events: list[dict[str, Any]] = [
            {"time": began, "event": "started", "attempt": 1, **this_process(), "pid": 999_999_999}
        ]
        _put(run.spec, _json(made))
        _put(run.env, _json(self.env))
        if failed:
            events.append({"time": began + 1, "event": "item-failed", "item": units[0], "message": "no"})
            told = {"message": "no", "error": "StageError", "items": {units[0] or node.name: "no"}}
            events.append({"time": began + 1, "event": "failed", "wall_s": 1.0, **told})
            _put(run.log, b"--- failed\n")
            _put(run.state, _lines(events))
            self.made.failed.append(run.id)
            return
        entries = {unit: self._item(node, run, made, unit, events, began) for unit in units}
        outputs = _json(merge_items(entries))
        _put(run.outputs, outputs)
        meta = self._record(node, run, made, units)
        _put(run.record, meta)
        wall_s = round(len(units) * (0.5 + self.rng.random()), 3)
        usage = {"wall_s": wall_s, "cpu_s": round(wall_s * 1.6, 3), "peak_rss_bytes": 300_000_000}
        verdict = entries[units[0]]["verdict"]
        verdict = verdict if len(units) == 1 else f"{len(units)} tilt series; {units[0]}: {verdict}"
        events.append(
            {
                "time": began + wall_s,
                "event": "sealed",
                "reused": [],
                "verdict": verdict,
                "warning": False,
                **usage,
            }
        )
        _put(run.state, _lines(events))
        _put(run.log, b"%s begins\nsealed\n" % run.id.encode())
        proof = {p.name: "sha256:" + hashlib.sha256(p.read_bytes()).hexdigest() for p in (run.spec, run.env)}
        proof[run.record.name] = "sha256:" + hashlib.sha256(meta).hexdigest()
        proof[run.outputs.name] = "sha256:" + hashlib.sha256(outputs).hexdigest()
        _put(run.sealed, _json({"record_format": spec.RECORD_FORMAT, "sha256": proof, **usage}))
        artifacts = json.loads(outputs)["artifacts"]
        for port, entry in artifacts.items():
            value = entry.get("digest") or {item: part["digest"] for item, part in entry["items"].items()}
            self.digests[turn, node.name, port] = value

    def _item(
        self,
        node: Node,
        run: RunDir,
        made: dict[str, Any],
        unit: str | None,
        events: list[dict[str, Any]],
        began: float,
    ) -> dict[str, Any]:
        """Write outputs and records of one item; return its entry."""
        files, artifacts = [], {}
        for port, item in self._ports(node, unit):
            path = artifact_in(run.out, port, item)
            data = f"{run.id} {port} {item} ".encode().ljust(FILE_BYTES, b".")
            _put(path, data)
            value = "sha256:" + hashlib.sha256(data).hexdigest()
            relative = path.relative_to(run.out).as_posix()
            final = node.spec.outputs[port].kind.value not in ("tilt-series", "tomograms", "movies")
            files.append(
                {
                    "path": relative,
                    "size": len(data),
                    "mtime_ns": path.stat().st_mtime_ns,
                    "sha256": value,
                    "class": "final" if final else "intermediate",
                }
            )
            entry = {"file": relative, "digest": digest.digest_of([value])}
            kind = node.spec.outputs[port].kind.value
            if unit is None and item is not None:
                artifacts.setdefault(port, {"kind": kind, "items": {}})["items"][item] = entry
            else:
                artifacts[port] = {"kind": kind, **entry}
        verdict = f"{node.spec.name}: residual {self.rng.random():.2f} px, 41 views used"
        done = {
            "item": unit,
            "key": digest.item_key(made["preimage"], unit),
            "run": run.id,
            "reused_from": None,
            "files": files,
            "artifacts": artifacts,
            "verdict": verdict,
            "warning": False,
            "fallbacks": [],
            "wall_s": 0.7,
            "cpu_s": 1.1,
            "peak_rss_bytes": 300_000_000,
        }
        _put(run.item_done(unit), _json(done))
        _put(run.item_record(unit), self.item_record)
        events.append({"time": began, "event": "item-started", "item": unit})
        events.append(
            {"time": began, "event": "item-finished", "item": unit, "wall_s": 0.7, "verdict": verdict}
        )
        return done

    def _ports(self, node: Node, unit: str | None) -> Iterator[tuple[str, str | None]]:
        for port, declared in node.spec.outputs.items():
            if declared.optional:
                continue
            if unit is None and is_per_item(node.spec, port):
                for item in self.items:
                    yield port, item
            else:
                yield port, unit

    def _item_record(self) -> bytes:
        """Return the bytes of one item's record."""
        path = self.layout.private / "item.h5"
        record.write_item(path, record.ItemRecord(metrics={"residual_px": 0.5}, verdict="fine"))
        data = path.read_bytes()
        path.unlink()
        return data

    def _record(self, node: Node, run: RunDir, made: dict[str, Any], units: Sequence[str | None]) -> bytes:
        """Return ``meta.h5``: written once a step with marks of the right length, which are then replaced."""
        mark = _RUN_MARK[: len(run.id)]
        if node.name + mark not in self.records:
            path = self.layout.private / "run.h5"
            record.write_run(
                path,
                attributes={"run": mark, "step": node.name, "stage": node.spec.name, "key": _KEY_MARK},
                params=made["params"],
                items={unit: run.item_record(unit) for unit in units},
            )
            self.records[node.name + mark] = path.read_bytes()
            path.unlink()
        data = self.records[node.name + mark].replace(_KEY_MARK.encode(), made["key"].encode())
        return data.replace(mark.encode() + b"\0", run.id.encode() + b"\0", 1)

    def _write_versions(self, moments: Sequence[tuple[int, Mapping[str, str]]]) -> None:
        text = self.layout.manifest.read_text()
        heads: dict[str, str] = {}
        for number, (last, new) in enumerate(moments, start=1):
            heads = {**heads, **new}
            version = versions.Version(number, _time(last), "somebody", f"round {number}", last, heads, text)
            self.layout.version(number).write_text(versions.to_toml(version), encoding="utf-8")


def _varied(node: Node, params: Mapping[str, Any]) -> str | None:
    """Return the parameter that differs from round to round: the first that is a fraction."""
    return next((name for name, value in params.items() if isinstance(value, float)), None)


def _time(number: int) -> str:
    moment = datetime.datetime.fromtimestamp(_START + _EVERY_S * number, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _lines(events: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events).encode()


def _put(path: Path, data: bytes) -> None:
    """Write a file, making its directory where there is none."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        fd = os.open(path, flags, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        fd = os.open(path, flags, 0o644)
    os.write(fd, data)
    os.close(fd)


def main() -> None:
    """Build a project and say what it holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--chains", type=int, default=5)
    asked = parser.parse_args()
    made = build(asked.directory, asked.runs, chains=asked.chains)
    print(f"{made.runs} runs, {len(made.heads)} steps, {len(made.failed)} failed runs in {made.wall_s:.1f} s")  # noqa: T201


if __name__ == "__main__":
    main()
