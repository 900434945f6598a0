# Two commands do all the set-up: `make bench` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# make variable → command-line option; what is not given is left out
OPTIONS := $(if $(METHOD),--method '$(METHOD)') $(if $(DATASET),--dataset '$(DATASET)') $(if $(DATA),--data '$(DATA)') \
	$(if $(SEEDS),--seeds '$(SEEDS)') $(if $(EPOCHS),--epochs '$(EPOCHS)') $(if $(BACKBONE),--backbone '$(BACKBONE)') \
	$(if $(GPUS),--gpus '$(GPUS)') $(if $(CPUS),--cpus '$(CPUS)') $(if $(EXPERIMENT),--experiment '$(EXPERIMENT)') \
	$(if $(BUDGET),--budget '$(BUDGET)') $(if $(ROBUSTNESS),--robustness '$(ROBUSTNESS)') \
	$(if $(ADDRESS),--address '$(ADDRESS)') $(if $(YES),--yes) $(ARGS)

.PHONY: help setup bench tune test test-long lint leaderboard clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## create .venv and install what is missing or out of date

# torch and torchvision come first and together, unpinned, so that the index gives the newest pair that match.
$(STAMP): setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo 'mtlbench needs Python 3.10 or newer: make PYTHON=python3.11 …' >&2; exit 2; }
	@echo 'Installing mtlbench and what it needs into $(VENV) (once; several minutes) …'
	@$(BIN)/python -c 'import torch, torchvision' 2>/dev/null || $(BIN)/python -m pip install -qq --upgrade pip torch torchvision
	@$(BIN)/python -m pip install -qq --editable '.[test,solvers]'
	@touch $@

bench: setup  ## run methods on datasets and print the leaderboard (METHOD= DATASET= DATA= SEEDS= EPOCHS= …)
	@$(BIN)/mtlbench bench $(OPTIONS)

tune: setup  ## search every method's hyper-parameters with equal budgets (METHOD= DATASET= BUDGET_TRIALS=20 …)
	@$(BIN)/mtlbench tune $(OPTIONS) $(if $(BUDGET_TRIALS),--trials '$(BUDGET_TRIALS)')

leaderboard: setup  ## draw the leaderboards again from the records in results/
	@$(BIN)/mtlbench leaderboard $(ARGS)

lint: setup  ## linter, formatter and type checker
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@report=$$(PYTHONPATH=. $(BIN)/lint-imports --no-cache) || { echo "$$report"; exit 1; }
	@$(BIN)/mypy

test: setup lint  ## the default tests, linter and type checker included
	@$(BIN)/python -m pytest -m 'not long' --numprocesses auto --dist loadfile

test-long: setup  ## the tests that take long
	@$(BIN)/python -m pytest -m long --numprocesses auto tests/conformance tests/methods
	@$(BIN)/python -m pytest -m long --ignore=tests/conformance --ignore=tests/methods

clean:  ## remove the environment, caches, checkpoints and drawn leaderboards; records stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache runs
