# Needs Python 3.12 or newer and make; everything else goes into .venv.

PYTHON ?= python3
PRESET ?= default

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
BENCHMARKS ?= $(sort $(wildcard benchmarks/*.py))

# Each stamp records a finished installation; a changed list of packages makes it out of date.
CREATED := $(VENV)/.created
INSTALLED := $(VENV)/.installed
INSTALLED_TEST := $(VENV)/.installed-test
INSTALLED_DOCS := $(VENV)/.installed-docs
PACKAGES := pyproject.toml constraints.txt

.PHONY: help demo test lint docs benchmark clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:
	@echo "make demo        run the analysis on the embedded inputs; PRESET=quick, default or paper"
	@echo "make test        lint, type-check and test"
	@echo "make lint        lint and type-check only"
	@echo "make docs        build the documentation into build/docs; warnings are errors"
	@echo "make benchmark   measure speed and accuracy; BENCHMARKS=benchmarks/NAME.py for one script"
	@echo "make clean       remove caches and build products; runs and .venv stay"
	@echo "Python: $(PYTHON); another one with PYTHON=..."

demo: $(INSTALLED)
	$(BIN)/bayesxs run --preset $(PRESET) --out bayesxs-runs/$(PRESET) --resume

test: lint
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(INSTALLED_DOCS)
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs build/docs
	@echo "documentation: build/docs/index.html"

benchmark: $(INSTALLED)
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script; done

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || { \
	  found=$$($(PYTHON) --version 2>&1 | grep '^Python' || echo "not found"); \
	  echo "bayesxs needs Python 3.12 or newer; $(PYTHON) is: $$found." \
	    "Choose another: make PYTHON=python3.12" >&2; exit 1; }
	@echo "creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "cannot create $(VENV): Python's venv module must be installed" \
	    "(package python3-venv on Debian and Ubuntu)" >&2; exit 1; }
	@touch $@

$(INSTALLED): $(CREATED) $(PACKAGES)
	@echo "installing bayesxs into $(VENV) (the first time takes some minutes)"
	@$(PIP) --editable .
	@touch $@

$(INSTALLED_TEST): $(CREATED) $(PACKAGES)
	@echo "installing bayesxs and what its tests need into $(VENV) (the first time takes some minutes)"
	@$(PIP) --editable '.[test]'
	@touch $(INSTALLED) $@

$(INSTALLED_DOCS): $(CREATED) $(PACKAGES)
	@echo "installing bayesxs and what its documentation needs into $(VENV)"
	@$(PIP) --editable '.[docs]'
	@touch $(INSTALLED) $@

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find bayesxs tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
