# `make demo` and `make test` need nothing but Python 3.11 or newer: each makes .venv and installs into it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= demo

.PHONY: demo test exhaustive-test reliability slurm-test container-test docs lint bench clean

$(STAMP): pyproject.toml constraints.txt hatch_build.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m pip check
	touch $(STAMP)

demo: $(STAMP)  ## Simulate a dataset, analyse it, show what was found
	$(BIN)/bids-neurossm-demo $(DEMO)

test: $(STAMP)  ## All tests; those on real data are skipped where NEUROSSM_TEST_DATA is not there
	$(BIN)/python -m pytest $(PYTEST_ARGS)

exhaustive-test: $(STAMP)  ## Ten times as many random tables and identifiers
	$(BIN)/python -m pytest -m exhaustive tests $(PYTEST_ARGS)

slurm-test: $(STAMP)  ## Job arrays and Nipype's plugin through a real SLURM, which is installed where it may be
	if [ "$$(id -u)" = 0 ] && ! command -v slurmctld >/dev/null; then \
		apt-get update --quiet && apt-get install --yes --quiet slurm-wlm munge; fi
	$(BIN)/python -m pytest -m slurm tests/slurm $(PYTEST_ARGS)

container-test:  ## Build the CPU image with buildah and run the demo in it, as root on Debian
	tests/container/run.sh

reliability: $(STAMP)  ## Kills, full disks, crowds, damaged files: the table of docs/reliability.md
	PYTHONPATH=tests $(BIN)/python -m reliability --page docs/reliability.md

docs: $(STAMP)  ## The pages of docs/ as a site; a warning is an error
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m mkdocs build --strict

lint: $(STAMP)  ## Style, types, and which floor may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## The tables of docs/benchmarks.md
	$(BIN)/python benchmarks/selective_scan.py
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/participant.py
	$(BIN)/python benchmarks/indexing.py
	$(BIN)/python benchmarks/reference.py

clean:
	rm -rf $(VENV) $(DEMO) build dist site
