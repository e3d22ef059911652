"""RO-Crate metadata of runs, after the Process Run Crate profile 0.5.

One ``CreateAction`` a run: what was made (``result``) from what (``object``: files and parameters) with
what (``instrument``), by whom, when, and how it ended. Files have the paths they have below the crate's root.
A file that is not there (raw data elsewhere, outputs that were cleared) is described with its digest, but is
no part of the crate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any
from urllib.parse import quote

from staproj.engine import provenance
from staproj.engine.view import View
from staproj.project.versions import now

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
METADATA_FILE = "ro-crate-metadata.json"
CONTEXT: tuple[Any, ...] = (
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
    {"resourceUsage": "https://w3id.org/ro/terms/workflow-run#resourceUsage"},
)
_TYPES = {
    ".mrc": "image/mrc", ".mrcs": "image/mrc", ".st": "image/mrc", ".h5": "application/x-hdf5",
    ".star": "text/plain", ".toml": "application/toml", ".json": "application/json", ".txt": "text/plain",
    ".mdoc": "text/plain", ".tif": "image/tiff", ".tiff": "image/tiff", ".jsonl": "application/jsonl",
    ".bib": "text/plain", ".md": "text/markdown", ".csv": "text/csv", ".xml": "application/xml",
}  # fmt: skip
_STATUS = {
    "sealed": "http://schema.org/CompletedActionStatus",
    "failed": "http://schema.org/FailedActionStatus",
    "interrupted": "http://schema.org/FailedActionStatus",
}

Where = Callable[[str], str | None]


def crate(
    view: View,
    runs: Iterable[str],
    *,
    where: Where | None = None,
    extra_files: Iterable[str] = (),
    anonymous: bool = False,
    license_: str | None = None,
    author: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the content of ``ro-crate-metadata.json`` for some runs (ancestors are not added).

    Parameters
    ----------
    view
        The project.
    runs
        Ids of runs, in any order.
    where
        Path below the crate's root of a file given by its path as stored in the project (``runs/...``, raw
        data relative or absolute), or ``None`` where it is not in the crate. Default: files that exist in the
        project are at their place; nothing else is in the crate.
    extra_files
        Further files of the crate (paths below its root), such as the manifest.
    anonymous
        Leave out people and machines.
    license_
        Address of a licence; without one the crate says that none is stated.
    author
        ``{"name", "affiliation", "affiliation_url", "orcid"}`` of who is responsible; default: who ran them.
    """
    told = [provenance.facts(view, run) for run in sorted(set(runs), key=_number)]
    graph = _Graph(where or _here(view), [provenance.for_export(view, t, anonymous) for t in told])
    for path in extra_files:
        graph.file(path, placed=path)
    for run in graph.told:
        graph.action(run)
    name = view.manifest.name or view.layout.root.name
    return graph.document(name, license_, author)


