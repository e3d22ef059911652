"""The screen of space: where it goes, what can be deleted and what that costs, proof, trash, the way back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.tui import storage_rows as rows_of
from staproj.tui.dialogs import Ask, Confirm, Reading
from staproj.tui.look import Look
from staproj.tui.screens.clean_up import CleanUpScreen
from staproj.tui.storage_rows import Level
from staproj.tui.widgets.bars import MessageLine
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane
from tests.integration.test_gc import tree
from tests.tui_screen import SIZES, SMALL, drive, open_app, press, screen_text, until

both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])
MB = 10**6


def run(name: str, step: str, final: int = 0, intermediate: int = 0, records: int = 0) -> dict[str, Any]:
    """Return the use of one run as the API tells it."""
    return {
        "name": name, "step": step, "final": final, "intermediate": intermediate, "scratch": 0,
        "records": records, "files": 3, "cleared": 0, "runs": 1, "bytes": final + intermediate + records,
    }  # fmt: skip


USAGE = {
    "by": "run",
    "rows": [
        run("r0002", "motion", intermediate=60 * MB, records=2 * MB),
        run("r0001", "import", records=8 * MB),
        run("r0003", "motion", final=11 * MB, intermediate=9 * MB),
    ],
    "runs": 90 * MB, "trash": 10 * MB, "exports": 0, "private": 0, "other": 0,
    "total": 100 * MB, "exact": True,
}  # fmt: skip


def names(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row.cells[0].strip(), row.cells[1]) for row in rows]


def test_space_by_step_run_and_class() -> None:
    """The same bytes in three ways, the largest first, with what is beneath an unfolded line."""
    look = Look()
    steps = rows_of.space_rows(USAGE, "step", {"group:motion"}, look)
    assert names(steps) == [
        ("▾ motion", "82.0 MB"),
        ("r0002", "62.0 MB"),
        ("r0003", "20.0 MB"),
        ("▸ import", "8.0 MB"),
        ("trash (ctrl+d there frees it)", "10.0 MB"),
    ]
    assert steps[0].cells[2] == "███████░ 82 %"
    runs = rows_of.space_rows(USAGE, "run", {"group:motion"}, look)
    assert [row.key for row in runs] == ["run:r0002", "run:r0003", "run:r0001", "rest:trash"]
    classes = rows_of.space_rows(USAGE, "class", {"group:records"}, look)
    assert names(classes)[:5] == [
        ("▸ intermediate", "69.0 MB"),
        ("▸ final", "11.0 MB"),
        ("▾ records", "10.0 MB"),
        ("import", "8.0 MB"),
        ("motion", "2.0 MB"),
    ]
    plain = rows_of.space_rows(USAGE, "step", {"group:motion"}, Look(unicode=False))
    assert plain[0].cells[0].isascii()
    assert plain[0].cells[2].isascii()


def test_levels_are_words_of_the_command() -> None:
    """What is turned on stands in the command as a person would type it."""
    assert Level().words() == ["gc"]
    assert Level().turned("scratch").words(["r0001", "r0002"]) == [
        "gc", "--class", "intermediate", "--runs", "r0001,r0002"
    ]  # fmt: skip
    both = Level().turned("superseded").turned("attempts").turned("tagged")
    assert both.words() == ["gc", "--superseded", "--attempts", "--tagged"]
    assert both.turned("tagged").asked() == {
        "classes": ["intermediate", "scratch"], "superseded": True, "attempts": True, "tagged": False
    }  # fmt: skip


def test_many_runs_are_summed_up_before_they_are_deleted() -> None:
    """A question names the runs that lose files, up to a dozen, and sums up the others."""
    entry = {
        "step": "shift",
        "what": "class",
        "items": [],
        "files": 1,
        "wall_s": 1.0,
        "wall_with_inputs_s": 2.0,
    }
    plan = {
        "runs": [{**entry, "run": f"r{n:04d}", "bytes": n * MB} for n in range(20, 0, -1)],
        "bytes": 210 * MB, "files": 20, "wall_s": 75.0, "cpu_s": 80.0, "other_software": [],
    }  # fmt: skip
    lines = rows_of.delete_lines(plan)
    assert lines[0] == "r0001 shift: 1.0 MB in 1 file"
    assert lines[12] == "and of 8 more runs, 132.0 MB"
    assert "In all 210.0 MB of 20 runs; to make it again takes about 1 min 15 s." in lines
    part = {"trash": "t", "files": 5, "runs": ["r0002", "r0010"], "bytes": 5}
    assert (
        rows_of.purge_lines([part], 5 * MB)[0]
        == "5 files of r0002, r0010 deleted for good; that frees 5.0 MB."
    )
    assert "LOST" in rows_of.purge_lines([part], 5, "2 of these outputs cannot be made again")[-1]


# -------------------------------------------------------------------------------------- with a real project
@pytest.fixture
def there(ran: Project) -> Project:
    """Return a project that was run once, then again with another value: its first runs are superseded."""
    ran.run(sets={"shift.offset_px": 5.0})
    return ran


def shown(pilot: Any, tab: str) -> LineList:
    return pilot.app.screen.query_one(f"#{tab}", LineList)


def facts(pilot: Any) -> str:
    return pilot.app.screen.query_one("#facts", TextPane).text


def message(pilot: Any) -> str:
    return pilot.app.screen.query_one(MessageLine).message


def going(pilot: Any) -> list[str]:
    return [row.data["run"] for row in shown(pilot, "clean-up").rows if row.key.startswith(rows_of.GOES)]


@both_sizes
def test_where_the_space_goes(there: Project, size: tuple[int, int]) -> None:
    """Steps, largest first, unfold to runs; b counts by run and class; enter opens a run."""
    used = there.storage.usage("step")

    async def scenario(pilot: Any) -> None:
        await until(pilot, lambda: (pilot.app.screen.usage or {}).get("exact"))
        assert "from the records" not in facts(pilot)
        keys = [row.key for row in shown(pilot, "space").rows]
        assert keys[: len(used["rows"])] == [f"group:{row['name']}" for row in used["rows"]]
        first = used["rows"][0]["name"]
        await press(pilot, "right")
        below = [row.key for row in shown(pilot, "space").rows][1:3]
        assert set(below) == {f"run:{row['run']}" for row in there.ls(first)}
        await press(pilot, "j", "left")
        assert shown(pilot, "space").row.key == f"group:{first}"
        assert [row.key for row in shown(pilot, "space").rows] == keys
        await press(pilot, "b")
        assert "$ staproj du --by run" in screen_text(pilot.app)
        await press(pilot, "b")
        assert shown(pilot, "space").go_to("group:intermediate")
        await press(pilot, "enter")
        assert any(row.key.startswith("group:intermediate:") for row in shown(pilot, "space").rows)
        await press(pilot, "b", "g", "right", "j", "enter")
        assert type(pilot.app.screen).__name__ == "RunScreen"

    drive(open_app(there.root, first="clean_up"), scenario, size)


@both_sizes
def test_delete_and_put_back(there: Project, size: tuple[int, int]) -> None:
    """What goes is asked with bytes and runs, Cancel first; the trash gives everything back, bit for bit."""
    before = tree(there.root)
    plan = there.storage.plan()

    async def scenario(pilot: Any) -> None:
        await press(pilot, "right_square_bracket")
        assert "i [x] interm." in facts(pilot)
        assert f"in {plan['files']} files can go; made again in about" in facts(pilot)
        assert sorted(going(pilot)) == sorted(row["run"] for row in plan["runs"])
        target = going(pilot)[1]
        await press(pilot, "j", "space")
        assert "marked: 1 run, " in facts(pilot)
        assert pilot.app.screen.command() == ["gc", "--runs", target]
        await press(pilot, "ctrl+d")
        assert isinstance(pilot.app.screen, Confirm)
        text = screen_text(pilot.app)
        assert f"{target} " in text
        assert "It goes to the trash" in text
        assert f"$ staproj gc --runs {target} --yes" in text
        await press(pilot, "enter")
        assert tree(there.root) == before, "cancel is the default"
        await press(pilot, "ctrl+d", "right", "enter")
        assert f"staproj gc --runs {target} --yes" in message(pilot)
        assert pilot.app.commands[-1][1] == ["staproj", "gc", "--runs", target, "--yes"]
        assert target not in going(pilot)
        assert tree(there.root) != before
        await press(pilot, "right_square_bracket")
        assert len(shown(pilot, "trash").rows) == 1
        assert f"{target}: clean-up" in screen_text(pilot.app)
        await press(pilot, "u")
        assert "staproj trash restore" in message(pilot)
        assert tree(there.root) == before
        assert shown(pilot, "trash").rows == []
        await press(pilot, "u")
        assert message(pilot) == "the trash is empty"

    drive(open_app(there.root, first="clean_up"), scenario, size)


@both_sizes
def test_levels_show_more_or_less(there: Project, size: tuple[int, int]) -> None:
    """Old runs whole, or no intermediate outputs: the plan, the command and what stays follow at once."""
    old = {row["run"] for row in there.storage.plan(superseded=True)["runs"] if row["what"] == "superseded"}
    there.annotations.tag(sorted(old)[0], "final")

    async def scenario(pilot: Any) -> None:
        await press(pilot, "2", "o")
        assert pilot.app.screen.command() == ["gc", "--superseded"]
        assert set(going(pilot)) >= old - {sorted(old)[0]}
        assert sorted(old)[0] not in going(pilot)
        assert "kept" in screen_text(pilot.app)
        await press(pilot, "o", "i", "c")
        assert going(pilot) == []
        assert "nothing can go" in facts(pilot)
        await press(pilot, "ctrl+d")
        assert message(pilot) == "nothing of this can go; below stands why"
        await press(pilot, "i", "c", "a", "t")
        assert pilot.app.screen.command() == ["gc", "--attempts", "--tagged"]
        await press(pilot, "enter")
        assert type(pilot.app.screen).__name__ == "RunScreen"

    drive(open_app(there.root, first="clean_up"), scenario, size)


@both_sizes
def test_purge_wants_a_word(there: Project, size: tuple[int, int]) -> None:
    """Deleting for good needs the word typed; what can be made again no more is said to be lost."""
    there.storage.clean()
    (name,) = [part["trash"] for part in there.storage.trash()]
    for path in (there.root / "raw").iterdir():
        path.unlink()

    async def scenario(pilot: Any) -> None:
        await press(pilot, "3")
        assert [row.key for row in shown(pilot, "trash").rows] == [name]
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Reading)
        await press(pilot, "escape", "ctrl+d")
        text = screen_text(pilot.app)
        assert isinstance(pilot.app.screen, Confirm)
        assert "LOST" in text
        assert "type purge to delete for good" in text
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Confirm), "nothing was typed"
        await press(pilot, "escape")
        assert len(there.storage.trash()) == 1
        await press(pilot, "ctrl+e", *"empty", "enter")
        assert "staproj trash purge --yes --force" in message(pilot)
        assert there.storage.trash() == []
        assert shown(pilot, "trash").rows == []

    drive(open_app(there.root, first="clean_up"), scenario, size)


@both_sizes
def test_a_proof_goes_on_in_a_process_of_its_own(there: Project, size: tuple[int, int]) -> None:
    """The key v starts `staproj gc --prove`, not in this process; its result is said and can be read."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "2", "v")
        assert isinstance(pilot.app.screen, Ask)
        await press(pilot, "backspace", "0", "enter")
        assert "a number above 0" in screen_text(pilot.app)
        await press(pilot, "backspace", "2", "enter")
        assert "staproj gc --prove 2" in message(pilot)
        await until(pilot, pilot.app.screen.proofs)
        assert "b0001 proves" in facts(pilot)
        await until(pilot, lambda: "b0001: " in message(pilot), 60)
        assert "b0001: 2 of 2 made again bit for bit" in message(pilot)
        await press(pilot, "p")
        told = pilot.app.screen.query_one(TextPane).text
        assert "$ staproj gc --prove 2" in told
        assert "bit for bit" in told
        await press(pilot, "escape", "ctrl+x")
        assert "b0001 does not go on: it is done" in message(pilot)

    drive(open_app(there.root, first="clean_up"), scenario, size)
    assert os.getpid() not in [who["pid"] for who in _processes(there.root)]


