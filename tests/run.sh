#!/usr/bin/env bash
# Builds everything and runs every test; the last line is the runner's own.
#   bash tests/run.sh [BUILD_FOLDER [CMAKE_OPTION ...]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build}
[ $# -gt 0 ] && shift
bash apps/setup.sh "$build" all "$@"
# On a machine that other programs keep busy, threads that spin for long while they wait slow each other down.
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-10000}
ctest --test-dir "$build" --output-on-failure
