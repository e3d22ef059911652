"""Records with anything in them: looking at a project gives an answer or an error of ours, never a crash."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from staproj.api import Project
from staproj.errors import StaprojError
from staproj.stages import registry
from tests.integration import toy_stages as toy
from tests.trials import fuzz

KINDS = (
    *("manifest", "spec.json", "outputs.json", "item.json", "env.json", "state.jsonl", "SEALED", "CLEARED"),
    *("heartbeat", "meta.h5", "artifact.h5", "version", "tags", "annotation", "accepted", "index"),
    *("fingerprints", "job", "job events", "job state", "job result", "trash", "lock", "journal"),
    *("archive", "archive zstd", "sidecar", "project"),
)
FILES = ("spec.json", "outputs.json", "env.json", "state.jsonl", "items/TS_01/item.json", "SEALED")
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**70),
    st.floats(),
    st.sampled_from(["", "../../x", "r0001", "/etc/passwd", "TS_01", "\x1b[31m", "\ud800"]),
    st.just([]),
    st.just({}),
    st.just([1, [2]]),
    st.just({"TS_01": 1}),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a finished project with one rerun in it."""
    root = tmp_path_factory.mktemp("damage")
    (root / "raw").mkdir()
    (root / "raw" / "TS_01.txt").write_text("1\n")
    (root / "toy.toml").write_text(toy.TEMPLATE)
    with registry.temporarily(*toy.ALL), mock.patch.object(os, "fsync"):
        project = Project.create(root, str(root / "toy.toml"))
        project.run()
        project.rerun("shift", sets={"offset_px": 5})
    return project


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the way to every part of a JSON value."""
    found = [path] if path else []
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        found += places(part, (*path, key))
    return found


def look(project: Project) -> None:
    """Ask everything that can be asked."""
    for ask in (
        project.status,
        project.ls,
        lambda: project.why("shift"),
        lambda: project.why("again"),
        lambda: project.show("shift"),
        lambda: project.diff("r0002", "r0007"),
        lambda: project.lineage("r0006"),
        lambda: project.lineage(project.root / "runs" / "r0007-shift" / "out" / "TS_01" / "stack.bin"),
        lambda: project.run(dry_run=True),
        lambda: project.artifact("shift"),
        lambda: project.log("shift"),
    ):
        with suppress(StaprojError):
            ask()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_anywhere_in_a_record(made: Project, data: st.DataObject):
    """One part of one record is replaced or taken away."""
    run = data.draw(st.sampled_from(["r0002-shift", "r0007-shift"]))
    path: Path = made.root / "runs" / run / data.draw(st.sampled_from(FILES))
    before = path.read_bytes()
    lines = path.name.endswith("jsonl")
    value = [json.loads(line) for line in before.splitlines()] if lines else json.loads(before)
    place = data.draw(st.sampled_from(places(value)))
    parent = value
    for key in place[:-1]:
        parent = parent[key]
    if data.draw(st.booleans()) and isinstance(parent, dict):
        del parent[place[-1]]
    else:
        parent[place[-1]] = data.draw(STRANGE)
    text = "\n".join(json.dumps(line) for line in value) if lines else json.dumps(value)
    try:
        path.write_text(text)
        with registry.temporarily(*toy.ALL):
            look(made)
    finally:
        path.write_bytes(before)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    name=st.sampled_from([*FILES, "meta.h5", "../../versions/0003.toml", "../../.staproj/fingerprints.json"]),
)
def test_any_bytes_in_a_record(made: Project, data: st.DataObject, name: str):
    """A record is cut, or some of its bytes are others."""
    path = made.root / "runs" / "r0007-shift" / name
    before = path.read_bytes()
    changed = bytearray(before[: data.draw(st.integers(0, len(before)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        path.write_bytes(bytes(changed))
        with registry.temporarily(*toy.ALL):
            look(made)
            with suppress(StaprojError):
                made.record("shift")
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[fuzz.Target], Path, Path]]:
    """Yield the targets of the fuzzing trial, the file nobody may write to, and a directory."""
    folder = tmp_path_factory.mktemp("fuzz")
    handler = signal.signal(signal.SIGALRM, fuzz.alarm)
    with registry.temporarily(*toy.ALL), mock.patch.object(os, "fsync"):
        targets, canary = fuzz.prepare(folder)
        yield targets, canary, folder
    signal.signal(signal.SIGALRM, handler)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_of_every_kind(fuzzed: tuple[list[fuzz.Target], Path, Path], kind: str):
    """A few dozen damaged files of a kind give an answer or an error of ours (tests.trials.fuzz: 100 000)."""
    targets, canary, folder = fuzzed
    target = next(target for target in targets if target.name == kind)
    n = {"project": 6, "journal": 8, "archive": 20, "archive zstd": 10}.get(kind, 40)
    found = fuzz.in_child(target, range(n), 7, canary, folder)
    assert not found["faults"], found["faults"][0][1]
    assert found["peak_mb"] < fuzz.LIMIT_MB
    assert sum(found["counts"].values()) == n
