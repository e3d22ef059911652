"""Run the command line as ``python -m staproj``."""

from staproj.cli.main import main

if __name__ == "__main__":
    main()
