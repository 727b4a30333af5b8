#!/usr/bin/env bash
# Builds everything and runs every test; the last line is the runner's own. The CUDA backend is tested on its
# emulation, and on the GPU where there is one; with -DGENEROUS_CUDA=OFF not at all.
#   bash tests/run.sh [BUILD_FOLDER [CMAKE_OPTION ...]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build}
[ $# -gt 0 ] && shift
# Code for two generations of GPUs and PTX for later ones run on all of them; each further one takes nvcc as long again.
bash apps/setup.sh "$build" all -DGENEROUS_CUDA=AUTO "-DCMAKE_CUDA_ARCHITECTURES=80-real;90" "$@"
on_gpu=()
nvidia-smi -L >/dev/null 2>&1 || on_gpu=(--label-exclude cuda)
ctest --test-dir "$build" --parallel 2 --output-on-failure "${on_gpu[@]}"

[[ " $* " == *" -DGENEROUS_CUDA=OFF "* ]] && exit
# Beside the first folder, from where paths look alike: ccache then knows what both compile.
echo "== the CUDA backend on its emulation"
bash apps/setup.sh "$build-emulation" cuda_suites "$@" -DGENEROUS_CUDA=EMULATED
ctest --test-dir "$build-emulation" --parallel 2 --output-on-failure --label-regex '^(cuda|emulation)$'
