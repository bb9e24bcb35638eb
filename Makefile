# Needs python3 (3.11 or later), make and git; everything else is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.ready

.PHONY: demo setup lint test sanitize clean

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

sanitize: setup  ## the C++ core under the undefined-behaviour and thread sanitizers
	@for kind in undefined thread; do \
	  $(BIN)/cmake -S src/ingot/native -B build/sanitize-$$kind -G Ninja \
	    -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DPython_EXECUTABLE=$(abspath $(BIN))/python \
	    -DCMAKE_TOOLCHAIN_FILE=$(abspath src/ingot/native/zig-toolchain.cmake) \
	    -DINGOT_MODULE=OFF -DINGOT_TESTS=ON -DINGOT_SANITIZE=$$kind >/dev/null && \
	  $(BIN)/cmake --build build/sanitize-$$kind && build/sanitize-$$kind/core_test || exit 1; \
	done

clean:  ## remove what was built, models and runs left alone
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
