"""Runs before and after a run as an indented tree: each run once, under the run farthest from the root.

A run that is the only one under another stands below it without further indentation, so that a long chain
stays a column; the names of all its neighbours say what the tree leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.runs import clip
from staproj.report.tables import table

BRANCH, LAST, ON = "├─", "└─", "│ "
DEEPEST = 8
"""More branches than this inside each other are not indented further."""

Node = Mapping[str, Any]


def tree(nodes: Mapping[str, Node], start: str, links: str) -> list[tuple[str, str]]:
    """Return runs below ``start`` as ``(lines of the tree, run)``; ``links``: "parents" or "children".

    >>> nodes = {"r0001": {"children": ["r0002", "r0003"]}, "r0002": {"children": ["r0004"]},
    ...          "r0003": {"children": []}, "r0004": {"children": []}}
    >>> tree(nodes, "r0001", "children")
    [('├─', 'r0003'), ('└─', 'r0002'), ('  ', 'r0004')]
    """
    kids = _spanning(nodes, start, links)
    depth = _depths(kids, start)
    found: list[tuple[str, str]] = []
    waiting: list[tuple[str, str, str]] = []

    def add(run: str, margin: str) -> None:
        own = sorted(kids.get(run, ()), key=lambda kid: (depth[kid], -_number(kid)))
        if len(own) == 1 or len(margin) >= 2 * DEEPEST:
            waiting.extend((kid, margin, margin) for kid in reversed(own))
        else:
            for place in range(len(own) - 1, -1, -1):
                last = place == len(own) - 1
                waiting.append(
                    (own[place], margin + (LAST if last else BRANCH), margin + ("  " if last else ON))
                )

    add(start, "")
    while waiting:
        run, drawn, margin = waiting.pop()
        found.append((drawn, run))
        add(run, margin)
    return found


def upwards(lines: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Turn a tree over, so that its root is below it."""
    return [(drawn.replace("└", "┌"), run) for drawn, run in reversed(lines)]


def _spanning(nodes: Mapping[str, Node], start: str, links: str) -> dict[str, list[str]]:
    """Return ``{run: runs under it}``: each run under the one that is farthest from ``start``."""
    far, under = {start: 0}, {}
    sign = -1 if links == "parents" else 1
    reached, waiting = {start}, [start]
    while waiting:
        for other in nodes.get(waiting.pop(), {}).get(links, ()):
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    for run in sorted(reached, key=lambda name: sign * _number(name)):
        for other in nodes.get(run, {}).get(links, ()):
            if far[run] + 1 > far.get(other, 0):
                far[other], under[other] = far[run] + 1, run
    kids: dict[str, list[str]] = {}
    for run, above in under.items():
        kids.setdefault(above, []).append(run)
    return kids


def _depths(kids: Mapping[str, Sequence[str]], start: str) -> dict[str, int]:
    """Return how many runs stand below each other at most, from each run on."""
    order, waiting = [], [start]
    while waiting:
        run = waiting.pop()
        order.append(run)
        waiting += kids.get(run, ())
    depth: dict[str, int] = {}
    for run in reversed(order):
        depth[run] = 1 + max((depth[kid] for kid in kids.get(run, ())), default=0)
    return depth


def _number(run: str) -> int:
    return int(run[1:]) if run[1:].isdigit() else 0


def direct(graph: Mapping[str, Any]) -> dict[str, str]:
    """Return how each run hangs together with the one in the middle that does so directly: its inputs."""
    found: dict[str, str] = {}
    for side, words in (("parents", "gives"), ("children", "takes it as")):
        ports: dict[str, list[str]] = {}
        for other in graph[side]:
            ports.setdefault(other["run"], []).append(other["port"])
        for run, own in ports.items():
            named = ", ".join(port for port in own if port)
            found[run] = (
                f"{words} {named}" if named else "made from it" if side == "children" else "used by it"
            )
    return found


def connections(graph: Mapping[str, Any], run: str, near: Mapping[str, str] | None = None) -> str:
    """Return how a run hangs together with the one in the middle, or with others between.

    Directly: the inputs (``near`` is what :func:`direct` returned, for whoever asks often). Of runs farther
    off: who uses it, or what it was made from.
    """
    near = direct(graph) if near is None else near
    if run in near:
        return near[run]
    nodes = graph["nodes"]
    node = nodes.get(run)
    if node is None or run == graph["run"]:
        return ""
    if _number(run) < _number(graph["run"]):
        return "used by " + _named([name for name in node["children"] if name in nodes])
    return "from " + _named([name for name in node["parents"] if name in nodes])


def _named(runs: Sequence[str]) -> str:
    return ", ".join(runs) if len(runs) <= 4 else f"{', '.join(runs[:3])} and {len(runs) - 3} more"


def graph_lines(graph: Mapping[str, Any], links: str = "children") -> list[str]:
    """Return everything that was made from a run (``children``), or that it was made from (``parents``)."""
    nodes, near = graph["nodes"], direct(graph)
    rows = []
    for drawn, run in tree(nodes, graph["run"], links):
        node = nodes[run]
        head = "*" if node["head"] else ""
        words = [drawn + run, head, node["step"], node["state"], connections(graph, run, near)]
        rows.append([*words, clip(node["verdict"], 60)])
    title = f"{graph['run']}  {graph['step']} ({graph['stage']})  {graph['state']}"
    if not rows:
        return [
            title,
            "  nothing was made from it" if links == "children" else "  it was made from nothing else",
        ]
    said = "made from it" if links == "children" else "it was made from"
    header = [said, "", "step", "state", "", ""]
    count = f"{len(rows)} runs; * stands for its step now" if len(rows) > 1 else "* stands for its step now"
    return [title, *table(header, rows, indent=2), count]
