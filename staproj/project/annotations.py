"""``annot/r0042.toml``: what people say about a run. The only thing about a run that may change at any time.

::

    title = "C6, tight mask"
    rating = 4                    # 0 to 5
    tags = ["final", "figure-3"]

    [[note]]
    text = "the hand was checked against EMD-3782"
    who = "anna"
    when = "2026-01-31T12:00:00Z"

Files may be edited by hand; comments and unknown keys stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from staproj.errors import StorageError, UsageError
from staproj.project import toml_file, versions
from staproj.project.layout import RUN_ID, Layout, RunDir
from staproj.project.lock import project_lock
from staproj.project.process import user_name

FINAL = "final"
"""Runs with this tag are protected from clean-up."""

MAX_TEXT = 10_000
MAX_TITLE = 200
_TAG = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}$")


@dataclass(frozen=True)
class Note:
    """One remark."""

    text: str
    who: str = ""
    when: str = ""


@dataclass(frozen=True)
class Annotation:
    """Everything people said about one run. ``problem`` is set where its file cannot be read."""

    title: str = ""
    rating: int | None = None
    tags: tuple[str, ...] = ()
    notes: tuple[Note, ...] = field(default=())
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        notes = [{"text": n.text, "who": n.who, "when": n.when} for n in self.notes]
        found: dict[str, Any] = {
            "title": self.title, "rating": self.rating, "tags": list(self.tags), "notes": notes
        }  # fmt: skip
        return found | ({"problem": self.problem} if self.problem else {})


def read(layout: Layout, run: str) -> Annotation:
    """Return what is said about a run.

    Raises
    ------
    StorageError
        If its file is damaged.
    """
    path = layout.annotation(run)
    data = toml_file.read(path)
    try:
        return _parsed(data)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise StorageError(
            f"these notes do not have their form: {error}",
            where=str(path),
            hint="correct the line, or move the file aside",
        ) from error


def read_all(layout: Layout) -> dict[str, Annotation]:
    """Return ``{run: what is said about it}``; a damaged file gives its ``problem`` and blocks nothing."""
    found: dict[str, Annotation] = {}
    if not layout.annotations.is_dir():
        return found
    for path in layout.annotations.iterdir():
        run = path.stem
        if path.suffix != ".toml" or not RUN_ID.match(run):
            continue
        found[run] = read_or_problem(layout, run)
    return found


def read_or_problem(layout: Layout, run: str) -> Annotation:
    """Return what is said about a run; where its file is damaged, what the problem is."""
    try:
        return read(layout, run)
    except StorageError as error:
        return Annotation(problem=f"{layout.relative(layout.annotation(run))}: {error.message}")


def add_note(layout: Layout, run: RunDir, text: str) -> None:
    """Add a remark with its author and time."""
    words = text.strip()
    if not words or len(words) > MAX_TEXT:
        raise UsageError(f"a note has 1 to {MAX_TEXT} characters", hint='staproj note RUN "what you saw"')

    def edit(document: Any) -> None:
        import tomlkit

        note = tomlkit.table()
        note.add("text", tomlkit.string(words, multiline="\n" in words))
        note.add("who", user_name())
        note.add("when", versions.now())
        if "note" not in document:
            document["note"] = tomlkit.aot()
        document["note"].append(note)

    _change(layout, run, edit)


def set_rating(layout: Layout, run: RunDir, rating: int | None) -> None:
    """Rate a run from 0 to 5; ``None`` takes the rating away."""
    if rating is not None and not 0 <= rating <= 5:
        raise UsageError(f"a rating is a whole number from 0 to 5, not {rating}")
    _change(layout, run, lambda document: _put(document, "rating", rating))


def set_title(layout: Layout, run: RunDir, title: str) -> None:
    """Give a run a title of one line; an empty one takes it away."""
    words = " ".join(title.split())
    if len(words) > MAX_TITLE:
        raise UsageError(f"a title has at most {MAX_TITLE} characters", hint="write the rest as a note")
    _change(layout, run, lambda document: _put(document, "title", words or None))


def set_tags(
    layout: Layout, run: RunDir, *, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Add and remove tags; return those the run has then.

    Raises
    ------
    UsageError
        If a name is not usable, or a tag to remove is not there.
    """
    now = read(layout, run.id).tags
    for tag in add:
        if not _TAG.match(tag):
            raise UsageError(
                f"{tag!r} is not a usable tag", hint="use letters, digits and . _ + - (at most 40 characters)"
            )
    for tag in remove:
        if tag not in now:
            raise UsageError(
                f"{run.id} has no tag {tag!r}", hint=f"it has {', '.join(now)}" if now else "it has none"
            )
    wanted = tuple(dict.fromkeys([*(tag for tag in now if tag not in remove), *add]))
    _change(layout, run, lambda document: _put(document, "tags", list(wanted) or None))
    return wanted


def _change(layout: Layout, run: RunDir, edit: Callable[[Any], None]) -> None:
    read(layout, run.id)  # a damaged file is told before anything is written
    with project_lock(layout.lock, purpose=f"notes on {run.id}"):
        toml_file.change(layout.annotation(run.id), edit)


def _put(document: Any, key: str, value: Any) -> None:
    """Set a key of the top level, above the tables, keeping the comment beside it."""
    import tomlkit

    if value is None:
        if key in document:
            del document[key]
        return
    if key in document:
        new = tomlkit.item(value)
        new.trivia.comment_ws = document[key].trivia.comment_ws
        new.trivia.comment = document[key].trivia.comment
        document[key] = new
        return
    document[key] = value  # tomlkit puts a plain value above the tables


def _parsed(data: dict[str, Any]) -> Annotation:
    title, rating, tags = data.get("title", ""), data.get("rating"), data.get("tags", [])
    if not isinstance(title, str):
        raise TypeError("title must be text")
    if rating is not None and (
        not isinstance(rating, int) or isinstance(rating, bool) or not 0 <= rating <= 5
    ):
        raise ValueError(f"rating must be a whole number from 0 to 5, is {rating!r}")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise TypeError("tags must be a list of text")
    notes = data.get("note", [])
    if not isinstance(notes, list) or not all(
        isinstance(n, dict) and isinstance(n.get("text"), str) for n in notes
    ):
        raise TypeError("each [[note]] must have a text")
    told = tuple(Note(n["text"], str(n.get("who", "")), str(n.get("when", ""))) for n in notes)
    return Annotation(title, rating, tuple(dict.fromkeys(tags)), told)
