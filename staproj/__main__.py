"""Run the command line as ``python -m staproj``; or be a process of a job or a background command."""

import sys


def _start() -> None:
    if not sys.flags.safe_path and sys.path:
        del sys.path[0]  # `-m` put the working directory there, and a project never brings code with it
    if sys.argv[1:2] in (["_supervise"], ["_work"]) and len(sys.argv) == 4:
        from staproj.api.jobs import serve  # no command line is loaded for these

        sys.exit(serve(*sys.argv[1:]))
    if sys.argv[1:2] == ["_background"] and len(sys.argv) == 4:
        from staproj.api.background import serve as go_on

        sys.exit(go_on(sys.argv[2], sys.argv[3], _command_line))
    _command_line(None)


def _command_line(words: "list[str] | None") -> None:
    from staproj.cli.main import main

    main(words)


if __name__ == "__main__":
    _start()
