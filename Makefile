# `make demo` and `make test` set everything up themselves.
PYTHON ?= python3
# One release, so that figures in docs/ can be repeated. For a build without CUDA see README, "Installing".
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 8

.PHONY: setup demo test check bench docs clean

setup: $(VENV)/.complete

$(VENV)/.complete: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "heedful needs Python 3.11 or newer; set PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -c 'from heedful.decoding.native.library import library; library()'  # compiles where that is possible
	@touch $@

demo: setup
	$(BIN)/heedful demo --output demo --minutes $(MINUTES)

test: setup
	$(BIN)/python -m pytest

# What the documentation says is true: its commands run, its links and names exist.
docs: setup
	$(BIN)/python -m pytest tests/test_readme.py

bench: setup
	$(BIN)/python benchmarks/steps.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache
