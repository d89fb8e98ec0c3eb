# `make` alone lists the targets.

# The first of these that works; tested with 3.11.
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3
SUPPORTED := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(shell for each in $(PYTHONS); do $$each -c '$(SUPPORTED)' 2>/dev/null && echo $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
# The Dagster instance of this checkout; DAGSTER_HOME of the environment wins.
export DAGSTER_HOME ?= $(CURDIR)/.munin/dagster
# Footage for `make demo`; without it, sample footage.
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
	@echo "make clean                remove the environment, the demo and the Dagster instance; results stay"

# Each kind of environment is installed once, and again when its requirements change.
$(BIN)/python:
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' 2>/dev/null || { echo "error: $(if $(PYTHON),$(PYTHON) is not,none of $(PYTHONS) is) Python 3.11 to 3.14 with its module venv; install one (on Debian and Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt $(BIN)/python
	@$(BIN)/python tools/install.py
	@touch $@

$(VENV)/.sandbox: pyproject.toml constraints.txt | $(VENV)/.installed
	@$(BIN)/python tools/install.py sandbox
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt requirements-checks.txt $(BIN)/python
	@$(BIN)/python tools/install.py test
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-checks.txt
	@for version in $(TENSORRT); do $(BIN)/python -m pip install --quiet --no-deps --upgrade \
		--target $(VENV)/tensorrt-$${version%%.*} tensorrt-cu13-bindings==$$version || exit 1; done
	@touch $@ $(VENV)/.installed $(VENV)/.sandbox

demo: $(VENV)/.installed
ifeq ($(FOOTAGE),)
	@$(BIN)/munin --profile local demo $(DEMO)
else
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
	rm -rf $(VENV) .munin
