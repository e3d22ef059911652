"""Run the command line as ``python -m staproj``; or be one of the two processes of a job."""

import sys


def _start() -> None:
    if not sys.flags.safe_path and sys.path:
        del sys.path[0]  # `-m` put the working directory there, and a project never brings code with it
    if sys.argv[1:2] in (["_supervise"], ["_work"]) and len(sys.argv) == 4:
        from staproj.api.jobs import serve  # no command line is loaded for these

        sys.exit(serve(*sys.argv[1:]))
    from staproj.cli.main import main

    main()


if __name__ == "__main__":
    _start()
