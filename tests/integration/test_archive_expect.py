"""How large an archive will be is known before it is written, and what will stay behind."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.cli.main import main
from staproj.errors import UsageError

CRATE = "data/ro-crate-metadata.json"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"without": ["intermediate", "exports"]},
        {"without": ["other,raw"]},
        {"runs": ["mean"]},
        {"runs": ["mean,r0006"], "include_raw": True},
    ],
)
def test_what_is_expected_is_what_is_written(done: Project, tmp_path: Path, options: dict[str, Any]) -> None:
    """Files, bytes and what is only listed are those of the archive, but for the RO-Crate in it."""
    told = done.archives.expect(**options)
    before = sorted(path for path in done.root.rglob("*") if ".staproj" not in path.parts)
    made = done.archives.write(tmp_path / "a.tar", **options)

    with tarfile.open(tmp_path / "a.tar") as tar:
        members = {m.name.partition("/")[2]: m for m in tar.getmembers() if m.isfile()}
        stubs = json.load(tar.extractfile(next(m for n, m in members.items() if n == "stubs.json")))
    crate = members[CRATE].size
    assert (told["files"], told["payload_bytes"]) == (made["files"] - 1, made["payload_bytes"] - crate)
    entries = stubs["stubs"] if isinstance(stubs, dict) else stubs
    listed = [entry for entry in entries if entry.get("class") not in (None, "raw")]
    assert sum(entry["files"] for entry in told["stays"].values()) == len(listed)
    assert sum(entry["bytes"] for entry in told["stays"].values()) == sum(entry["size"] for entry in listed)
    raw = [entry for entry in entries if entry.get("class") == "raw"]
    assert told["raw_outside"] == sum(entry["archived_as"] is None for entry in raw)
    assert told["left_out"] == made["left_out"]
    assert before == sorted(path for path in done.root.rglob("*") if ".staproj" not in path.parts)


def test_the_command_says_it(
    done: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`staproj archive --dry-run` writes nothing; what excludes each other is refused as when writing."""
    monkeypatch.chdir(done.root)
    with pytest.raises(SystemExit):
        main(["archive", "../a.tar", "--dry-run", "--without", "intermediate"])
    text = capsys.readouterr().out
    assert "files of 10 runs (before zstd)" in text
    assert "intermediate outputs, " in text
    with pytest.raises(SystemExit):
        main(["archive", "../a.tar", "--dry-run", "--json"])
    assert json.loads(capsys.readouterr().out)["stays"] == {}
    assert not (done.root.parent / "a.tar").exists()
    with pytest.raises(UsageError, match="exclude each other"):
        done.archives.expect(without=["raw"], include_raw=True)
