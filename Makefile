# Needs python3 (3.11 or later), make and git; everything else is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.ready

.PHONY: demo setup lint lint-web test long screenshots sanitize emulated wheel clean

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
	$(BIN)/ruff format --check src tests benchmarks scripts examples
	$(BIN)/ruff check src tests benchmarks scripts examples
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-web:  ## style of the page's code; needs Node.js
	npx --yes @biomejs/biome@2.3.11 ci --error-on-warnings

test: setup  ## every test, in at most ten minutes on two cores
	@command -v chromium >/dev/null || sh scripts/install_chromium.sh
	$(BIN)/pytest

long: setup  ## the tests that take too long for every day
	$(BIN)/pytest -m long

screenshots: setup  ## the README's pictures of the page, with the model of make demo
	@test -e demo.ingot || { echo "error: there is no demo.ingot; run make demo first" >&2; exit 1; }
	@$(BIN)/python scripts/screenshots.py demo.ingot

sanitize: setup  ## all C++ under the address, undefined-behaviour and thread sanitizers
	@for variant in address undefined thread; do sh scripts/core_test.sh $$variant || exit 1; done

emulated: setup  ## the AVX-512 and NEON kernels, on any x86-64
	@for variant in avx512 neon; do sh scripts/core_test.sh $$variant || exit 1; done

wheel: setup  ## a wheel that needs no compiler, checked in a fresh environment
	@$(BIN)/python scripts/wheel.py dist

clean:  ## remove what was built, models and runs left alone
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
