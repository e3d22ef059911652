"""Who may import whom, and how quickly the command line starts."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

START_UP_LIMIT_S = 0.4
HEAVY = ("numpy", "scipy", "numba", "h5py", "pandas", "textual", "starfile", "mrcfile")


def test_import_contracts_hold(repository: Path) -> None:
    """Layers, fenced kernels, cheap declarations, independent stages: import-linter reports no fault."""
    result = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert "0 broken" in result.stdout


def test_only_the_array_door_imports_cupy(repository: Path) -> None:
    """No file but kernels/xp.py imports cupy, not even inside a function."""
    guilty = [
        str(path.relative_to(repository))
        for path in sorted((repository / "staproj").rglob("*.py"))
        if _imports(path) & {"cupy", "cupyx"}
    ]
    assert guilty == ["staproj/kernels/xp.py"]


def test_help_loads_nothing_heavy(repository: Path) -> None:
    """`staproj --help` prints the commands without loading numpy, scipy, h5py or the terminal UI."""
    code = (
        "import sys\nfrom staproj.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    result = _python(code, repository)
    assert "LOADED []" in result.stdout
    assert "rerun" in result.stdout


def test_declarations_load_nothing_heavy(repository: Path) -> None:
    """Importing every stage's declaration loads no array library."""
    code = (
        "import sys, pathlib, json\nfrom staproj.stages import registry\n"
        "import staproj.stages as s\nfolder = pathlib.Path(s.__file__).parent\n"
        "names = [n for n in registry.BUILT_IN if (folder / n / 'declare.py').exists()]\n"
        "[registry.get(n) for n in names]\n"
        f"print(json.dumps([len(names), [m for m in {HEAVY!r} if m in sys.modules]]))"
    )
    count, loaded = json.loads(_python(code, repository).stdout)
    assert count > 0
    assert loaded == []


def test_start_up_is_quick(repository: Path) -> None:
    """`staproj --help` takes less than 0.4 s of processor time, best of five."""
    times = []
    for _ in range(5):
        with (repository / "pyproject.toml").open() as nothing:
            process = subprocess.Popen(
                [sys.executable, "-m", "staproj", "--help"],
                cwd=repository,
                stdin=nothing,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"TERM": "dumb"},
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        times.append(usage.ru_utime + usage.ru_stime)
    assert min(times) < START_UP_LIMIT_S, f"best of five: {min(times):.2f} s"


def _python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TERM": "dumb"},
    )


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
