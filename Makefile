# `make` alone says what there is.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# The Dagster instance of this checkout; DAGSTER_HOME of the environment wins.
export DAGSTER_HOME ?= $(CURDIR)/.munin/dagster
# Footage for `make demo`; without it, samples that an installed package ships.
FOOTAGE ?=
DEMO := .munin/demo
# TensorRT's Python bindings, in which the tests look up every name that the GPU engine uses. They
# share one module name, so each lies in a folder of its own.
TENSORRT := 10.16.1.11 11.4.0.106
# The sandbox's demo has an instance of its own, and the port that profile sandbox names.
SANDBOX := .munin/sandbox
SANDBOX_PORT := 4599

# Tests at once: they wait for disks and clocks more than they compute.
TEST_PROCESSES ?= 3

.PHONY: help demo sandbox-demo test ui lint clean

help:
	@echo "make demo                 install what is needed and run the pipeline on sample footage"
	@echo "make demo FOOTAGE=folder  the same on your own footage"
	@echo "make sandbox-demo         two cameras on an AWS of this machine: spot is lost, capacity is short"
	@echo "make ui                   open the Dagster UI on the same instance"
	@echo "make test                 install what is needed and run all tests"
	@echo "make lint                 formatting, lint and types"
	@echo "make clean                remove the environment and everything that was made here"

# Each kind of environment is made once, and again when what it is made of changes.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed; install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt requirements-demo.txt requirements-checks.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-demo.txt --requirement requirements-checks.txt
	@for version in $(TENSORRT); do $(BIN)/python -m pip install --quiet --no-deps --upgrade \
		--target $(VENV)/tensorrt-$${version%%.*} tensorrt-cu13-bindings==$$version || exit 1; done
	@touch $@ $(VENV)/.installed $(VENV)/.demo $(VENV)/.sandbox

$(VENV)/.sandbox: pyproject.toml | $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --editable '.[sandbox]'
	@touch $@

# The sample pictures come with scikit-image; its own needs are not ours.
$(VENV)/.demo: requirements-demo.txt | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-demo.txt
	@touch $@

ifeq ($(FOOTAGE),)
demo: $(VENV)/.demo
	@$(BIN)/python tools/demo_footage.py $(DEMO)/footage/demo-camera
	@$(BIN)/munin --profile local batch $(DEMO)/footage/demo-camera $(DEMO)/results/demo-camera
else
demo: $(VENV)/.installed
	@$(BIN)/munin --profile local batch "$(FOOTAGE)"
endif
	@echo
	@echo "'make ui' shows the run and its assets in the Dagster UI."

sandbox-demo: $(VENV)/.sandbox
	@$(BIN)/python tools/sandbox_demo.py $(SANDBOX) $(SANDBOX_PORT)

ui: $(VENV)/.installed
	@$(BIN)/munin --profile local ui

test: $(VENV)/.test
	@tests/support/install_browser.sh
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .munin results
