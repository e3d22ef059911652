"""How files were made, in words: chains of runs, the whole record of one, cost, graphs as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.runs import lineage_lines
from staproj.report.tables import duration, number, pairs, size, table

PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "h5py",
    "mrcfile",
    "starfile",
    "tifffile",
    "cupy-cuda13x",
    "cupy-cuda12x",
)


def what_made_lines(told: Mapping[str, Any]) -> list[str]:
    """Return the chain behind a file, with where this is known from."""
    lines = lineage_lines(told)
    head = []
    if told.get("source") == "sidecar":
        project = told.get("project") or {}
        origin = f"{told['run']} of " if told.get("run") else ""
        head.append(
            f"  exported from {origin}project {project.get('name') or 'without name'} ({told['sidecar']})"
        )
        if told.get("renamed"):
            head.append(f"  it was called {told['entry']} then")
    if told.get("source") == "content":
        same = told["same_as"]
        head.append("  the same bytes as " + ", ".join(f"{use['run']} out/{use['file']}" for use in same[:4]))
        if len(same) > 4:
            head.append(f"  and {len(same) - 4} more")
    if told.get("gone"):
        head.append(f"  the file is {told['gone']}; its record says how it was made")
    if told.get("differing"):
        names = ", ".join(told["differing"][:6]) + (" ..." if len(told["differing"]) > 6 else "")
        head.append(f"  CHANGED or gone since: {names}")
    elif told.get("changed"):
        head.append(
            "  CHANGED since: its bytes are not those on record; what follows is how the original was made"
        )
    if told.get("state", "sealed") != "sealed":
        head.append(f"  {told['run']} is not complete ({told['state']}): this is what it was to be made from")
    if told.get("absent"):
        head.append(f"  the records of {', '.join(map(str, told['absent']))} are gone")
    return [*lines[:1], *head, *lines[1:], *_made_with(told)]


def _made_with(told: Mapping[str, Any]) -> list[str]:
    """Return one line on software, machines and people of a chain (several where they differ)."""
    said: dict[str, None] = {}
    for node in told.get("chain", ()):
        software = node.get("software") or {}
        env = told.get("environments", {}).get(node.get("environment")) or {}
        code = f" ({str(software['git'])[:10]})" if software.get("git") else ""
        where = f" on {env['host']} ({env.get('cpu') or 'CPU unknown'})" if env.get("host") else ""
        who = f" by {node['who']}" if node.get("who") else ""
        said[f"  made with staproj {software.get('staproj', 'of unknown version')}{code}{where}{who}"] = None
    return [*said][:6]


def record_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the whole record of one run."""
    env = facts["environment"]
    software = facts["software"] or {}
    git = env.get("git") if isinstance(env.get("git"), Mapping) else {}
    code = software.get("git") or "not from a checkout"
    if git:
        code = f"{git.get('sha')} ({'with changes not committed' if git.get('dirty') else 'clean'})"
    lines = [f"{facts['run']}  step {facts['step']} (stage {facts['stage']}), {facts['state']}"]
    lines += pairs(
        {
            "uuid": facts["uuid"],
            "command": " ".join(facts["command"] or []) or None,
            "by": facts["who"],
            "created": facts["created"],
            "started": facts["started"],
            "ended": facts["ended"],
            "wall time": duration(facts["wall_s"]) if facts["wall_s"] is not None else None,
            "CPU time": duration(facts["cpu_s"]) if facts["cpu_s"] is not None else None,
            "peak memory": size(facts["peak_rss_bytes"]) if facts["peak_rss_bytes"] else None,
            "key": facts["key"],
            "numbers of stage": f"version {facts['cache_version']}",
            "seed": facts["seed"],
        }
    )
    lines += [
        "software",
        *pairs({"staproj": software.get("staproj"), "code": code, "Python": env.get("python")}),
    ]
    packages = env.get("packages") if isinstance(env.get("packages"), Mapping) else {}
    lines += pairs({name: packages[name] for name in PACKAGES if name in packages})
    lines.append(f"  and {len(packages)} packages in all (--json lists them)")
    lines += ["machine", *pairs(_machine(env, facts["gpus"]))]
    lines.append("parameters")
    lines += table(
        ["name", "value", "from"],
        [
            [name, number(entry.get("value")), str(entry.get("layer"))]
            for name, entry in facts["params"].items()
        ],
        indent=2,
    )
    for item, own in facts["item_params"].items():
        lines += [
            f"  {item}: {name} = {number(e.get('value'))} ({e.get('layer')})" for name, e in own.items()
        ]
    lines.append("inputs")
    for port, use in facts["inputs"].items():
        lines.append(f"  {port}: {use['run']}.{use['port']} ({use['kind']})")
        digests = use["digest"] if isinstance(use["digest"], Mapping) else {"": use["digest"]}
        lines += [f"      {item + ' ' if item else ''}{value}" for item, value in digests.items()]
    for pattern, entry in facts["data"].items():
        lines.append(f"  raw data {pattern}: {len(entry['files'])} files, {entry.get('digest')}")
    lines += [f"  {item or 'all'} taken over from {o['run']}" for item, o in facts["reused_from"].items()]
    lines.append("outputs")
    for file in facts["files"]:
        gone = ", cleared" if file["cleared"] else ""
        lines.append(
            f"  {file['path']}  {size(file['size'])}, {file.get('class') or 'final'}{gone}, {file['sha256']}"
        )
    return lines


