"""The methods section as text or Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

WIDTH = 100
_NOTHING = "nothing was run yet, so there is nothing to tell"


def text_lines(told: Mapping[str, Any], width: int = WIDTH) -> list[str]:
    """Return paragraphs and numbered references as plain text, in lines of so many characters at most."""
    if not told["runs"]:
        return [_NOTHING]
    numbers = {e["key"] or e["text"]: number for number, e in enumerate(told["references"], start=1)}

    def marked(keys: list[str]) -> str:
        return ", ".join(map(str, sorted(numbers[key] for key in keys if key in numbers)))

    lines: list[str] = []
    for paragraph in told["paragraphs"]:
        lines += [paragraph["title"], *_wrapped(_cited(paragraph, marked), width), ""]
    if told["software"]:
        lines += ["Software", *_wrapped(_cited(_software(told), marked), width), ""]
    if told["references"]:
        lines.append("References")
        for number, entry in enumerate(told["references"], start=1):
            lines += textwrap.wrap(f"[{number}] {entry['text']}", width, subsequent_indent="    ")
    return lines + _unsaid(told)


def markdown_lines(told: Mapping[str, Any]) -> list[str]:
    """Return the same as Markdown, with citations by key as pandoc reads them (free text has no key)."""
    if not told["runs"]:
        return [_NOTHING]
    known = {entry["key"] for entry in told["references"]}
    lines: list[str] = []

    def marked(keys: list[str]) -> str:
        return "; ".join(f"@{key}" for key in keys if key in known)

    for paragraph in told["paragraphs"]:
        lines += [f"## {paragraph['title']}", "", _cited(paragraph, marked), ""]
    if told["software"]:
        lines += ["## Software", "", _cited(_software(told), marked), ""]
    lines += ["## References", ""]
    for entry in told["references"]:
        name = f"**{entry['key']}**: " if entry["key"] else ""
        lines.append(f"- {name}{entry['text']}")
    return [*lines, "", *_unsaid(told)] if told["unsaid"] else lines


def _cited(paragraph: Mapping[str, Any], marked: Callable[[list[str]], str]) -> str:
    """Return a paragraph with the citations of each step behind its last sentence, each step said once."""
    said: dict[str, str] = {}
    for part in paragraph["sentences"]:
        mark = marked(part["cites"])
        said[part["text"]] = part["text"].removesuffix(".") + (f" [{mark}]" if mark else "") + "."
    return " ".join(said.values())


def _software(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sentence on software like a paragraph, so that its references are cited in the text too."""
    return {"sentences": [{"text": told["software"], "cites": told["software_cites"]}]}


def _unsaid(told: Mapping[str, Any]) -> list[str]:
    if not told["unsaid"]:
        return []
    return ["", f"Nothing is said of {', '.join(told['unsaid'])}: their stages have no words for a paper."]


def _wrapped(text: str, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(text, width)
