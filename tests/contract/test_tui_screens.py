"""What every screen of the terminal interface keeps to, whoever writes it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from textual.binding import Binding  # noqa: TID253 - a test of the interface

from staproj.cli.main import COMMANDS, GROUPS
from staproj.tui.app import SCREENS
from staproj.tui.base import Dialog, StaScreen
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane

WORDS = {name for _, name, _, _ in COMMANDS} | {name for _, name, _, _ in GROUPS} | {"export"}
RESERVED = {"j", "k", "g", "G", "slash", "question_mark", "colon", "q", "y", "e", "exclamation_mark"}
SAME = {"q": "quit", "y": "copy"}
"""Keys that a screen may bind anew for the same thing, with more care: their words begin so."""


def classes() -> Iterator[tuple[str, type[StaScreen]]]:
    for name, where in SCREENS.items():
        module, _, kind = where.partition(":")
        yield name, getattr(import_module(module), kind)


def sources() -> Iterator[tuple[Path, ast.Module]]:
    folder = Path(__file__).resolve().parents[2] / "staproj" / "tui"
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def own_bindings(kind: type) -> Iterator[Binding]:
    for binding in kind.__dict__.get("BINDINGS", ()):
        assert isinstance(binding, Binding), (kind, binding)
        yield binding


def all_bindings(kind: type) -> Iterator[tuple[type, Binding]]:
    for part in kind.__mro__:
        if part.__module__.startswith("staproj."):
            yield from ((part, binding) for binding in own_bindings(part))


@pytest.mark.parametrize(("name", "kind"), list(classes()), ids=list(SCREENS))
def test_screens_say_what_they_are(name: str, kind: type[StaScreen]) -> None:
    """Each screen has help of its own and says which command shows the same."""
    assert issubclass(kind, StaScreen)
    assert len(kind.help_text.split()) > 15, name
    assert "command" in {attribute for part in kind.__mro__[:3] for attribute in part.__dict__}, name


@pytest.mark.parametrize(("name", "kind"), list(classes()), ids=list(SCREENS))
def test_every_key_is_described_and_means_one_thing(name: str, kind: type[StaScreen]) -> None:
    """Bindings have words for help and palette; within a class no key is given twice."""
    for part in kind.__mro__:
        if not part.__module__.startswith("staproj."):
            continue
        keys = [key for b in own_bindings(part) for key in b.key.split(",")]
        assert len(keys) == len(set(keys)), (part, sorted(keys))
        assert all(b.description and b.description[0] == b.description[0].lower() for b in own_bindings(part))


@pytest.mark.parametrize(("name", "kind"), list(classes()), ids=list(SCREENS))
def test_keys_of_everywhere_are_left_alone(name: str, kind: type[StaScreen]) -> None:
    """No screen gives another meaning to keys that mean the same everywhere."""
    shared = {StaScreen, Dialog, LineList, TextPane}
    taken = {
        key
        for part, binding in all_bindings(kind)
        if part not in shared
        for key in binding.key.split(",")
        if not (key in SAME and binding.description.startswith(SAME[key]))
    }
    assert not taken & RESERVED, name


@pytest.mark.parametrize(("name", "kind"), list(classes()), ids=list(SCREENS))
def test_actions_exist(name: str, kind: type[StaScreen]) -> None:
    """Each key of a screen calls an action that is there."""
    from staproj.tui.app import StaprojApp

    for _, binding in all_bindings(kind):
        action = binding.action.split("(", 1)[0]
        owner: type = StaprojApp if action.startswith("app.") else kind
        assert hasattr(owner, f"action_{action.removeprefix('app.')}"), (name, binding.action)


def test_what_was_done_is_told_as_a_command_that_exists() -> None:
    """Every list of words given to `did` or returned by `command` begins with a command of staproj."""
    strange = [
        (path.name, word)
        for path, tree in sources()
        for word in [*_did(tree), *_commands(tree)]
        if word not in WORDS
    ]
    assert not strange


def _did(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "did":
            yield from _first_word(node.args[0])


def _commands(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "command":
            for part in ast.walk(node):
                if isinstance(part, ast.Return) and part.value is not None:
                    yield from _first_word(part.value)


def _first_word(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.List) and node.elts:
        first = node.elts[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def test_the_interface_sleeps_between_looks() -> None:
    """No screen has a timer of its own, blinks or animates: an idle interface writes nothing."""
    guilty = []
    for path, tree in sources():
        for node in ast.walk(tree):
            name = (
                node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            )
            if name in ("set_interval", "animate") and path.name != "app.py":
                guilty.append(path.name)
    assert not guilty


def test_stages_never_run_inside_the_interface() -> None:
    """Nothing in the interface calls what computes: `run` and `rerun` of a project, `prove`, `check`."""
    guilty = []
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                if owner.endswith("project") and node.func.attr in ("run", "rerun"):
                    guilty.append((path.name, ast.unparse(node)))
                if node.func.attr in ("prove", "bring_back") and "storage" in owner:
                    guilty.append((path.name, ast.unparse(node)))
    assert not guilty
