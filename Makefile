# make demo: set up and run the workflow on the demo cohort. make test: set up and pass all tests.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
CORES ?= $(shell nproc)
VENV := .venv
BIN := $(VENV)/bin
# Bytecode is compiled once, at set-up.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test test-cluster lint format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.done ## make .venv from the pinned requirements; costs nothing the second time

$(VENV)/.done: requirements.lock pyproject.toml workflow/setup.sh
	workflow/setup.sh $(PYTHON) $(VENV)
	touch $@

demo: setup ## run the workflow on the default configuration
	source $(BIN)/activate && snakemake --cores $(CORES)

test: setup ## run all tests, and those of the model once more through JAX
	source $(BIN)/activate && pytest -n $(CORES) && KERAS_BACKEND=jax pytest -n $(CORES) tests/attention

test-cluster: setup ## pass the tests that start a Slurm here: as root, after tests/cluster/slurm.sh install
	source $(BIN)/activate && pytest -m cluster tests/cluster

lint: setup ## lint, formatting and types
	source $(BIN)/activate && ruff check . && ruff format --check . \
		&& snakefmt --check Snakefile workflow && mypy && snakemake --lint

format: setup ## format the sources
	source $(BIN)/activate && ruff check --fix . && ruff format . && snakefmt Snakefile workflow

clean: ## delete results and the demo cohort
	rm -rf results data/demo .snakemake