def _processes(root: Path) -> list[dict[str, Any]]:
    import json

    return [json.loads(path.read_text()) for path in root.glob(".staproj/background/*/process.json")]


@both_sizes
def test_a_proof_that_fails_is_an_error(there: Project, size: tuple[int, int]) -> None:
    """Where an output comes out differently the screen says so, in the words of the command."""
    for path in (there.root / "raw").iterdir():
        path.unlink()

    async def scenario(pilot: Any) -> None:
        await press(pilot, "2", "v", "enter")
        await until(pilot, lambda: "b0001: " in message(pilot), 60)
        line = pilot.app.screen.query_one(MessageLine)
        told = pilot.app.screen.proofs()[0]
        assert (line.level == "error") is (told["exit_code"] != 0)
        assert told["exit_code"] is not None

    drive(open_app(there.root, first="clean_up"), scenario, size)


@both_sizes
def test_a_read_only_project_is_looked_at_only(there: Project, size: tuple[int, int]) -> None:
    """Space, plan and trash are shown, nothing is deleted, proven, put back or purged."""
    there.storage.clean(runs=["shift"])
    before = tree(there.root)
    manifest = there.root / "staproj.toml"
    manifest.write_text(manifest.read_text().replace("schema = 2", "schema = 99"))

    async def scenario(pilot: Any) -> None:
        for tab, keys in (("2", ["ctrl+d", "v"]), ("3", ["ctrl+d", "u", "ctrl+e"])):
            await press(pilot, tab)
            for key in keys:
                await press(pilot, key)
                assert isinstance(pilot.app.screen, CleanUpScreen), key
                assert message(pilot).startswith("read-only"), key
                await press(pilot, "escape")
        assert len(shown(pilot, "trash").rows) == 1
        assert "READ-ONLY" in screen_text(pilot.app)

    drive(open_app(there.root, first="clean_up"), scenario, size)
    after = tree(there.root)
    assert {p: v for p, v in after.items() if p != "staproj.toml"} == {
        p: v for p, v in before.items() if p != "staproj.toml"
    }


