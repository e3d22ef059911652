"""What every file of the repository keeps to, whatever it does."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from staproj.cli.main import COMMANDS, GROUPS
from staproj.report.topics import TOPICS


def test_every_test_says_what_it_holds(repository: Path) -> None:
    """Every test function has a docstring of at least one sentence."""
    silent = [
        f"{path.name}:{node.name}"
        for path in sorted((repository / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent


def test_public_kernels_are_documented(repository: Path) -> None:
    """Every public kernel has a docstring."""
    silent = [
        f"{path.name}:{node.name}"
        for path in sorted((repository / "staproj" / "kernels").rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert not silent


NOTES = [r"TO" r"DO\b", r"FIX" r"ME\b"]
MACHINES = [r"(?<![\w.])/(work|root|home|tmp)/"]
REGISTRIES = [
    r"(?i)https?://[^\s\"')>]*(pypi|pythonhosted|conda|registry|artifactory|nexus|mirror|/simple\b)"
]


@pytest.mark.parametrize("pattern", [*NOTES, *MACHINES, *REGISTRIES])
def test_no_notes_and_no_paths_of_one_machine(repository: Path, pattern: str) -> None:
    """No file keeps notes to its author, paths of one machine, or addresses of registries."""
    found = [
        path.relative_to(repository).as_posix()
        for path in _texts(repository)
        if re.search(pattern, path.read_text(encoding="utf-8"))
    ]
    assert not found


@pytest.mark.parametrize(
    ("pattern", "start", "rest"),  # put together when run, so that this file does not hold them
    [
        (MACHINES[0], "see /t", "mp/notes.md"),
        (MACHINES[0], 'open("/ho', 'me/anna/x")'),
        (REGISTRIES[0], "--index-url http", "s://pypi.org/simple"),
        (REGISTRIES[0], "http", "://cache.local:8080/root/simple/"),
    ],
)
def test_what_is_looked_for_would_be_found(pattern: str, start: str, rest: str) -> None:
    """The patterns of the test above find what they are for."""
    assert re.search(pattern, start + rest)


def _texts(repository: Path) -> list[Path]:
    """Return the text files that git tracks (all of them where there is no git), tools' outputs left out."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(repository), "ls-files", "-z"], capture_output=True, text=True, check=True
        ).stdout.split("\0")
        files = [repository / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        folders = ("staproj", "tests", "templates", "examples", "docs")
        files = [p for folder in folders for p in (repository / folder).rglob("*")]
        files += [p for p in repository.iterdir() if p.is_file()]
    data = {".mrc", ".star", ".h5", ".png", ".json", ".pyc"}
    return [path for path in files if path.is_file() and path.suffix not in data]


def test_the_lock_pins_every_dependency(repository: Path) -> None:
    """Each dependency of the package stands in the lock file with one exact version and no address."""
    lock = (repository / "requirements.lock").read_text(encoding="utf-8")
    pins = [line for line in lock.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.\-]+==[0-9][^ @/]*", line) for line in pins)
    names = {_normal(line.partition("==")[0]) for line in pins}
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {_normal(re.split(r"[<>=!~\[;]", text)[0]) for text in project["dependencies"]}
    assert wanted <= names


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def test_documents_name_only_commands_that_exist(repository: Path) -> None:
    """Each `staproj COMMAND` in documents and help pages is a command, each `make TARGET` a target."""
    known = {name for _, name, _, _ in COMMANDS} | {name for _, name, _, _ in GROUPS} | {"export"}
    targets = set(re.findall(r"(?m)^([a-z]+):", (repository / "Makefile").read_text(encoding="utf-8")))
    pages = [*repository.glob("*.md"), *(repository / "docs").glob("*.md")]
    texts = [path.read_text(encoding="utf-8") for path in pages]
    texts += [*TOPICS.values()]
    for text in texts:
        pieces = re.findall(r"`([^`\n]+)`", text) + re.findall(r"(?s)```\n(.*?)```", text)
        code = "\n".join(pieces)
        assert set(re.findall(r"(?m)^staproj ([a-z]+)", code)) <= known
        assert set(re.findall(r"(?m)^make ([a-z]+)", code)) <= targets
