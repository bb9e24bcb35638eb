#!/bin/sh
# Make a virtual environment with Ingot, Ray and what tests and benchmarks on Ray need.
# Usage: sh scripts/make_cluster_venv.sh FOLDER
set -eu
cd "$(dirname "$0")/.."
sh scripts/make_venv.sh "$1"
pip="$1/bin/python -m pip install --quiet"
# torch first and alone: as a dependency of another package pip takes a build of gigabytes.
$pip "$(grep '^torch==' constraints.txt)"
$pip --require-hashes --requirement deploy/cluster.lock
$pip --constraint constraints.txt --editable '.[train,cluster]' httpx hypothesis pytest pytest-timeout simpy
