# Leger: what developers and packagers run. Everything below but `install` sets itself up.
SHELL := /bin/bash
PYTHON ?= python3
JOBS ?= 3
TYPED := tests/conftest.py tests/machine tests/machine_tests tests/packaging tests/system bench tools
VENV := .venv/bin
export PYTHON

.PHONY: help demo test lint bench soak rpm install lock setup clean
.DEFAULT_GOAL := help

help:           ## say what there is
	@sed -n 's/^\([a-z]*\):.*## */\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo:           ## tell the whole story on a test machine (root; no virtual environment)
	@tools/setup packages
	@$(PYTHON) tools/demo.py

test: lint      ## linters, then all tests; those with machines need root
	@tools/setup packages machines
	@mkdir -p .cache/coverage && rm -f .cache/coverage/data*
	@$(VENV)/python -m coverage run -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder $(TESTS)

lint:           ## ruff, mypy and import-linter
	@tools/setup python
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/mypy $(TYPED)
	@PYTHONPATH=lib:generator:hooks:. $(VENV)/lint-imports | sed -n '/^Analyzed/,$$p'; exit $${PIPESTATUS[0]}

soak: export LEGER_SOAK = 1
soak: export PYTEST_ADDOPTS = --timeout=36000
soak: test      ## the tests with their long series run whole: hours

bench:          ## measure against the limits: a table here, JSON in bench/results/
	@tools/setup
	@$(VENV)/python -m bench

rpm:            ## build the RPM into dist/
	@tools/rpm

install:        ## copy everything below DESTDIR
	@tools/install

lock:           ## renew the locked versions of the development's packages
	@tools/lock

setup:          ## only make ready: packages, virtual environment, machine images
	@tools/setup

clean:          ## remove what these made here; the machines' images stay in the user's cache
	rm -rf .venv .cache build dist bench/results/* *.egg-info lib/*.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
