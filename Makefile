# `make demo` and `make test` set everything up themselves.
PYTHON ?= python3
# One release, so that figures in docs/ can be repeated. For a build without CUDA see README, "Installing".
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 8
PEERS ?= build/peers

.PHONY: setup demo test check bench bench-setup docs clean

setup: $(VENV)/.complete

$(VENV)/.complete: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "heedful needs Python 3.11 or newer; set PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -c 'from heedful.decoding.native.library import library; library()'  # both compile where they can
	@$(BIN)/python -c 'from heedful.kernels.cpu.library import library; library()'
	@touch $@

demo: setup
	$(BIN)/heedful demo --output demo --minutes $(MINUTES)

test: setup
	$(BIN)/python -m pytest

# What the documentation says is true: its commands run, its links and names exist.
docs: setup
	$(BIN)/python -m pytest tests/test_readme.py

# heedful beside its peers, into docs/performance.md. QUICK=1: minutes instead of half an hour. DATA=DIR: Multi30k's
# files, fetched unless given. MODEL=DIR: what translates, trained unless given. PEERS=DIR: the peers' environments.
bench: setup bench-setup
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(DATA),--data $(DATA)) $(if $(MODEL),--model $(MODEL)) --peers $(PEERS)

bench-setup: setup
	$(BIN)/python -m benchmarks.environments --peers $(PEERS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache
