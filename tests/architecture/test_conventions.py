"""Every sentence of the conventions is held by a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

from staproj.kinds import ArtifactKind

CITATION = re.compile(r"→ `(tests/[\w/]+\.py)::(test_\w+)`$")


def test_every_convention_names_a_test(repository: Path) -> None:
    """Each bullet of docs/conventions.md ends in a test, and that test is defined in the file named."""
    text = (repository / "docs" / "conventions.md").read_text(encoding="utf-8")
    bullets = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(bullets) > 30
    wrong = []
    for bullet in bullets:
        found = CITATION.search(bullet)
        if found is None:
            wrong.append(f"no test: {bullet}")
            continue
        file = repository / found[1]
        if not file.is_file() or f"def {found[2]}(" not in file.read_text(encoding="utf-8"):
            wrong.append(f"not there: {found[1]}::{found[2]}")
    assert not wrong


def test_the_glossary_explains_what_flows(repository: Path) -> None:
    """Every artifact kind, as people read it in manifests, has an entry in docs/glossary.md."""
    text = (repository / "docs" / "glossary.md").read_text(encoding="utf-8")
    missing = [kind.value for kind in ArtifactKind if f"**{kind.value}**" not in text]
    assert not missing
