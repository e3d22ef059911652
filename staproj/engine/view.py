"""A project as it stands now: manifest, graph, heads, and what each step would be made from.

Reads small text files and ``stat`` only; raw data is read where its fingerprint is not known yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from staproj.engine import digest, params, plan
from staproj.errors import StaprojError, StorageError, UsageError
from staproj.project import accepted, atomic, checks, manifest, runs, versions
from staproj.project.accepted import Accepted
from staproj.project.fingerprints import Fingerprints
from staproj.project.layout import Layout, RunDir, RunName, templates_dir
from staproj.project.manifest import Change, Manifest, suggestion
from staproj.project.patterns import match_files
from staproj.stages import registry

RECORD_FORMAT = 1
"""Format of ``spec.json`` that this version writes and compares."""


@dataclass(frozen=True)
class InputUse:
    """One input of a step as it stands: which run's port, and its digests (one, or one an item)."""

    port: str
    source: str
    kind: str
    ref: str
    step: str
    run: str
    source_port: str
    per_item: bool
    digest: Any

    def as_dict(self) -> dict[str, Any]:
        """Return what ``spec.json`` keeps."""
        return {
            "ref": self.ref,
            "step": self.step,
            "run": self.run,
            "port": self.source_port,
            "kind": self.kind,
            "per_item": self.per_item,
            "digest": self.digest,
        }


@dataclass(frozen=True)
class Expected:
    """What a step would be made from now.

    ``lacking`` names inputs that were never made; then there is no pre-image. ``notes`` are remarks that
    change nothing (raw data out of reach).
    """

    node: plan.Node
    common: params.Resolved
    per_item: Mapping[str, params.Resolved]
    inputs: Mapping[str, InputUse]
    data: Mapping[str, Any]
    items: tuple[str, ...]
    image: dict[str, Any] | None
    lacking: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[str | None, ...]:
        """Return what the stage is called for: each item, or once."""
        return self.items if self.node.spec.scope == "item" else (None,)

    def check_ready(self) -> None:
        """Refuse a step whose inputs were never made.

        Raises
        ------
        UsageError
            If there is no pre-image yet.
        """
        if self.image is None:
            step = self.node.name
            raise UsageError(
                f"step {step!r} cannot run yet: {', '.join(self.lacking)} was never made",
                hint=f"`staproj run {step}` makes what it needs first",
            )

    def resolved(self, item: str | None) -> params.Resolved:
        """Return the parameters of one item."""
        return self.per_item.get(item, self.common) if item is not None else self.common


