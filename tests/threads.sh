#!/usr/bin/env bash
# The suites of the computing parts where OpenMP gives other threads than a program would think: fewer than it
# promises, a number that changes, one, more than there are cores. And the benchmark, which must end.
#   bash tests/threads.sh [BUILD_FOLDER]        after tests/run.sh has built it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build}
for setting in OMP_THREAD_LIMIT=1 OMP_DYNAMIC=true OMP_MAX_ACTIVE_LEVELS=0 OMP_NUM_THREADS=1 OMP_NUM_THREADS=5; do
  echo "== $setting"
  env "$setting" ctest --test-dir "$build" --parallel 2 --output-on-failure --no-tests=error \
    --tests-regex '^(threads|ops|conv|batch_norm|losses|optim|layers|loader)$'
  env "$setting" timeout 120 "$build/apps/benchmark" --models preresnet20 --stages standard,infer --steps 2 --batch 16
done
