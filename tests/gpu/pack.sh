#!/usr/bin/env bash
# Builds the suites of the CUDA backend and the programs for another machine, whose processor is of x86-64-v3, and packs
# them with what they need but CUDA's libraries, into an archive that run.sh unpacks and runs there.
#   bash tests/gpu/pack.sh [BUILD_FOLDER [CMAKE_OPTION ...]]      leaves BUILD_FOLDER/generous-gpu.tar.xz
# By default the folder is build-gpu. With -DGENEROUS_CUDA=EMULATED: for a trial of run.sh where there is no GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:-build-gpu}
[ $# -gt 0 ] && shift
largest=$((60 << 20))  # bytes of the archive

# No paths of this machine in the programs: they are to take the libraries that are found there. Code for two
# generations of GPUs, and PTX for later ones: every program has it, and the archive is to stay small.
bash apps/setup.sh "$build" "cuda_suites benchmark predict" -DGENEROUS_CUDA=ON -DGENEROUS_MPI=OFF -DGENEROUS_ARCH=x86-64-v3 \
  -DGENEROUS_ONEDNN=OFF -DGENEROUS_UNITY=ON -DCMAKE_SKIP_RPATH=ON "-DCMAKE_CUDA_ARCHITECTURES=80-real;90" "$@"

bundle=$build/generous-gpu
rm -rf "$bundle"
mkdir -p "$bundle"/{apps,tests,lib}
kind=real
grep -q '^GENEROUS_CUDA:[A-Z]*=EMULATED$' "$build/CMakeCache.txt" && kind=emulated
echo "$kind $(git describe --always --dirty 2>/dev/null || echo sources without git)" >"$bundle/kind"
for program in train_standard train_generous train_kd evaluate predict benchmark; do
  strip -o "$bundle/apps/$program" "$build/apps/$program"
done
for suite in "$build"/tests/cuda_*; do
  if [ -f "$suite" ] && [ -x "$suite" ]; then strip -o "$bundle/tests/$(basename "$suite")" "$suite"; fi
done
if [ -f "$build/tests/libkernel_times.so" ]; then strip -o "$bundle/lib/libkernel_times.so" "$build/tests/libkernel_times.so"; fi
# The C library has to fit the system that is there, CUDA's libraries the driver.
ldd "$bundle"/{apps,tests}/* | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
  grep -vE '/(ld-linux|lib(c|m|dl|rt|pthread|cuda|cudart|cudnn|cublas|cublasLt|cupti|nvrtc|nvJitLink))[-.][^/]*$' |
  xargs cp -L -t "$bundle/lib"

# Every suite has the same kernels in it: with a window that is larger than all of them, they take room once.
archive=$build/generous-gpu.tar.xz
tar c -C "$build" --owner=0 --group=0 generous-gpu | xz --lzma2=preset=6,dict=256MiB >"$archive"
bytes=$(stat -c %s "$archive")
[ "$bytes" -le "$largest" ] || { echo "pack.sh: $archive has $bytes bytes, more than $largest" >&2; exit 1; }
echo "$archive: $((bytes >> 20)) MiB"
