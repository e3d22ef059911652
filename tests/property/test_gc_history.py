"""Any history of running, cleaning up, restoring and purging: nothing is lost that cannot be made again."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from staproj.api import Project
from staproj.engine.recreate import recreatable
from staproj.engine.view import View
from staproj.errors import StaprojError
from staproj.project import cleared, trash
from staproj.stages import registry
from tests.integration import toy_stages as toy

STEPS = ("import", "shift", "again", "mean", "other", "copy")

ACTIONS = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 2)),
    st.tuples(st.just("item"), st.integers(0, 2)),
    st.tuples(st.just("run"), st.sampled_from(STEPS)),
    st.tuples(st.just("rerun"), st.sampled_from(("shift", "mean"))),
    st.tuples(st.just("gc"), st.booleans()),
    st.tuples(st.just("gc-some"), st.sampled_from(STEPS)),
    st.tuples(st.just("restore"), st.just(0)),
    st.tuples(st.just("purge"), st.just(0)),
    st.tuples(st.just("back"), st.integers(0, 9)),
    st.tuples(st.just("head"), st.integers(0, 9)),
)


class History:
    """A project and what the test itself has seen of it: the digests of all outputs when they were made."""

    def __init__(self, root: Path) -> None:
        template = root / "toy.toml"
        template.write_text(toy.TEMPLATE)
        (root / "p" / "raw").mkdir(parents=True)
        for number in (1, 2):
            (root / "p" / "raw" / f"TS_0{number}.txt").write_text(f"{10 * number}\n")
        self.project = Project.create(root / "p", str(template))
        self.truth: dict[str, dict[str, str]] = {}

    def do(self, action: str, value: int | bool | str) -> None:
        """Do one thing a person could do; what staproj refuses is fine."""
        project = self.project
        runs = sorted(self.truth)
        if action == "set":
            project.run(["shift"], sets={"shift.offset_px": float(value)})
        elif action == "item":
            project.run(["again"], sets={"again.offset_px": 1.0 + float(value)}, items=["TS_01", "TS_02"])
        elif action == "run":
            project.run([str(value)])
        elif action == "rerun":
            project.rerun(str(value))
        elif action == "gc":
            project.storage.clean(superseded=bool(value), attempts=True)
        elif action == "gc-some":
            project.storage.clean(runs=[str(value)], superseded=True)
        elif action == "restore" and project.storage.trash():
            project.storage.trash_restore()
        elif action == "purge":
            project.storage.trash_purge(dry_run=False)
        elif action == "back" and runs:
            project.storage.bring_back(runs[int(value) % len(runs)])
        elif action == "head" and runs:
            run = runs[int(value) % len(runs)]
            step = project.layout.find_run(run).name.step
            try:
                project.set_head(step, run)
            except StaprojError:
                return

    def look(self) -> None:
        """Take the digests of new runs; see that all outputs are there, in the trash or re-creatable."""
        view = View.open(self.project.root)
        parts = trash.all_trash(view.layout)
        for name in sorted(view.layout.iter_runs()):
            run = view.layout.run(name)
            if not run.is_sealed():
                continue
            listed = {e["path"]: e["sha256"] for e in json.loads(run.outputs.read_text())["files"]}
            if run.id not in self.truth:
                self.truth[run.id] = {path: digest(run.out / path) for path in listed}
                assert self.truth[run.id] == listed
            gone = [path for path in listed if not (run.out / path).exists()]
            for path in set(listed) - set(gone):
                assert digest(run.out / path) == self.truth[run.id][path]
            assert set(gone) <= cleared.cleared_paths(run)
            stored = [view.layout.relative(run.out / path) for path in gone]
            if not all(any(part.directory.file(one).exists() for part in parts) for one in stored):
                assert recreatable(view, run.id) == (True, "")
        for step, state in ((s["step"], s["state"]) for s in self.project.status()["steps"]):
            assert state != "missing-lost", step

    def everything_comes_back(self) -> None:
        """Bring every output of every run back and compare with what was seen when it was made."""
        for run, files in self.truth.items():
            self.project.storage.bring_back(run)
            out = self.project.layout.find_run(run).out
            assert {path: digest(out / path) for path in files} == files


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, by hashlib alone."""
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@settings(
    max_examples=int(os.environ.get("STAPROJ_GC_HISTORIES", "8")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(st.lists(ACTIONS, min_size=4, max_size=10))
def test_no_history_loses_what_cannot_be_made_again(actions: list[tuple[str, int | bool | str]]):
    """After every action each output is there, in the trash or re-creatable; in the end all come back."""
    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch.object(os, "fsync", return_value=None),
        registry.temporarily(*toy.ALL),
    ):
        history = History(Path(place))
        history.do("run", "copy")
        history.look()
        for action, value in actions:
            history.do(action, value)
            history.look()
        history.everything_comes_back()
