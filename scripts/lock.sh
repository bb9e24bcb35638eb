#!/bin/sh
# Write the lock files: every package of the serving core and of its build, which
# deploy/Containerfile installs from, and of the core with Ray, in the version of constraints.txt
# and with the hashes of its files.
# Usage: sh scripts/lock.sh      (needs an index, and pip to install uv)
set -eu
cd "$(dirname "$0")/.."
venv=build/lock
[ -x "$venv/bin/uv" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet uv==0.13.9; }

compile() {
  "$venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --constraint constraints.txt --no-header --no-annotate --no-emit-package colorama \
    --no-emit-package httpx2-jsfetch --output-file "$@"
}

compile deploy/serving.lock --extra otel --extra sign pyproject.toml
compile deploy/cluster.lock --extra cluster pyproject.toml
sed -n '/^requires = \[/,/^\]/s/^  "\(.*\)",$/\1/p' pyproject.toml | compile deploy/build.lock -
