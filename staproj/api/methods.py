"""The methods section of a paper, from what is on record of runs: paragraphs, software, references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from staproj.api.facts import Facts
from staproj.engine import provenance
from staproj.engine.view import View
from staproj.errors import StaprojError, UsageError
from staproj.stages import references, registry
from staproj.stages.api import StageSpec

TITLES = {
    "import": "Images",
    "align": "Alignment of tilt series",
    "ctf": "Contrast transfer function",
    "reconstruct": "Tomograms",
    "particles": "Particles",
    "maps": "Maps",
}


def methods(view: View, runs: Iterable[str]) -> dict[str, Any]:
    """Return paragraphs, software and references of some runs, oldest first.

    ``{"runs", "paragraphs", "software", "software_cites", "references", "unsaid"}``. A paragraph is
    ``{"group", "title", "sentences": [{"run", "step", "stage", "text", "cites"}], "text"}``;
    a reference ``{"key", "text", "bibtex"}`` (free text of plug-ins has no key). ``unsaid`` names runs whose
    stage has no words for a paper, or is not installed.
    """
    told = [provenance.facts(view, run) for run in runs]
    paragraphs: dict[str, list[dict[str, Any]]] = {}
    cited: dict[str, None] = {}
    unsaid: list[str] = []
    for facts in told:
        spec = _stage(str(facts["stage"]))
        text = _words(view, facts, spec)
        if spec is None or not text:
            unsaid.append(facts["run"])
        if spec is None:
            continue
        cited |= dict.fromkeys(spec.citations)
        if text:
            sentence = {key: facts[key] for key in ("run", "step", "stage")}
            sentence |= {"text": text, "cites": list(spec.citations)}
            paragraphs.setdefault(spec.group, []).append(sentence)
    software, keys, itself = _software(told)
    cited |= dict.fromkeys(keys)
    entries = [_reference(citation) for citation in cited] + [_entry(entry) for entry in itself]
    return {
        "runs": [facts["run"] for facts in told],
        "paragraphs": [
            {
                "group": group,
                "title": TITLES.get(group, "Other steps"),
                "sentences": sentences,
                "text": " ".join(dict.fromkeys(part["text"] for part in sentences)),
            }
            for group, sentences in sorted(paragraphs.items(), key=lambda pair: _rank(pair[0]))
        ],
        "software": software,
        "software_cites": [*keys, *(entry.key for entry in itself)] if software else [],
        "references": entries,
        "unsaid": unsaid,
    }


def bibtex(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the references as a BibTeX file (free text is left out)."""
    return "\n\n".join(str(entry["bibtex"]) for entry in entries if entry.get("bibtex")) + "\n"


def _rank(group: str) -> int:
    order = list(TITLES)
    return order.index(group) if group in order else len(order)


def _stage(name: str) -> StageSpec | None:
    try:
        return registry.get(name)
    except (UsageError, StaprojError):
        return None


def _words(view: View, facts: dict[str, Any], spec: StageSpec | None) -> str:
    if spec is None or not spec.methods:
        return ""
    known = Facts(view, facts)
    return " ".join(text for text in (known.fill(sentence) for sentence in spec.methods) if text)


def _reference(citation: str) -> dict[str, Any]:
    found = references.get(citation)
    return _entry(found) if found else {"key": None, "text": citation, "short": citation, "bibtex": None}


def _entry(entry: references.Reference) -> dict[str, Any]:
    return {"key": entry.key, "text": entry.text(), "short": entry.short(), "bibtex": entry.bibtex()}


def _software(told: list[dict[str, Any]]) -> tuple[str, list[str], list[references.Reference]]:
    """Return one sentence on the software of all runs, keys of its references, and staproj's own entries."""
    versions: dict[str, str] = {}
    names: dict[str, dict[str, None]] = {}
    for facts in told:
        software, env = facts["software"] or {}, facts["environment"]
        if software.get("staproj"):
            code = str(software.get("git") or "")
            commit = (
                f" (commit {code[:10]}{', with changes' if code.endswith('+dirty') else ''})" if code else ""
            )
            names.setdefault("staproj", {})[f"{software['staproj']}{commit}"] = None
            versions.setdefault(str(software["staproj"]), str(facts["created"])[:4])
        if software.get("python"):
            names.setdefault("Python", {})[str(software["python"])] = None
        packages = env.get("packages") if isinstance(env.get("packages"), dict) else {}
        for package in references.SOFTWARE:
            if package in packages:
                names.setdefault(package, {})[str(packages[package])] = None
    if not names:
        return "", [], []
    shown = [f"{name} {' and '.join(found)}" for name, found in names.items()]
    text = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
    keys = [key for package, key in references.SOFTWARE.items() if package in names]
    itself = [
        references.staproj_itself(version, int(year)) for version, year in versions.items() if year.isdigit()
    ]
    return f"All steps were computed with {text}.", keys, itself
