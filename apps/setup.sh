#!/usr/bin/env bash
# Prepares a Debian 12 machine, or one with packages of the same names, and builds: installs missing packages with apt where that is allowed
# (as root or with a sudo that asks nothing), otherwise prints the exact command; then configures and builds.
#   bash apps/setup.sh [BUILD_FOLDER [TARGETS [CMAKE_OPTION ...]]]     by default build, all; several TARGETS in quotes
# Where there is no GPU, a new folder is without the CUDA backend unless the options say otherwise (-DGENEROUS_CUDA=AUTO).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${1:-build}
targets=${2:-all}
[[ "$build$targets" != -* && "$targets" != -* ]] ||
  { echo "usage: bash $(printf %q "$0") [BUILD_FOLDER [TARGETS [CMAKE_OPTION ...]]]" >&2; exit 2; }
shift $(($# < 2 ? $# : 2))
case $PWD$build in
  *";"*) echo "setup: CMake cannot build where a path has a ';': move $PWD, or choose another folder than $build" >&2; exit 1 ;;
esac

required=(g++ cmake ninja-build libeigen3-dev libdnnl-dev libfmt-dev nlohmann-json3-dev zlib1g-dev
          libxxhash-dev libturbojpeg0-dev libstb-dev doctest-dev libbenchmark-dev libboost-context-dev pkg-config)
optional=(dataset-fashion-mnist curl)  # for the demo and tests; not every distribution has the first
[[ " $* " == *" -DGENEROUS_FUZZ=ON "* ]] && required+=(clang libclang-rt-dev libomp-dev libprotobuf-dev protobuf-compiler)
[[ " $targets " == *" failing_calls "* ]] && required+=(python3 libprotobuf-dev protobuf-compiler)
grids=(snakemake python3-yaml python3-pandas python3-scipy python3-matplotlib python3-jinja2 python3-sklearn)  # apps/compare
[[ " $targets " == *" compare "* ]] && required+=("${grids[@]}")
[[ " $targets " == *" all "* ]] && optional+=("${grids[@]}")  # for its tests
[[ " $targets " == *" all "* ]] && optional+=(libopenmpi-dev openmpi-bin iproute2)  # several processes, and their tests
[[ " $targets " == *" all "* ]] && optional+=(libonnx-dev)  # export_onnx
[[ " $targets " == *" all "* ]] && optional+=(libprotobuf-dev protobuf-compiler)  # export_onnx, event files for TensorBoard
[[ " $targets " == *" all "* ]] && optional+=(python3-venv)  # the tests of both by onnxruntime and tensorboard

missing_of() {  # PACKAGE...: those that are not installed
  for package in "$@"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || printf '%s ' "$package"
  done
}

as_root=none  # how to become root, if at all
if [ "$(id -u)" -eq 0 ]; then
  as_root=env
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root="sudo env"
fi

if command -v dpkg-query >/dev/null; then
  missing=$(missing_of "${required[@]}")
  wished=$(missing_of "${optional[@]}")
  if [ "$as_root" != none ] && [ -n "$missing$wished" ]; then
    $as_root apt-get update -qq || echo "setup: apt-get update failed; going on with what is known"
    for package in $wished; do
      apt-cache show "$package" >/dev/null 2>&1 && missing+="$package "
    done
    if [ -n "$missing" ]; then
      echo "setup: installing $missing"
      # shellcheck disable=SC2086  # several packages are several words
      $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    fi
  elif [ -n "$missing" ]; then
    echo "setup: packages are missing. Install them with this command, then start again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y $missing" >&2
    exit 1
  fi
else
  echo "setup: not a Debian system: assuming that the equivalents of these, which apps/install.md names, are installed: ${required[*]}"
fi

options=("$@")
if [ ! -f "$build/CMakeCache.txt" ]; then
  options+=(-G Ninja)
  if [[ " $* " != *" -DGENEROUS_CUDA="* ]] && ! nvidia-smi -L >/dev/null 2>&1; then
    echo "setup: no GPU here: building without the CUDA backend (-DGENEROUS_CUDA=AUTO: with it all the same)"
    options+=(-DGENEROUS_CUDA=OFF)
  fi
fi
command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake -S . -B "$build" "${options[@]}" >"$build.configure.log" 2>&1 ||
  { cat "$build.configure.log" >&2; rm -f "$build.configure.log"; exit 1; }
grep -E 'oneDNN|CUDA: |libjpeg-turbo|MPI|NCCL|ONNX|TensorBoard' "$build.configure.log" || true
rm -f "$build.configure.log"
# shellcheck disable=SC2086  # several targets are several words
cmake --build "$build" --target $targets