def write_text(content: Mapping[str, Any]) -> str:
    """Return the crate as text."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _here(view: View) -> Where:
    def find(stored: str) -> str | None:
        path = view.layout.absolute(stored)
        inside = path.is_relative_to(view.layout.absolute("."))
        return view.layout.relative(path) if inside and path.is_file() else None

    return find


class _Graph:
    """Entities by ``@id``; each is described once, however often it is referred to."""

    def __init__(self, where: Where, told: list[dict[str, Any]]) -> None:
        self.where = where
        self.told = told
        self.by_run = {facts["run"]: facts for facts in told}
        self.entities: dict[str, dict[str, Any]] = {}
        self.parts: list[str] = []
        self.actions: list[str] = []
        self.people: list[str] = []
        self._listed = {facts["run"]: {file["path"]: file for file in facts["files"]} for facts in told}

    def put(self, id_: str, kind: str, /, **facts: Any) -> dict[str, str]:
        """Add an entity, or refer to the one that is there; facts that are ``None`` are left out."""
        if id_ not in self.entities:
            kept = {key: _compact(value) for key, value in facts.items() if value not in (None, "", [])}
            self.entities[id_] = {"@id": id_, "@type": kind, **kept}
        return {"@id": id_}

    def file(
        self, stored: str, *, placed: str | None = None, sha256: str | None = None, size: int | None = None,
        **facts: Any,
    ) -> dict[str, str]:  # fmt: skip
        """Add a file of the crate, or describe one that is not in it."""
        found = placed if placed is not None else self.where(stored)
        digest = sha256.removeprefix("sha256:") if sha256 and sha256.startswith("sha256:") else None
        name = stored.rpartition("/")[2]
        size_text = str(size) if size is not None else None
        if found is None:
            return self.put(
                "#absent/" + quote(stored, safe="/"), "CreativeWork", name=name, sha256=digest,
                contentSize=size_text, alternateName=stored,
                description="not in this crate", **facts,
            )  # fmt: skip
        identifier = quote(found, safe="/+@=,:~")
        if identifier not in self.entities:
            self.parts.append(identifier)
        suffix = "." + found.rpartition(".")[2].lower()
        return self.put(
            identifier, "File", name=name, sha256=digest, contentSize=size_text,
            encodingFormat=_TYPES.get(suffix, "application/octet-stream"), **facts,
        )  # fmt: skip

    def output(self, run: str, path: str) -> dict[str, str]:
        """Add an output of a run."""
        facts = self.by_run.get(run)
        if facts is None:  # the record of that run is not part of this crate
            return self.put(
                f"#absent/{run}/{quote(path)}", "CreativeWork", name=path, description=f"made by {run}"
            )
        listed = self._listed[run].get(path, {})
        return self.file(
            f"{facts['directory']}/out/{path}", sha256=listed.get("sha256"), size=listed.get("size")
        )

    def action(self, facts: Mapping[str, Any]) -> None:
        """Add a run."""
        identifier = f"#{facts['run']}-{facts['uuid']}" if facts["uuid"] else f"#{facts['run']}"
        self.actions.append(identifier)
        stage, step = facts["stage"], facts["step"]
        command = " ".join(facts["command"] or [])
        failed = facts["state"] in ("failed", "interrupted")
        words = [facts["verdict"], f"command: {command}" if command else None]
        if facts["note"]:
            words.append(f"note: {facts['note']}")
        self.put(
            identifier, "CreateAction",
            name=f"{facts['run']}: step {step} (stage {stage})",
            description="; ".join(w for w in words if w) or f"run of stage {stage}",
            identifier=f"urn:uuid:{facts['uuid']}" if facts["uuid"] else None,
            instrument=self._software(facts), agent=self._agent(facts),
            startTime=_iso(facts["started"] or facts["created"]), endTime=_iso(facts["ended"]),
            actionStatus=_STATUS.get(facts["state"]),
            error=(facts["error"] or "no reason on record") if failed else None,
            object=self._objects(facts, identifier),
            result=self._results(facts, failed),
            resourceUsage=self._usage(facts, identifier),
        )  # fmt: skip

    def _results(self, facts: Mapping[str, Any], failed: bool) -> list[dict[str, str]]:
        """Return the outputs; a run that failed left its log."""
        if failed and facts["log"]:
            return [self.file(str(facts["log"]))]
        return [self.output(facts["run"], file["path"]) for file in facts["files"]]

    def _objects(self, facts: Mapping[str, Any], identifier: str) -> list[dict[str, str]]:
        found = []
        for use in facts["inputs"].values():
            source = self.by_run.get(use["run"], {"ports": {}})
            port = source["ports"].get(use["port"])
            names = port["files"] if port else [use["port"]]
            found += [self.output(use["run"], path) for path in names]
        for entry in facts["data"].values():
            found += [self.file(str(path), identifier=str(value)) for path, value in entry["files"]]
        for name, entry in {**facts["params"], "seed": {"value": facts["seed"], "layer": "project"}}.items():
            value, layer = _scalar(entry.get("value")), f"set by: {entry.get('layer', 'unknown')}"
            own = f"{identifier}/parameter/{name}"
            found.append(self.put(own, "PropertyValue", name=name, value=value, description=layer))
        unique = {reference["@id"]: reference for reference in found}
        return [*unique.values()]

    def _software(self, facts: Mapping[str, Any]) -> dict[str, str]:
        software = facts["software"] or {}
        version, commit = str(software.get("staproj", "unknown")), software.get("git")
        home = _home()
        name = quote(version) + (f":{quote(str(commit), safe='')}" if commit else "")
        return self.put(
            f"{home}#{name}" if home else f"urn:staproj:{name}",
            "SoftwareApplication",
            name="staproj",
            softwareVersion=f"{version} (commit {commit})" if commit else version,
            url=home,
            description=f"cryo-ET subtomogram averaging, in Python {software.get('python', 'unknown')}",
        )

    def _agent(self, facts: Mapping[str, Any]) -> dict[str, str]:
        who = facts["who"]
        identifier = f"#person/{quote(who)}" if who else "#person/not-named"
        if identifier not in self.people:
            self.people.append(identifier)
        return self.put(identifier, "Person", name=who or "not named")

    def _usage(self, facts: Mapping[str, Any], identifier: str) -> list[dict[str, str]]:
        env = facts["environment"]
        values = {
            "wall_s": facts["wall_s"], "cpu_s": facts["cpu_s"], "peak_rss_bytes": facts["peak_rss_bytes"],
            "host": env.get("host"), "cpu": env.get("cpu"), "device": env.get("device"),
            "threads": env.get("threads"),
            "gpu": "; ".join(facts["gpus"]) or None,
        }  # fmt: skip
        return [
            self.put(f"{identifier}/usage/{name}", "PropertyValue", name=name, value=_scalar(value))
            for name, value in values.items()
            if value is not None
        ]

    def document(self, name: str, license_: str | None, author: Mapping[str, str] | None) -> dict[str, Any]:
        """Return the crate."""
        stated = license_ or "#licence-not-stated"
        words = {} if license_ else {"description": "The project states no licence; ask its authors."}
        self.put(stated, "CreativeWork", name=license_ or "no licence stated", **words)
        root = {
            "@id": "./",
            "@type": "Dataset",
            "name": name,
            "description": f"Results of the cryo-ET project {name} and how they were made: {len(self.told)} "
            "runs of staproj, with their inputs, parameters and software.",
            "datePublished": _iso(now()),
            "license": {"@id": stated},
            "conformsTo": {"@id": PROFILE},
            **self._authors(author),
            "hasPart": [{"@id": part} for part in self.parts],
            "mentions": [{"@id": action} for action in self.actions],
        }
        head = {
            "@id": METADATA_FILE,
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        }
        profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
        kept = {key: _compact(value) for key, value in root.items() if value not in ([], None)}
        return {"@context": [*CONTEXT], "@graph": [head, kept, profile, *self.entities.values()]}

    def _authors(self, author: Mapping[str, str] | None) -> dict[str, Any]:
        """Return ``author`` and, where an institute is named, ``publisher`` of the crate."""
        if not author:
            return {"author": [{"@id": person} for person in self.people]}
        found: dict[str, Any] = {}
        if author.get("affiliation"):
            url = author.get("affiliation_url")
            found["publisher"] = self.put(
                url or "#affiliation", "Organization", name=author["affiliation"], url=url
            )
        person = author.get("orcid") or "#author"
        found["author"] = self.put(person, "Person", name=author["name"], affiliation=found.get("publisher"))
        return found


@cache
def _home() -> str | None:
    """Return the address that the installed package names as its home, if it names one."""
    try:
        lines = metadata("staproj").get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    pairs = [line.partition(",") for line in lines]
    return next((url.strip() for name, _, url in pairs if name.strip().lower() == "homepage"), None)


def _compact(value: Any) -> Any:
    """Return a list of one as that one, as RO-Crate wants it."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _iso(text: str | None) -> str | None:
    """Return a UTC time as the profile wants it."""
    return text.replace("Z", "+00:00") if text else None


def _scalar(value: Any) -> Any:
    if value is None:
        return "not set"
    return (
        value
        if isinstance(value, bool | int | float | str)
        else json.dumps(value, ensure_ascii=False, default=str)
    )


def _number(run: str) -> tuple[int, str]:
    digits = run[1:]
    return (int(digits) if digits.isdigit() else 0, run)
