"""Files, functions and facades stay small enough to read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FILE_LINES = 400
FUNCTION_LINES = 60
KERNEL_FUNCTION_LINES = 80
KERNEL_PARAMETERS = 8
FACADE_LINES = 300

# Larger for a reason; this list may only shrink.
ALLOWED_FILES: dict[str, str] = {}
ALLOWED_FUNCTIONS: dict[str, str] = {}
ALLOWED_PARAMETERS: dict[str, str] = {
    "staproj/kernels/ctf.py:ctf_2d": "a frequency and the seven quantities of the CTF equation",
}


@pytest.fixture(scope="module")
def sources(repository: Path) -> list[tuple[str, str]]:
    """Return (path, text) of every Python file of the package."""
    files = sorted((repository / "staproj").rglob("*.py"))
    return [(path.relative_to(repository).as_posix(), path.read_text(encoding="utf-8")) for path in files]


def test_files_are_short(sources: list[tuple[str, str]]) -> None:
    """No file of the package is longer than 400 lines, no facade longer than 300."""
    long = {}
    for name, text in sources:
        limit = FACADE_LINES if name in {"staproj/api/__init__.py", "staproj/tui/app.py"} else FILE_LINES
        if text.count("\n") > limit and name not in ALLOWED_FILES:
            long[name] = text.count("\n")
    assert not long


def test_functions_fit_a_screen(sources: list[tuple[str, str]]) -> None:
    """No function body is longer than 60 lines (80 in kernels), its docstring not counted."""
    long = {}
    for name, text in sources:
        limit = KERNEL_FUNCTION_LINES if "/kernels/" in name else FUNCTION_LINES
        for function in _functions(text):
            lines = _body_lines(function)
            if lines > limit and f"{name}:{function.name}" not in ALLOWED_FUNCTIONS:
                long[f"{name}:{function.name}"] = lines
    assert not long


def test_kernels_take_few_parameters(sources: list[tuple[str, str]]) -> None:
    """No public kernel takes more than 8 parameters; more belong into a group with a name."""
    many = {}
    for name, text in sources:
        if "/kernels/" not in name:
            continue
        for function in _functions(text):
            arguments = function.args
            count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
            key = f"{name}:{function.name}"
            if (
                count > KERNEL_PARAMETERS
                and not function.name.startswith("_")
                and key not in ALLOWED_PARAMETERS
            ):
                many[key] = count
    assert not many


def _functions(text: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    if not body:
        return 0
    return (function.end_lineno or 0) - body[0].lineno + 1
