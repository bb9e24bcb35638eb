# Needs python3 (3.11 or later), make and git; everything else is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.ready

.PHONY: demo setup lint test clean

demo: setup  ## text in, a sealed model out, served: the whole path
	@$(BIN)/ingot demo

setup: $(SETUP)  ## make .venv and install Ingot with all it can use

# torch first and alone: asked for through another package, pip takes a build of gigabytes.
$(SETUP): pyproject.toml constraints.txt scripts/make_venv.sh
	@PYTHON=$(PYTHON) sh scripts/make_venv.sh .venv
	@$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	@touch $(SETUP)

lint: setup  ## style, types, and who may import whom
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup  ## every test, in at most ten minutes on two cores
	@command -v chromium >/dev/null || sh scripts/install_chromium.sh
	$(BIN)/pytest

clean:  ## remove what was built, models and runs left alone
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