def test_keys_of_other_tabs_say_where_they_work(there: Project) -> None:
    """A key that is not for this tab does nothing and says which tab it is for; y copies the run."""

    async def scenario(pilot: Any) -> None:
        for key, words in (("ctrl+d", "clean-up"), ("v", "clean-up"), ("u", "trash"), ("o", "clean-up")):
            await press(pilot, key)
            assert words in message(pilot), key
        await press(pilot, "2", "b")
        assert "tab space" in message(pilot)
        await press(pilot, "p", "ctrl+x")
        assert "no proof goes on" in message(pilot)
        assert pilot.app.screen.copies() == {"run": going(pilot)[0]}

    drive(open_app(there.root, first="clean_up"), scenario, SMALL)


def test_the_files_are_looked_at_once_and_not_while_work_goes_on(there: Project) -> None:
    """Sizes of all files are not read again whenever a run at work writes something; ctrl+r reads them."""
    measured: list[str] = []

    async def scenario(pilot: Any) -> None:
        screen = pilot.app.screen
        await until(pilot, lambda: (screen.usage or {}).get("exact"))
        screen._measure = lambda: measured.append("files")
        pilot.app.jobs = [{"job": "j0001", "state": "running", "step": "shift", "run": "r0009"}]
        screen.reload()
        assert measured == []
        screen.action_reload_now()
        assert measured == ["files"]
        pilot.app.jobs = []

    drive(open_app(there.root, first="clean_up"), scenario, SMALL)
