# `make` lists what there is. Every target works on a fresh machine: it makes the environment it needs.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?=
PYTEST_ARGS ?=
RUNS ?= 2000
FAULTS ?= 100
ARGS ?=
py := .venv/bin/python
ready := .venv/.ready
bench_ready := .venv-bench/.ready
sources := $(wildcard src services tests examples bench deploy)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(ready) ## 30 orders on one embedded file, killed again and again; nothing lost, nothing charged twice
	@$(py) -m examples.demo

.PHONY: demo-cluster
demo-cluster: $(ready) servers ## the same on real Kafka, PostgreSQL and Redis, with every process and server killed
	@$(py) -m examples.demo --cluster

.PHONY: test
test: $(ready) servers ## all tests but the long chaos runs, in random order (PYTEST_ARGS=… to narrow)
	@deploy/tests $(PYTEST_ARGS)

.PHONY: check
check: $(ready) ## ruff, mypy --strict, import-linter, deptry, the locks, what git holds
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy $(sources)
	@.venv/bin/lint-imports --no-cache --no-logo
	@.venv/bin/deptry src services
	@$(py) deploy/lock.py --check
	@! git ls-files --error-unmatch uv.lock >/dev/null 2>&1 || { echo "uv.lock carries registry hosts: git rm --cached uv.lock" >&2; exit 1; }

.PHONY: check-matrix
check-matrix: $(ready) ## unit, replay and conformance tests on every CPython 3.11 to 3.14 found here
	@deploy/matrix $(PYTEST_ARGS)

.PHONY: bench
bench: $(bench_ready) servers ## Holdfast and its peers side by side, an effect beside a step; writes bench/results/
	@.venv-bench/bin/python bench/run.py; peers=$$?; .venv-bench/bin/python bench/effects.py && exit $$peers

SEEDS ?= 20000

.PHONY: simulate
simulate: $(ready) ## SEEDS=20000 simulated worlds of faults, each from its seed (ARGS="--from 20000", "--seed 7 --trace")
	@$(py) -m tests.simulation --seeds $(SEEDS) $(ARGS)

.PHONY: chaos
chaos: $(ready) servers ## RUNS=2000 orders in a storm of FAULTS=100 faults, then stories (ARGS="--only storm --seed 7")
	@$(py) -m tests.chaos --runs $(RUNS) --faults $(FAULTS) $(ARGS)

.PHONY: format
format: $(ready) ## put the code into its form, mend what ruff can mend
	@.venv/bin/ruff check --fix --exit-zero --quiet
	@.venv/bin/ruff format

.PHONY: lock
lock: $(ready) ## write the locks anew from pyproject.toml (LOCK_ARGS=--upgrade for the newest versions)
	@$(py) deploy/lock.py $(LOCK_ARGS)

.PHONY: clean
clean: ## remove what make has made: environments, caches, reports
	@rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Kafka's needs, PostgreSQL and Redis: installed from Debian's packages as root, else named in one message.
.PHONY: servers
servers:
	@deploy/local/prerequisites

$(ready): pyproject.toml requirements.lock deploy/bootstrap
	@PYTHON='$(PYTHON)' deploy/bootstrap .venv requirements.lock
	@touch $@

# The system's CPython first: it is built with profile-guided optimization, which one compiled by hand often lacks.
$(bench_ready): pyproject.toml requirements-bench.lock deploy/bootstrap $(ready)
	@PYTHON='$(or $(PYTHON),/usr/bin/python3 python3)' deploy/bootstrap .venv-bench requirements-bench.lock
	@touch $@
