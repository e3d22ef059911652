"""Whatever stands in a project: no character that acts on a terminal is ever written to one."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from staproj.api import Project
from staproj.cli.main import main
from staproj.report.visible import json_safe, one_line, visible
from staproj.stages import registry
from tests.integration import toy_stages as toy

ACTING = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\r",
    "\x08",
    "\u202e",
    "\u2066",
    "\u200b",
    "\ufeff",
    "\x7f",
    "\x00",
]
LOOKS = [
    ["status"], ["ls"], ["show", "shift"], ["show", "r0002"], ["why", "shift"],
    ["diff", "r0002", "r0007"], ["lineage", "mean"], ["log", "r0002"], ["version", "list"],
    ["version", "diff", "1"], ["run", "--dry-run"], ["verify"], ["du"], ["jobs"],
    ["show", "shift", "--table", "rows"],
    ["show", "shift", "--curve", "ramp"],
]  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a finished project of toy stages."""
    root = tmp_path_factory.mktemp("terminal") / "p"
    (root / "raw").mkdir(parents=True)
    (root / "raw" / "TS_01.txt").write_text("1\n")
    (root / "toy.toml").write_text(toy.TEMPLATE)
    with registry.temporarily(*toy.ALL), mock.patch.object(os, "fsync"):
        project = Project.create(root, str(root / "toy.toml"))
        project.run()
        project.rerun("shift", sets={"offset_px": 5})
        yield root


def acts(text: str) -> list[str]:
    """Return the characters of ``text`` that no terminal should get: controls, directions, invisible ones."""
    return [c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def poison(value: Any, word: str) -> Any:
    """Put a word into every text of a JSON value that is not a name the format needs."""
    if isinstance(value, dict):
        return {key: poison(part, word) if key not in KEEP else part for key, part in value.items()}
    if isinstance(value, list):
        return [poison(part, word) for part in value]
    return word + value if isinstance(value, str) else value


KEEP = {
    "run",
    "step",
    "stage",
    "kind",
    "digest",
    "inputs",
    "file",
    "files",
    "path",
    "sha256",
    "event",
    "preimage",
}
KEEP |= {"items", "layer", "item", "boot_id", "host", "artifacts", "class"}


@settings(max_examples=40)
@given(st.text(st.characters(codec=None), max_size=40))
def test_visible_text_acts_on_nothing(text: str):
    """Any text becomes one without acting characters; what was harmless stays as it is."""
    assert not acts(visible(text).replace("\n", "").replace("\t", ""))
    assert "\n" not in one_line(text)
    if not acts(text) and "\\" not in text and "\u3164" not in text:
        assert visible(text) == text or not text.isprintable()


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=4))
def test_json_stays_the_same_document(value: dict[str, str]):
    """JSON for programs holds what it held, written so that a terminal may see it."""
    safe = json_safe(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(safe) == value
    assert not acts(safe)


@pytest.mark.parametrize("as_json", [False, True])
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(word=st.sampled_from(ACTING), more=st.sampled_from(ACTING))
def test_no_look_lets_a_terminal_be_acted_on(
    original: Path, capsys: pytest.CaptureFixture[str], as_json: bool, word: str, more: str
):
    """Records, notes, logs and the manifest full of escape sequences are shown with all of them as codes."""
    root = original.parent / "poisoned"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(original, root)
    word += more
    for path in [*root.glob("runs/*/*.json"), *root.glob("runs/*/items/*/item.json")]:
        path.chmod(0o644)
        path.write_text(json.dumps(poison(json.loads(path.read_text()), word)))
    for path in root.glob("runs/*/state.jsonl"):
        lines = [json.dumps(poison(json.loads(line), word)) for line in path.read_text().splitlines()]
        path.write_text("\n".join(lines) + "\n")
    for path in root.glob("runs/*/log/log.txt"):
        path.write_text(f"{word} said\n", newline="")
    (root / "annot").mkdir(exist_ok=True)
    (root / "annot" / "r0007.toml").write_text(f"title = {json.dumps(word)}\ntags = [{json.dumps(word)}]\n")
    manifest = root / "staproj.toml"
    manifest.write_text(manifest.read_text().replace('name = "toy" ', f"name = {json.dumps(word + 'name')} "))
    capsys.readouterr()
    shown = ""
    for look in LOOKS:
        with pytest.raises(SystemExit):
            main([*look, "-C", str(root), *(["--json"] if as_json else [])])
        said = capsys.readouterr()
        assert not acts(said.out + said.err), (look, acts(said.out + said.err))
        if as_json and said.out:
            json.loads(said.out)
        shown += said.out
    assert "\\u" in shown or "\\x" in shown or "\\r" in shown
