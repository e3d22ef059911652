# One verb each. Everything happens in the virtual environment .venv of this clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= demo-project
# Two test processes; each keeps its numerical libraries to one thread.
TEST_WORKERS ?= 2
ONE_THREAD := NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: setup demo test check lint types arch fmt bench bench-engine bench-terminal screenshots wheel clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo    set up, simulate a small session, run the whole pipeline, compare with the truth"
	@echo "make test    set up, run the tests"
	@echo "make check   set up, then ruff, mypy and the import rules"
	@echo "make setup   only make $(VENV) with staproj in it"
	@echo "make bench   time the kernels;  make fmt   format;  make clean   remove what make made"
	@echo "make bench-engine   measure the engine on 10 000 runs against its marks: docs/engine-numbers.md"
	@echo "make bench-terminal   the same for the terminal interface: docs/terminal-numbers.md"
	@echo "make screenshots   draw the main screens of the project that make demo made: docs/screens/"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "staproj needs Python 3.11 or newer: make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/staproj demo $(DEMO)

test: setup
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal --benchmark-disable

check: lint types arch

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

arch: setup
	$(BIN)/lint-imports

fmt: setup
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

bench-engine: setup
	$(ONE_THREAD) $(BIN)/python -m tests.trials.engine_numbers --write docs/engine-numbers.md

bench-terminal: setup
	$(ONE_THREAD) $(BIN)/python -m tests.trials.tui_numbers --write docs/terminal-numbers.md

screenshots: setup
	@test -e $(DEMO)/staproj.toml || { echo "there is no project $(DEMO): make demo first" >&2; exit 2; }
	$(ONE_THREAD) $(BIN)/python -m tests.trials.screenshots $(DEMO) docs/screens

wheel: setup
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .benchmarks
