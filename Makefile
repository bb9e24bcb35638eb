# Needs python3 (3.11 or later), make and git; everything else goes into .venv.

PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.ready
CLUSTER := .venv-cluster

.PHONY: demo demo-chat setup lint lint-web test clients long cluster fuzz screenshots sanitize emulated wheel lock audit clean

demo: setup  ## train a small model, seal it and serve it
	@$(BIN)/ingot demo

demo-chat: setup  ## fetch a small model that answers questions, seal it and serve it
	@$(BIN)/ingot demo-chat

setup: $(SETUP)  ## make .venv with Ingot and its optional and development packages

# torch first and alone: as a dependency of another package pip takes a build of gigabytes.
$(SETUP): pyproject.toml constraints.txt scripts/make_venv.sh
	@PYTHON=$(PYTHON) sh scripts/make_venv.sh .venv
	@$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	@touch $(SETUP)

lint: setup  ## style, types and the import rules
	$(BIN)/ruff format --check src tests benchmarks scripts examples
	$(BIN)/ruff check src tests benchmarks scripts examples
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-web:  ## style of the page's code; needs Node.js
	npx --yes @biomejs/biome@2.3.11 ci --error-on-warnings

# Four processes even on two cores, since many tests wait rather than compute. A file's tests stay
# together: they share fixtures that train models; tests/conftest.py orders the files. Bytecode is
# written even where the environment forbids it, or each test process would compile all modules.
test: setup  ## every test but the long ones; about ten minutes on two cores
	@command -v chromium >/dev/null || sh scripts/install_chromium.sh
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

clients: setup  ## the clients that people use, at pinned versions; needs Node.js
	@sh scripts/clients.sh

long: setup  ## the long tests, quick benchmarks and emulated kernels; some half an hour
	$(BIN)/pytest -m long

cluster: $(CLUSTER)/.ready  ## the tests on Ray, in an environment of their own
	$(CLUSTER)/bin/python -m pytest tests/cluster

$(CLUSTER)/.ready: pyproject.toml constraints.txt deploy/cluster.lock scripts/make_cluster_venv.sh scripts/make_venv.sh
	@PYTHON=$(PYTHON) sh scripts/make_cluster_venv.sh $(CLUSTER)
	@touch $@

SECONDS ?= 60
SEED ?= 1
fuzz: setup  ## hostile inputs to every parser: make fuzz SECONDS=600 SEED=7
	$(BIN)/python -m tests.fuzz.harness --seconds $(SECONDS) --seed $(SEED)

screenshots: setup  ## the README's pictures of the page, with the model of make demo
	@test -e demo.ingot || { echo "error: demo.ingot does not exist; run make demo first" >&2; exit 1; }
	@$(BIN)/python scripts/screenshots.py demo.ingot

sanitize: setup  ## all C++ under the address, undefined-behaviour and thread sanitizers
	@for variant in address undefined thread; do sh scripts/core_test.sh $$variant || exit 1; done

emulated: setup  ## the AVX-512 and NEON kernels, on any x86-64
	@for variant in avx512 neon; do sh scripts/core_test.sh $$variant || exit 1; done

wheel: setup  ## wheels for x86-64 and 64-bit Arm, each run by a Python of its kind; needs Debian's apt and QEMU
	@$(BIN)/python scripts/wheel.py dist $(WHEELS)

lock:  ## write deploy/*.lock: versions of constraints.txt with the hashes of their files
	@sh scripts/lock.sh

audit:  ## ask pip-audit for known vulnerabilities of what is deployed, where the index answers
	@sh scripts/audit.sh

clean:  ## remove the environment, builds and caches; models and runs stay
	rm -rf .venv $(CLUSTER) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