def _machine(env: Mapping[str, Any], gpus: Sequence[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        key: env.get(key) for key in ("host", "system", "cpu", "cpu_count", "threads", "device")
    }
    if env.get("memory_bytes"):
        shown["memory"] = size(env["memory_bytes"])
    for index, text in enumerate(gpus, start=1):
        shown[f"GPU {index}"] = text
    if env.get("cuda"):
        shown["CUDA"] = env["cuda"]
    for group in ("environment", "scheduler"):
        if isinstance(env.get(group), Mapping):
            shown |= dict(env[group])
    return shown


def cost_lines(cost: Mapping[str, Any]) -> list[str]:
    """Return what each run of a chain took, and the sum."""
    rows = []
    for row in cost["runs"]:
        rows.append(
            [
                row["run"],
                row["step"],
                _time(row["wall_s"]),
                _time(row["cpu_s"]),
                _bytes(row["peak_rss_bytes"]),
            ]
        )
        if row.get("earlier"):
            part = row["earlier"]
            rows.append(["", "  attempts before it", _time(part["wall_s"]), _time(part["cpu_s"]), ""])
        for part in row["reused"]:
            name = f"  {part['item'] or 'all'} made by {part['run']}"
            rows.append(["", name, _time(part["wall_s"]), _time(part["cpu_s"]), ""])
    rows.append(["", "in all", _time(cost["wall_s"]), _time(cost["cpu_s"]), _bytes(cost["peak_rss_bytes"])])
    lines = table(["run", "step", "wall", "CPU", "memory"], rows)
    if cost["unknown"]:
        lines.append(f"not on record for {', '.join(cost['unknown'])}: the sum is too low")
    return lines


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _bytes(value: int | None) -> str:
    return "-" if not value else size(value)


def dot_lines(told: Mapping[str, Any]) -> list[str]:
    """Return the chain as a graph in the language of Graphviz."""
    lines = ["digraph lineage {", "  rankdir=LR;", "  node [shape=box];"]
    lines += [
        f'  {_id(node["run"])} [label="{_quoted(node["run"])}\\n{_quoted(node["step"])}"];'
        for node in told["chain"]
    ]
    for node in told["chain"]:
        for port, use in node["inputs"].items():
            lines.append(f'  {_id(use["run"])} -> {_id(node["run"])} [label="{_quoted(port)}"];')
        if node.get("data"):
            lines.append(f'  raw [label="raw data\\n{len(told["raw"])} files", shape=folder];')
            lines.append(f"  raw -> {_id(node['run'])};")
    return [*lines, "}"]


def mermaid_lines(told: Mapping[str, Any]) -> list[str]:
    """Return the chain as a Mermaid flow chart (drawn by many web pages and editors)."""
    lines = ["flowchart LR"]
    lines += [
        f'  {_id(node["run"])}["{_quoted(node["run"])} {_quoted(node["step"])}"]' for node in told["chain"]
    ]
    for node in told["chain"]:
        lines += [
            f"  {_id(use['run'])} -->|{_quoted(port)}| {_id(node['run'])}"
            for port, use in node["inputs"].items()
        ]
        if node.get("data"):
            lines.append(f'  raw[("raw data: {len(told["raw"])} files")] --> {_id(node["run"])}')
    return lines


def _id(run: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in run)


def _quoted(text: str) -> str:
    return text.replace("\\", "").replace('"', "'").replace("|", "/").replace("\n", " ")
