"""The command ``staproj``: names of commands, and where each is to be found when called."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Group

from staproj import __version__
from staproj.cli import diagnostics
from staproj.errors import UsageError

START = Group("Start", sort_key=0)
WORK = Group("Work", sort_key=1)
LOOK = Group("Look", sort_key=2)
SHARE = Group("Share and check", sort_key=3)
LEARN = Group("Learn", sort_key=4)

COMMANDS = (
    (
        START,
        "demo",
        "try_out:demo",
        "Simulate a small dataset, run the whole pipeline, compare with the truth.",
    ),
    (
        START,
        "simulate",
        "try_out:simulate",
        "Make a dataset with known truth, as a microscope session leaves it.",
    ),
    (START, "new", "begin:new", "Make a project directory from a template and your data."),
    (
        START,
        "inspect",
        "raw_data:inspect",
        "Say what movies, stacks and mdoc files hold, and what is wrong, before they are imported.",
    ),
    (START, "tui", "tui:tui", "Look at a project and work on it in the terminal (also over SSH)."),
    (WORK, "run", "execute:run", "Run what is missing or stale, up to a step."),
    (WORK, "rerun", "execute:rerun", "Run a step again with other parameters; the old run is kept."),
    (WORK, "set", "settings:set_values", "Write values into staproj.toml, checked; nothing is run."),
    (WORK, "resume", "execute:resume", "Go on with what was interrupted, and all that was to follow."),
    (WORK, "jobs", "jobs:jobs", "List what is running, waiting, interrupted or done."),
    (WORK, "watch", "jobs:watch", "Follow a job that goes on without a terminal."),
    (WORK, "cancel", "jobs:cancel", "Stop a job; what is finished is kept."),
    (WORK, "queue", "machine:queue", "Show who waits for this machine, or move a job that waits."),
    (WORK, "head", "versions:head", "Let an earlier run stand for its step again."),
    (WORK, "accept", "versions:accept", "Let a run stand for another, judged equivalent."),
    (WORK, "note", "annotate:note", "Write a note about a run."),
    (WORK, "rate", "annotate:rate", "Rate a run from 0 to 5."),
    (WORK, "title", "annotate:title", "Give a run a title."),
    (WORK, "tag", "annotate:tag", 'Tag a run; "final" protects it from clean-up.'),
    (WORK, "untag", "annotate:untag", "Take tags from a run."),
    (LOOK, "status", "look:status", "Show each step: fresh, stale and why, missing, failed."),
    (LOOK, "ls", "look:ls", "List all runs."),
    (
        LOOK,
        "show",
        "look:show",
        "Show a run: verdict, metrics, parameters and their origin, inputs, outputs, curves.",
    ),
    (LOOK, "series", "series:series", "List tilt series with their numbers, or the views of one."),
    (LOOK, "why", "look:why", "Say why a step is stale, or why a run was made."),
    (LOOK, "diff", "look:diff", "Compare runs: parameters, inputs, metrics, FSC curves."),
    (LOOK, "lineage", "provenance:lineage", "Say what made a file, here or anywhere: the chain of runs."),
    (LOOK, "log", "look:log", "Print the log of a run."),
    (LOOK, "background", "background:background", "List archives, exports, checks that go on by themselves."),
    (LOOK, "machine", "machine:machine", "Show how busy this machine is, and who holds or waits for it."),
    (LOOK, "du", "clean:du", "Show where the space goes."),
    (LOOK, "reproduce", "recipes:reproduce", "Print how to make a run again; --check makes it and compares."),
    (WORK, "gc", "clean:gc", "Delete outputs that can be made again, with proof."),
    (WORK, "remake", "clean:remake", "Put outputs back that were deleted."),
    (SHARE, "archive", "archives:archive", "Write the project into one file, with digests of everything."),
    (SHARE, "verify", "archives:verify", "Find any changed bit in an archive or a project."),
    (SHARE, "restore", "archives:restore", "Take a project, or one run, out of an archive."),
    (SHARE, "methods", "provenance:methods", "Write the methods section and references of a map."),
    (SHARE, "doctor", "care:doctor", "Find damage, and say what to do about it."),
    (SHARE, "migrate", "care:migrate", "Bring a project of an older staproj up to date."),
    (SHARE, "unlock", "care:unlock", "Show who holds the lock; break it if that process is gone."),
    (SHARE, "score", "try_out:score", "Compare a project of simulated data with the truth."),
    (LEARN, "templates", "raw_data:templates", "List the templates of new projects, or show one."),
    (LEARN, "stages", "stages:stages", "List the stages, or explain one with all its parameters."),
    (LEARN, "help", "stages:help_topic", "Explain a topic, or a stage."),
)

GROUPS = (
    (
        LOOK,
        "version",
        "Settings and results at one moment: list, compare, name, go back.",
        (
            ("list", "versions:list_versions", "List all versions."),
            ("show", "versions:show_version", "Show a version."),
            ("diff", "versions:diff_versions", "Compare two versions."),
            ("tag", "versions:tag_version", "Give a version a name."),
            ("untag", "versions:untag_version", "Take the name of a version away."),
            ("checkout", "versions:checkout_version", "Go back to a version; nothing is lost."),
        ),
    ),
    (
        LOOK,
        "variant",
        "One step with several values side by side (`rerun` makes them).",
        (
            ("list", "variants:list_variants", "List all variants."),
            ("compare", "variants:compare_variants", "Compare the variants of a step."),
            ("remove", "variants:remove_variants", "Take variants out of staproj.toml; their runs stay."),
        ),
    ),
    (
        WORK,
        "trash",
        "What was deleted: list, restore, purge.",
        (
            ("list", "clean:trash_list", "List what was deleted and can be restored."),
            ("restore", "clean:trash_restore", "Put back what one clean-up deleted, exactly as it was."),
            ("purge", "clean:trash_purge", "Delete it for good, which frees the space."),
        ),
    ),
)


def build() -> App:
    """Return the command line; no command is imported yet."""
    app = App(
        name="staproj",
        help="From movies to a sharpened map (cryo-ET), in a directory that knows how every file was made.",
        version=__version__,
        result_action="return_value",
        help_format="plaintext",
    )
    for group, name, target, text in COMMANDS:
        app.command(f"staproj.cli.commands.{target}", name=name, help=text, group=group)
    for group, name, text, commands in GROUPS:
        below = App(name=name, help=text, group=group)
        for word, target, told in commands:
            below.command(f"staproj.cli.commands.{target}", name=word, help=told)
        app.command(below)
    exports = App(name="export", help="Write files for another program.", group=SHARE)
    exports.command("staproj.cli.commands.exports:relion5", name="relion5", help="Write a RELION 5 project.")
    for name, text in (
        ("map", "Copy maps of a run, with a record of how they were made."),
        ("files", "Copy outputs of a run, with a record of how they were made."),
        ("crate", "Write RO-Crate metadata (Process Run Crate)."),
        ("prov", "Write the history as W3C PROV-JSON."),
    ):
        exports.command(f"staproj.cli.commands.exports:{name}_", name=name, help=text)
    for name, text in (
        ("empiar", "Write an EMPIAR deposition (JSON), checked against its schema."),
        ("empiar-template", "Write the file with what EMPIAR asks and the project does not know."),
    ):
        target = f"staproj.cli.commands.empiar:{name.replace('-', '_')}"
        exports.command(target, name=name, help=text)
    app.command(exports)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    diagnostics.open_closed_streams()
    tokens = list(sys.argv[1:] if argv is None else argv)
    sys.exit(diagnostics.guarded(lambda: _call(tokens), as_json="--json" in tokens))


def _call(tokens: list[str]) -> int | None:
    app = build()
    try:
        result = app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        command = " ".join(["staproj", *(error.command_chain or ())])
        raise UsageError(str(error), hint=f"`{command} --help` shows what can be written") from None
    return result if isinstance(result, int) else None