@dataclass
class View:
    """Snapshot of a project; make a new one after something changed.

    ``changes`` are edits of the manifest that are asked for but not written yet. ``with_template`` names the
    layer of values that came from a template (only records need it).
    """

    layout: Layout
    prints: Fingerprints
    changes: Sequence[Change] = ()
    with_template: bool = False
    memo: dict[Any, Any] = field(default_factory=dict)
    _raw: dict[str, dict[str, Any]] = field(default_factory=dict)
    _specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _expected: dict[str, Expected] = field(default_factory=dict)
    _resolved: dict[tuple[str, str | None], params.Resolved] = field(default_factory=dict)

    @classmethod
    def open(cls, root: Path, changes: Sequence[Change] = (), *, with_template: bool = False) -> View:
        """Look at the project at ``root``."""
        layout = Layout(root)
        registry.bar(layout.root)
        return cls(layout, Fingerprints(layout), tuple(changes), with_template)

    def again(self, changes: Sequence[Change] | None = None) -> View:
        """Look at the project anew; what cannot have changed (records of runs) is not read again."""
        new = View(
            self.layout,
            self.prints,
            self.changes if changes is None else tuple(changes),
            self.with_template,
            _raw=self._raw,
            _specs=self._specs,
            _outputs={run: found for run, found in self._outputs.items() if self.run(run).is_sealed()},
        )
        if new.changes == self.changes and new.manifest == self.manifest:
            new.__dict__["graph"] = self.graph
            new.__dict__["template"] = self.template
            new._resolved.update(self._resolved)
        return new

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest as it is now."""
        found = manifest.load(self.layout.manifest)
        if not self.changes:
            return found
        from staproj.project import manifest_edit

        return manifest.parse(manifest_edit.apply(found.text, self.changes), found.where)

    @cached_property
    def graph(self) -> plan.Graph:
        """Steps in order."""
        return plan.build(self.manifest, lambda run: str(self.spec(run)["stage"]))

    @cached_property
    def heads(self) -> dict[str, str]:
        """Run that stands for each step."""
        return versions.current_heads(self.layout)

    @cached_property
    def newest(self) -> dict[str, RunName]:
        """Newest run of each step, whatever became of it."""
        return runs.latest_by_step(self.layout)

    @cached_property
    def accepted(self) -> list[Accepted]:
        """Runs that may stand for others (none where their file is damaged: see :meth:`remarks`)."""
        try:
            return accepted.read(self.layout)
        except StorageError:
            return []

    def remarks(self) -> list[str]:
        """Return what is wrong with files of people that stops nothing."""
        try:
            accepted.read(self.layout)
        except StorageError as error:
            place = self.layout.relative(self.layout.accepted)
            return [f"{place} cannot be read, nothing counts as accepted: {error.message}"]
        return []

    @cached_property
    def template(self) -> Mapping[str, Mapping[str, Any]]:
        """Parameters that the project's template gave to each step (empty if it is not installed here)."""
        if not self.manifest.template:
            return {}
        try:
            made_from = manifest.load(templates_dir() / f"{Path(self.manifest.template).name}.toml")
        except (OSError, ValueError):
            return {}
        return {name: step.params for name, step in made_from.steps.items()}

    @cached_property
    def _names(self) -> dict[str, RunName]:
        return {name.id: name for name in self.layout.iter_runs()}

    def run(self, text: str) -> RunDir:
        """Return a run by name (looked up in one directory listing)."""
        name = self._names.get(text)
        return self.layout.run(name) if name is not None else self.layout.find_run(text)

    def earlier_runs(self, step: str) -> list[RunDir]:
        """Return runs whose finished items a step may take over: its own, then those of steps of its stage.

        The key of an item holds all that it is made from but not the step's name, so that a variant of a
        step costs nothing where it is the same. Heads first, then newest first.
        """
        node = self.graph.nodes.get(step)
        kin = {n.name for n in self.graph.nodes.values() if node and n.spec.name == node.spec.name} | {step}
        names = sorted((n for n in self._names.values() if n.step in kin), reverse=True)
        stand = set(self.heads.values())
        names.sort(key=lambda name: (name.step != step, name.id not in stand))
        return [self.layout.run(name) for name in names]

    def raw_spec(self, run: str) -> dict[str, Any]:
        """Return ``spec.json`` of a run as it stands, its form unchecked."""
        if run not in self._raw:
            self._raw[run] = atomic.read_json(self.run(run).spec)
        return self._raw[run]

    def spec(self, run: str) -> dict[str, Any]:
        """Return ``spec.json`` of a run."""
        if run not in self._specs:
            found = self.run(run)
            self._specs[run] = checks.spec(self.raw_spec(run), str(found.spec), found.id)
        return self._specs[run]

    def outputs(self, run: str) -> dict[str, Any]:
        """Return ``outputs.json`` of a sealed run."""
        if run not in self._outputs:
            path = self.run(run).outputs
            self._outputs[run] = checks.outputs(atomic.read_json(path), str(path))
        return self._outputs[run]

    def digests(self, run: str, port: str) -> Any:
        """Return the digest of one output, or ``{item: digest}``.

        Raises
        ------
        UsageError
            If the run has no such output.
        """
        artifacts = self.outputs(run).get("artifacts", {})
        if port not in artifacts:
            raise UsageError(f"run {run} has no output {port!r}", hint=suggestion(port, artifacts, "outputs"))
        entry = artifacts[port]
        if "items" in entry:
            return {item: part["digest"] for item, part in entry["items"].items()}
        return entry["digest"]

    def check(self) -> None:
        """Resolve every parameter of every step once, so that a bad value shows before anything runs."""
        for node in self.graph.nodes.values():
            for item in (None, *node.step.items):
                self._resolve(node, item)

    def expected(self, name: str) -> Expected:
        """Work out what step ``name`` would be made from (once)."""
        if name not in self._expected:
            self._expected[name] = self._expect(self.graph.node(name))
        return self._expected[name]

    def _expect(self, node: plan.Node) -> Expected:
        common = self._resolve(node, None)
        inputs, lacking = self._inputs(node)
        items = () if lacking else _items_of(node, inputs)
        per_item = {item: self._resolve(node, item) for item in items if item in node.step.items}
        data, notes = self._data(node, [common, *per_item.values()])
        image = None
        if not lacking:
            image = self._image(node, common, per_item, inputs, data, items)
        return Expected(node, common, per_item, inputs, data, items, image, tuple(lacking), tuple(notes))

    def _resolve(self, node: plan.Node, item: str | None) -> params.Resolved:
        if (node.name, item) not in self._resolved:
            self._resolved[node.name, item] = self._put_together(node, item)
        return self._resolved[node.name, item]

    def _put_together(self, node: plan.Node, item: str | None) -> params.Resolved:
        marked = {change.keys for change in self.changes if change.value is not None}
        template = self.template.get(node.name) if self.with_template else None
        return params.resolve(
            self.manifest, node.step, node.spec, item=item, template=template, marked=marked
        )

    def all_items(self) -> set[str]:
        """Return every tilt series that a head holds."""
        return self._all_items

    @cached_property
    def _all_items(self) -> set[str]:
        found: set[str] = set()
        for run in self.heads.values():
            with suppress(StaprojError):
                for artifact in self.outputs(run)["artifacts"].values():
                    found.update(artifact.get("items", ()))
        return found

    def _inputs(self, node: plan.Node) -> tuple[dict[str, InputUse], list[str]]:
        uses: dict[str, InputUse] = {}
        lacking: list[str] = []
        for edge in node.edges:
            run = edge.source_run or self.heads.get(edge.source_step or "")
            if run is None:
                lacking.append(edge.source)
                continue
            try:
                found = self.digests(run, edge.source_port)
            except UsageError:
                if not node.spec.inputs[edge.port].optional:
                    lacking.append(edge.source)
                continue
            except StorageError:
                lacking.append(edge.source)
                continue
            step = edge.source_step or self.run(run).name.step
            uses[edge.port] = InputUse(
                port=edge.port,
                source=edge.source,
                kind=edge.kind.value,
                ref=edge.ref,
                step=step,
                run=self.run(run).id,
                source_port=edge.source_port,
                per_item=isinstance(found, dict),
                digest=found,
            )
        return uses, lacking

    def _image(
        self,
        node: plan.Node,
        common: params.Resolved,
        per_item: Mapping[str, params.Resolved],
        inputs: Mapping[str, InputUse],
        data: Mapping[str, Any],
        items: tuple[str, ...],
    ) -> dict[str, Any]:
        names = params.data_parameters(node.spec)
        base = _key_values(common.values, names, data)
        overrides = {}
        for item, resolved in per_item.items():
            own = _key_values(resolved.values, names, data)
            overrides[item] = {name: value for name, value in own.items() if value != base[name]}
        image = digest.preimage(
            stage=node.spec.name,
            scope=node.spec.scope,
            cache_version=node.spec.cache_version,
            seed=self.manifest.seed,
            items=items,
            params=base,
            item_params=overrides,
            inputs={port: use.digest for port, use in inputs.items()},
        )
        return digest.restrict(image, items) if node.spec.scope == "item" else image

    def _data(self, node: plan.Node, resolved: list[params.Resolved]) -> tuple[dict[str, Any], list[str]]:
        """Fingerprint the raw data that parameters name: ``{pattern text: {"digest", "files"}}``."""
        found: dict[str, Any] = {}
        notes: list[str] = []
        for name in params.data_parameters(node.spec):
            for values in resolved:
                for pattern in patterns_of(values.values[name]):
                    if pattern in found:
                        continue
                    paths = match_files(self.layout.root, pattern)
                    files = [[self.layout.relative(path), self.prints.quick(path)] for path in paths]
                    found[pattern] = {"digest": digest.digest_of(files) if files else None, "files": files}
                    if not files:
                        notes.append(f"{node.name}.{name}: no file matches {pattern!r}")
        return found, notes


def patterns_of(value: Any) -> list[str]:
    """Return the patterns a raw-data parameter holds."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else [str(part) for part in value]


def _key_values(values: Mapping[str, Any], names: tuple[str, ...], data: Mapping[str, Any]) -> dict[str, Any]:
    """Replace patterns of raw data by the digest of what they match."""
    out = dict(values)
    for name in names:
        patterns = patterns_of(values[name])
        if patterns:
            digests = [data[pattern]["digest"] for pattern in patterns]
            out[name] = {"data": digests[0] if len(digests) == 1 else digest.digest_of(digests)}
    return out


def _items_of(node: plan.Node, inputs: Mapping[str, InputUse]) -> tuple[str, ...]:
    """Return the tilt series that every per-item input has (all of them in project scope)."""
    sets = [set(use.digest) for use in inputs.values() if use.per_item]
    if not sets or node.spec.scope != "item":
        return ()
    return tuple(sorted(set.intersection(*sets)))
