# make lab and make test are all a newcomer needs; `make help` lists the rest.
# Options: PYTHON=python3.12      the Python that makes .venv (default: the first of 3.11 or later)
#          ARGS="--port 8890"     passed on to JupyterLab, to pytest or to the benchmarks
#          TORCH_INDEX=…          a package index to take torch from, for instance one of CPU builds
#          CHROMIUM=/path         the browser of the browser tests
#          ALL=1                  make claims: also the studies that have not changed since they were measured
.DEFAULT_GOAL := help
.PHONY: help lab test test-units test-browser claims bench gallery lint format clean browser
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# JupyterLab does not run as root unless told to; in a container that is who one is.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
# One thread per worker: pytest already fills the cores, and more threads than cores make torch several times slower.
UNITS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal
# Each worker has a Chromium and, once one of its tests needs it, a JupyterLab of its own.
BROWSER := OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser tests/widgets -n auto --maxprocesses 4 --dist worksteal
export CHROMIUM

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lab: $(VENV)/.lab ## install what is missing and open JupyterLab on notebooks/start.ipynb
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/start.ipynb $(ROOT) $(ARGS)

test: $(VENV)/.test browser node_modules/.stamp ## install what is missing, a browser included, and run all tests that need no GPU
	@status=0; \
	$(UNITS) -m "not browser and not claims and not gpu" $(ARGS) || status=$$?; \
	$(BROWSER) -m browser $(ARGS) || status=$$?; \
	exit $$status

test-units: $(VENV)/.test ## the tests without a browser
	$(UNITS) -m "not browser and not claims and not gpu" $(ARGS)

test-browser: $(VENV)/.test browser node_modules/.stamp ## the tests in JupyterLab and Chromium
	$(BROWSER) -m browser $(ARGS)

claims: $(VENV)/.test ## run the studies whose code has changed (ALL=1: all) and check their claims
	ALL=$(ALL) $(UNITS) -m claims $(ARGS)

bench: $(VENV)/.bench browser ## measure, print the table and write BENCHMARKS.md
	$(BIN)/python bench/run.py $(ARGS)

gallery: $(VENV)/.test browser ## screenshots of every explorer into gallery/
	$(BIN)/python scripts/gallery.py $(ARGS)

lint: $(VENV)/.test node_modules/.stamp ## style, types, layers; every check runs, whatever the others find
	@status=0; \
	for check in "ruff check ." "ruff format --check ." "mypy" "lint-imports"; do \
		echo "── $$check"; $(BIN)/$$check || status=1; \
	done; \
	if [ -x node_modules/.bin/tsc ]; then \
		echo "── tsc"; node_modules/.bin/tsc --project tsconfig.json || status=1; \
		echo "── prettier"; node_modules/.bin/prettier --check --log-level warn "widgets/**/*.js" || status=1; \
	else \
		echo "── tsc, prettier: the JavaScript halves are not checked, that needs npm"; \
	fi; \
	exit $$status

format: $(VENV)/.test node_modules/.stamp ## put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@if [ -x node_modules/.bin/prettier ]; then node_modules/.bin/prettier --write --log-level warn "widgets/**/*.js"; fi

clean: ## remove everything that make made
	rm -rf $(VENV) node_modules build dist gallery .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache

browser: $(VENV)/.test
	@scripts/ensure_chromium.sh $(BIN)/python

$(BIN)/python:
	@python=$$(PYTHON="$(PYTHON)" scripts/find_python.sh) && echo "making $(VENV) with $$($$python --version)" && \
	$$python -m venv $(VENV)

# torch goes first, so that what needs it later finds it there and asks for no other build of it.
$(VENV)/.lab: pyproject.toml constraints.txt binder/overrides.json | $(BIN)/python
	@echo "installing the workbench into $(VENV)"
	@$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@$(INSTALL) --editable .
	@mkdir -p $(VENV)/share/jupyter/lab/settings && cp binder/overrides.json $(VENV)/share/jupyter/lab/settings/
	@touch $@

$(VENV)/.test: $(VENV)/.lab
	@echo "installing what the tests need"
	@$(INSTALL) --editable '.[test,distributed]'
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	@echo "installing what the benchmarks compare with"
	@$(INSTALL) --editable '.[test,distributed,bench]'
	@touch $@

# Type checker, formatter and accessibility checker of the JavaScript halves; without npm the rest still runs.
node_modules/.stamp: package.json package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund && touch $@; fi
