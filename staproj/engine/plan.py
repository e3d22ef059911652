"""The graph of a project: steps joined by typed ports, in an order that can be run. Pure; reads no files."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from staproj.errors import ManifestError, StaprojError, UsageError
from staproj.kinds import ArtifactKind
from staproj.project.manifest import Manifest, Ref, Step, suggestion
from staproj.stages import registry
from staproj.stages.api import Port, StageSpec


@dataclass(frozen=True)
class Edge:
    """One connected input: port ``port`` of a step is fed by ``source_port`` of a step or of a fixed run."""

    port: str
    kind: ArtifactKind
    source_port: str
    source_step: str | None
    source_run: str | None
    per_item: bool
    ref: str

    @property
    def source(self) -> str:
        """Name of what feeds the port, ``ctf.ctf`` or ``r0007.ctf``."""
        return f"{self.source_step or self.source_run}.{self.source_port}"


@dataclass(frozen=True)
class Node:
    """A step with its stage and connected inputs."""

    step: Step
    spec: StageSpec
    edges: tuple[Edge, ...]

    @property
    def name(self) -> str:
        """Name of the step."""
        return self.step.name

    def parents(self) -> list[str]:
        """Return the steps this one takes inputs from."""
        return [edge.source_step for edge in self.edges if edge.source_step is not None]


@dataclass(frozen=True)
class Graph:
    """All steps in an order in which each comes after what it needs."""

    nodes: Mapping[str, Node]

    def node(self, name: str) -> Node:
        """Return one step.

        Raises
        ------
        UsageError
            If there is none of that name.
        """
        if name not in self.nodes:
            raise UsageError(f"there is no step {name!r}", hint=suggestion(name, self.nodes, "steps"))
        return self.nodes[name]

    def needed_for(self, targets: Iterable[str]) -> list[str]:
        """Return ``targets`` and everything upstream of them, in order."""
        wanted: set[str] = set()
        waiting = [self.node(name).name for name in targets]
        while waiting:
            name = waiting.pop()
            if name not in wanted:
                wanted.add(name)
                waiting += self.nodes[name].parents()
        return [name for name in self.nodes if name in wanted]

    def downstream_of(self, name: str) -> list[str]:
        """Return every step that depends on ``name``, in order."""
        found = {self.node(name).name}
        for node in self.nodes.values():
            if found.intersection(node.parents()):
                found.add(node.name)
        return [step for step in self.nodes if step in found and step != name]


def build(manifest: Manifest, stage_of_run: Callable[[str], str] | None = None) -> Graph:
    """Join the steps of a manifest.

    ``stage_of_run`` says which stage made a fixed run (``run:r0007``).

    Raises
    ------
    ManifestError
        On an unknown stage, port or step, a missing input, an input of the wrong kind, or a cycle.
    """
    specs = {name: _spec(manifest, step) for name, step in manifest.steps.items()}
    nodes = {
        name: Node(step, specs[name], _edges(manifest, step, specs, stage_of_run))
        for name, step in manifest.steps.items()
    }
    for node in nodes.values():
        if node.spec.scope == "item" and not any(edge.per_item for edge in node.edges):
            raise ManifestError(
                f"step {node.name!r} runs once a tilt series but none of its inputs comes one a tilt series",
                where=_where(manifest, node.step),
                hint="connect an input that exists once a tilt series",
            )
    return Graph({name: nodes[name] for name in _order(manifest, nodes)})


def is_per_item(spec: StageSpec, port: str) -> bool:
    """Tell whether an output exists once a tilt series."""
    return spec.scope == "item" or spec.outputs[port].per_item


def _where(manifest: Manifest, step: Step, key: str = "") -> str:
    return f"{manifest.where} [step.{step.name}{'.' + key if key else ''}]"


def _spec(manifest: Manifest, step: Step) -> StageSpec:
    try:
        return registry.get(step.stage)
    except UsageError as error:
        raise ManifestError(error.message, where=_where(manifest, step, "stage"), hint=error.hint) from None


def _edges(
    manifest: Manifest,
    step: Step,
    specs: Mapping[str, StageSpec],
    stage_of_run: Callable[[str], str] | None,
) -> tuple[Edge, ...]:
    spec = specs[step.name]
    for port in step.inputs:
        if port not in spec.inputs:
            raise ManifestError(
                f"stage {spec.name!r} has no input {port!r}",
                where=_where(manifest, step, f"inputs.{port}"),
                hint=suggestion(port, spec.inputs, "inputs"),
            )
    edges = []
    for port, declared in spec.inputs.items():
        if port in step.inputs:
            edges.append(_edge(manifest, step, port, declared, specs, stage_of_run))
        elif not declared.optional:
            makers = [s for s, other in specs.items() if _ports_of(other, declared.kind) and s != step.name]
            some = f"; {', '.join(makers)} can give it" if makers else ""
            raise ManifestError(
                f"step {step.name!r} lacks its input {port!r} ({declared.doc.rstrip('.')})",
                where=_where(manifest, step, "inputs"),
                hint=f'write {port} = "STEP" in inputs{some}',
            )
    return tuple(edges)


def _edge(
    manifest: Manifest,
    step: Step,
    port: str,
    declared: Port,
    specs: Mapping[str, StageSpec],
    stage_of_run: Callable[[str], str] | None,
) -> Edge:
    ref = step.inputs[port]
    where = _where(manifest, step, f"inputs.{port}")
    if ref.step is not None:
        if ref.step not in specs:
            raise ManifestError(
                f"there is no step {ref.step!r}", where=where, hint=suggestion(ref.step, specs, "steps")
            )
        source = specs[ref.step]
    else:
        if stage_of_run is None or ref.run is None:
            raise ManifestError(f"{ref.text!r} cannot be used here", where=where, hint="name a step")
        source = _stage_of(ref.run, stage_of_run, where)
    source_port = _choose_port(ref, port, declared, source, where)
    per_item = is_per_item(source, source_port)
    return Edge(port, declared.kind, source_port, ref.step, ref.run, per_item, ref.text)


def _stage_of(run: str, stage_of_run: Callable[[str], str], where: str) -> StageSpec:
    try:
        return registry.get(stage_of_run(run))
    except StaprojError as error:
        raise ManifestError(error.message, where=where, hint=error.hint) from None


def _choose_port(ref: Ref, port: str, declared: Port, source: StageSpec, where: str) -> str:
    fitting = _ports_of(source, declared.kind)
    if ref.port is not None:
        if ref.port not in source.outputs:
            raise ManifestError(
                f"{ref.text!r}: stage {source.name!r} has no output {ref.port!r}",
                where=where,
                hint=suggestion(ref.port, source.outputs, "outputs"),
            )
        if ref.port not in fitting:
            raise _wrong_kind(ref, declared, source.outputs[ref.port].kind.value, fitting, where)
        return ref.port
    if not fitting:
        kinds = ", ".join(sorted({out.kind.value for out in source.outputs.values()})) or "nothing"
        raise _wrong_kind(ref, declared, kinds, fitting, where)
    if len(fitting) > 1 and port not in fitting:
        raise ManifestError(
            f"{ref.text!r} has several outputs of kind {declared.kind.value}",
            where=where,
            hint="name one: " + " or ".join(f'"{ref.text}.{name}"' for name in fitting),
        )
    return port if port in fitting else fitting[0]


def _wrong_kind(ref: Ref, declared: Port, found: str, fitting: list[str], where: str) -> ManifestError:
    body = ref.text.rsplit(".", 1)[0] if ref.port else ref.text
    hint = f'use "{body}.{fitting[0]}"' if fitting else f"name a step that gives {declared.kind.value}"
    return ManifestError(
        f"{ref.text!r} gives {found}, but {declared.kind.value} is needed", where=where, hint=hint
    )


def _ports_of(spec: StageSpec, kind: ArtifactKind) -> list[str]:
    return [name for name, port in spec.outputs.items() if port.kind is kind]


def _order(manifest: Manifest, nodes: Mapping[str, Node]) -> list[str]:
    """Sort so that inputs come first, else as in the manifest."""
    place = {name: index for index, name in enumerate(nodes)}
    waits = {name: len(set(node.parents())) for name, node in nodes.items()}
    users: dict[str, list[str]] = {name: [] for name in nodes}
    for name, node in nodes.items():
        for parent in set(node.parents()):
            users[parent].append(name)
    ready = [place[name] for name, count in waits.items() if not count]
    heapq.heapify(ready)
    names, done = list(nodes), []
    while ready:
        done.append(names[heapq.heappop(ready)])
        for name in users[done[-1]]:
            waits[name] -= 1
            if not waits[name]:
                heapq.heappush(ready, place[name])
    left = [name for name in names if waits[name]]
    if left:
        cycle = _find_cycle(nodes, left)
        raise ManifestError(
            "the steps form a cycle: " + " -> ".join(cycle),
            where=_where(manifest, nodes[cycle[0]].step, "inputs"),
            hint="one of these inputs must come from somewhere else",
        )
    return done


def _find_cycle(nodes: Mapping[str, Node], left: list[str]) -> list[str]:
    """Return a cycle in the direction data would flow."""
    path: list[str] = [left[0]]
    while True:
        parent = next(p for p in nodes[path[-1]].parents() if p in left)
        if parent in path:
            return list(reversed([*path[path.index(parent) :], parent]))
        path.append(parent)
