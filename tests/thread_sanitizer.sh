#!/usr/bin/env bash
# The suites and programs with threads of their own (the loader's workers, the display, the lock of a run's folder) under
# ThreadSanitizer. OpenMP's runtime is not instrumented and would be taken for a race: it gets one thread.
#   bash tests/thread_sanitizer.sh [BUILD_FOLDER]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build-thread-sanitizer}
suites=(loader allocator decoded_cache streams run_folder)
bash apps/setup.sh "$build" "${suites[*]/#/test_} test_resume" \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGENEROUS_SANITIZE=thread -DGENEROUS_CUDA=OFF -DGENEROUS_UNITY=ON
pattern=$(IFS='|'; echo "${suites[*]}")
# Without address randomisation, of which some kernels do more than ThreadSanitizer can take.
export OMP_THREAD_LIMIT=1
setarch --addr-no-randomize ctest --test-dir "$build" --parallel 2 --output-on-failure --no-tests=error -R "^($pattern)$"
# Of runs that go on, what differs in threads: workers, signals, kills.
setarch --addr-no-randomize "$build/tests/resume" --test-case='*number of workers*,a signal stops*,a run killed*'
