"""Archives that were interrupted: by a person, by signal 9, by a full disk."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from staproj.api import Project
from staproj.api.archives import restore, verify_path
from staproj.errors import CancelledError, StorageError, UsageError
from staproj.project import bag_stream, bag_write


def test_a_full_disk_stops_it_cleanly(done: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without space the error says so, no archive appears, and it can be taken up when there is some."""
    real, calls = bag_stream._write_all, [0]

    def full(handle: Any, data: Any) -> None:
        calls[0] += 1
        if calls[0] > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle, data)

    monkeypatch.setattr(bag_stream, "_BUFFER", 4096)
    monkeypatch.setattr(bag_stream, "_write_all", full)
    with pytest.raises(StorageError, match="full"):
        done.archives.write(tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()
    monkeypatch.setattr(bag_stream, "_write_all", real)
    done.archives.write(tmp_path / "a.tar", resume=True)
    assert verify_path(tmp_path / "a.tar")["ok"]
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5))
    with pytest.raises(StorageError, match="are free"):
        done.archives.write(tmp_path / "b.tar")
    with pytest.raises(StorageError, match="are free"):
        restore(tmp_path / "a.tar", tmp_path / "b")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith((".", "b"))) == []


@pytest.mark.parametrize("zstd", [False, True])
def test_going_on_gives_the_same_bytes(
    done: Project, tmp_path: Path, zstd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after any file, an archive that is taken up again is that of an uninterrupted one."""
    monkeypatch.setattr("staproj.project.bag_stream._FRAME_MIN", 2048)
    whole = tmp_path / "w" / "a.tar"
    whole.parent.mkdir()
    done.archives.write(whole, zstd=zstd)
    wanted = whole.read_bytes()
    calls = [0]
    real = bag_write._Work._one
    for stop_at in (1, 5, 17, 40, 80):
        part = tmp_path / f"p{stop_at}" / "a.tar"
        part.parent.mkdir()
        calls[0] = 0

        def stopping(self: Any, *args: Any, stop_at: int = stop_at) -> None:
            calls[0] += 1
            if calls[0] == stop_at:
                raise KeyboardInterrupt
            real(self, *args)

        monkeypatch.setattr(bag_write._Work, "_one", stopping)
        with pytest.raises(CancelledError):
            done.archives.write(part, zstd=zstd)
        monkeypatch.setattr(bag_write._Work, "_one", real)
        with pytest.raises(UsageError, match="unfinished"):
            done.archives.write(part, zstd=zstd)
        with pytest.raises(UsageError, match="other options"):
            done.archives.write(part, zstd=zstd, without=["raw"], resume=True)
        done.archives.write(part, zstd=zstd, resume=True)
        assert part.read_bytes() == wanted
        assert [p.name for p in part.parent.iterdir()] == ["a.tar"]


def test_killed_while_writing(done: Project, tmp_path: Path) -> None:
    """Killed with signal 9 at random moments, an archive can always be finished, and is whole then."""
    (done.root / "big.bin").write_bytes(bytes(range(256)) * 200_000)
    code = (
        "import os, sys; from pathlib import Path; from staproj.api.archives import Archives\n"
        "from staproj.project import bag_write; bag_write._MARK_S = bag_write._TELL_S = 0.0\n"
        "def tell(done, total, what):\n"
        "    if done > float(sys.argv[3]) * total: os.kill(os.getpid(), 9)\n"
        "Archives(Path(sys.argv[1])).write(sys.argv[2], zstd=sys.argv[4] == 'z', resume=True, tell=tell)"
    )
    for number, share in enumerate((0.0001, 0.001, 0.5, 0.9)):
        target = tmp_path / f"k{number}.tar"
        how = "z" if number % 2 else "-"
        words = [sys.executable, "-c", code, str(done.root), str(target), str(share), how]
        child = subprocess.run(words, check=False)
        assert child.returncode == -9
        assert not target.exists()
        done.archives.write(target, zstd=how == "z", resume=True)
        assert verify_path(target)["ok"]


def test_progress_only_rises(done: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told in bytes, never falls, and ends at the total."""
    monkeypatch.setattr(bag_write, "_TELL_S", 0.0)
    told: list[tuple[int, int]] = []
    made = done.archives.write(tmp_path / "a.tar", tell=lambda n, total, what: told.append((n, total)))
    assert [n for n, _ in told] == sorted(n for n, _ in told)
    assert len({n for n, _ in told}) > 10
    assert told[-1] == (made["payload_bytes"], made["payload_bytes"])
