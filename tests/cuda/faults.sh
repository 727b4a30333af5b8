#!/usr/bin/env bash
# Would the emulated suites notice? Plants faults, one at a time, into a copy of the sources, runs the suites of
# cuda/ on it, the shortest first, until one goes red, and prints which test cases did. Exits 1 if a fault went
# unnoticed.
#   bash tests/cuda/faults.sh [FOLDER [WORDS]]     FOLDER keeps the copy and its build; only faults whose names
#                                                  match the regular expression WORDS
#   bash tests/cuda/faults.sh --check              only whether the places of all faults are still in the sources
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
check=""
if [ "${1:-}" = --check ]; then
  check=1
  shift
fi
if [ $# -gt 0 ]; then
  mkdir -p "$1"
  folder=$(cd "$1" && pwd)
else
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
fi
words=${2:-}
copy=$folder/sources
build=$folder/build
# Not the suites that test the emulation itself, nor the programs.
suites=(emulation_algorithms emulation_block_reduce emulation_errors emulation_output_sums emulation_overlap
  emulation_recording)
for source in tests/cuda/*_test.cpp; do
  name=$(basename "$source" _test.cpp)
  [ "$name" = apps ] || suites+=("cuda_$name")
done

# Makes the copy equal to the sources. Only what differs is written, so that only that is compiled again.
restore() {
  local path
  find CMakeLists.txt apps core cuda data nn tests -type f | while IFS= read -r path; do
    cmp -s "$path" "$copy/$path" || install -D -m 644 "$path" "$copy/$path"
  done
  [ -d "$copy" ] && find "$copy" -type f | while IFS= read -r path; do
    [ -e "${path#"$copy/"}" ] || rm "$path"
  done
}

compile() {
  cmake --build "$build" --target "${suites[@]/#/test_}" >"$folder/build.log" 2>&1 ||
    { echo "$1: does not compile: $folder/build.log"; tail -n 40 "$folder/build.log"; exit 2; }
}

# Whether all suites pass; else which one did not, or did not end, first. What they say is in test.log.
red=""
declare -A took # microseconds, without a fault
passes() {
  local suite
  : >"$folder/test.log"
  for suite in "${suites[@]}"; do
    red=$suite
    timeout $((60 + took[$suite] / 200000)) "$build/tests/$suite" >>"$folder/test.log" 2>&1 || return 1
  done
}

# The shortest first. Fails where one does.
sort_suites() {
  local suite begin
  for suite in "${suites[@]}"; do
    begin=${EPOCHREALTIME/./}
    timeout 300 "$build/tests/$suite" >"$folder/test.log" 2>&1 || { echo "$suite fails without any fault"; return 1; }
    took[$suite]=$((${EPOCHREALTIME/./} - begin))
  done
  mapfile -t suites < <(for suite in "${suites[@]}"; do echo "${took[$suite]} $suite"; done | sort -n | cut -d ' ' -f 2)
}

# With --check nothing is built, run or written.
prepare() {
  [ -n "$check" ] || "$@"
}

unnoticed=0
# fault NAME FILE OLD NEW [WHICH]: replaces OLD, or its occurrence number WHICH, in cuda/FILE.
fault() {
  local name=$1 file=$2
  [[ $name =~ $words ]] || return 0
  prepare restore
  python3 - "cuda/$file" "${check:-$copy/cuda/$file}" "$3" "$4" "${5:-0}" <<'PYTHON' || { echo "$name: cuda/$file has changed; mend this script"; exit 2; }
import sys

path, copy, old, new, which = sys.argv[1:]
parts = open(path).read().split(old)
which = int(which)
if which >= len(parts) or (which == 0 and len(parts) != 2):
    sys.exit(1)
which = max(which, 1)
if copy != "1":
    with open(copy, "w") as file:
        file.write(old.join(parts[:which]) + new + old.join(parts[which:]))
PYTHON
  [ -z "$check" ] || return 0
  compile "$name"
  if passes; then
    echo "UNNOTICED  $name"
    unnoticed=1
    return
  fi
  echo "noticed    $name: by $red"
  sed -n 's/^TEST CASE: *//p' "$folder/test.log" | sort -u |
    awk '{ if (NR <= 8) print "             " $0 } END { if (NR > 8) print "             and " NR - 8 " more" }'
}

prepare restore
options=(-DGENEROUS_CUDA=EMULATED)
[ -f "$build/CMakeCache.txt" ] || options+=(-G Ninja)
command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
prepare cmake -S "$copy" -B "$build" "${options[@]}" >"$folder/build.log" 2>&1 || { cat "$folder/build.log"; exit 2; }
prepare compile nothing
prepare sort_suites || { cat "$folder/test.log"; exit 2; }

# Threads that do not wait for each other, and threads that wait where others never come
for path in cuda/*.h cuda/*.cu; do
  file=$(basename "$path")
  count=$(grep -c '__syncthreads();' "$path" || true)
  for ((i = 1; i <= count; ++i)); do
    fault "barrier $i of $file missing" "$file" '__syncthreads();' '' "$i"
  done
done
fault "barrier in channel_sums.h reached by some threads" channel_sums.h '    __syncthreads();' \
  '    if (line < left) __syncthreads();'

# Blocks that meet
fault "fence before the ticket missing" last_block.h '__threadfence();' '' 1
fault "fence behind the ticket missing" last_block.h '__threadfence();' '' 2
fault "the last block is taken for another" last_block.h 'static_cast<unsigned>(blocks - 1)' \
  'static_cast<unsigned>(blocks > 1 ? blocks - 2 : 0)'

# Shadows of weights
fault "a shadow that survives a write" shadows.h 'companion->fresh = false;' \
  'companion->fresh = companion->fresh;'
fault "a stale shadow is read" shadows.cpp 'if (!shadow->fresh) round_(' 'if (false) round_('
fault "a replay does not look at its shadows" graph.cpp 'shadows_.before_replay(known_shadows_);' ''
fault "a replay makes no shadow stale" shadows.cpp 'if (const auto shadow = any.lock()) shadow->fresh = false;' \
  'if (const auto shadow = any.lock()) shadow->fresh = shadow->fresh;'
fault "a failed recording leaves its shadows fresh" shadows.cpp \
  'for (const auto& shadow : recording_->shadows) shadow->fresh = false;' ''
fault "an optimiser does not write the shadow" optimizer.cu 'if (channels == 0) return store(shadow + i, values);' \
  'if (channels == 0) return;'
fault "an optimiser that takes a padded shadow for a plain one" optimizer.cu \
  'padded ? static_cast<std::uint8_t>(parameter.size(-1)) : 0' 'padded ? 0 : 0'
fault "padded images that survive a write" padding.cu '!room->fresh || room->place' 'room->place'
fault "images padded outside of a recording" padding.cu '|| room->place != place()' ''
fault "right ones of labels that changed" softmax.cu 'known->labels->fresh && ' ''

# What is added to a convolution, and what one is added to
fault "the library replaces what it is to add to" cudnn_graph.cpp 'problem.adds ? 1.0F : 0.0F' '0.0F'
fault "one plan for adding and replacing" cudnn_convolutions.cpp 'std::int64_t{problem.adds},' ''
fault "the own kernel replaces what it is to add to" conv_direct.cu \
  'adds ? static_cast<float>(dx[index]) + sum : sum' 'adds ? sum : sum'
fault "the depthwise kernel replaces what it is to add to" depthwise.cu 'if (adds) sum += load<width>(result);' \
  'if (adds && from == nullptr) sum += load<width>(result);'
fault "zeros that are none" cuda_backend.cpp 'clear(zeros, bytes_of_zeros);' ''

# The host and the GPU
fault "another GPU than the one that was asked for" device.cpp 'cudaSetDevice(number)' 'cudaSetDevice(0)'
fault "the host does not wait for a copy to it" memory.cpp \
  'check(cudaStreamSynchronize(stream_), op, "cudaStreamSynchronize");' ''
fault "the host does not wait for a staging buffer to be free" memory.cpp \
  'check(cudaEventSynchronize(buffer.copied.get()), op, "cudaEventSynchronize");' '(void)op;'
fault "the host reads device memory" cuda_backend.cpp 'if (x.bytes() == 0) return;' \
  'if (x.bytes() == 0 || *static_cast<const volatile char*>(x.raw()) == 77) return;'
fault "the host hands its own memory to a kernel" batch_norm.cu \
  'scale_(Tensor::empty({channels}, DType::f32, Device::cuda))' \
  'scale_(Tensor::empty({channels}, DType::f32, Device::cpu))'

# Calls of the libraries
fault "leading dimension of a product's first factor" blas.cpp 'a.raw(), type_of(a), extent(a.size(-1)),' \
  'a.raw(), type_of(a), extent(a.size(0)),'
fault "leading dimension of a product's second factor" blas.cpp 'extent(b.size(-1)), a.raw()' \
  'extent(b.size(0)), a.raw()'
fault "leading dimension of a product's result" blas.cpp 'type_of(c), columns, compute' 'type_of(c), rows, compute'
fault "cuBLAS without the stream" blas.cpp 'cublasSetStream(handle_->cublas, stream)' \
  'cublasSetStream(handle_->cublas, stream == nullptr ? stream : nullptr)'
fault "cuDNN without the stream" cudnn_convolutions.cpp 'cudnnSetStream(handle, stream)' \
  'cudnnSetStream(handle, nullptr)'
fault "less workspace for cuDNN than it wants" cudnn_convolutions.cpp 'static_cast<std::int64_t>(plan.workspace)' \
  'static_cast<std::int64_t>(plan.workspace / 2)'
fault "cuDNN's TF32 for f32 that is to be exact" cudnn_graph.cpp 'return choice.tf32 || !(' 'return true || !('
fault "cuDNN's engines that are not deterministic" cudnn_graph.cpp 'if (choice.deterministic && ' 'if (false && '
fault "cuDNN's sums of 16 bits" cudnn_graph.cpp \
  'if (candidate.has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return false;' ''
fault "cuDNN's bias and residual exchanged" cudnn_graph.cpp 'add(id_bias, operands.bias)' 'add(id_bias, operands.residual)'
fault "a plan made during a capture" cudnn_convolutions.cpp 'require(!recording ||' 'require(true || recording ||'
fault "a refusal of cuDNN that ends the program" cudnn_descriptor.h 'status_ / 1000 >= 2 && status_ / 1000 <= 4' \
  'status_ == 3000'
fault "an engine that refused is asked again" cudnn_convolutions.cpp 'plans.drop_best();' 'return false;'

# Sums by the convolution
fault "sums of an output that was written over" batch_norm.cu 'sums != nullptr && sums->fresh' \
  'sums != nullptr && sums->sum.defined()'
fault "cuDNN's sums and sums of squares exchanged" cudnn_graph.cpp 'add(id_sum, operands.sum)' \
  'add(id_sum, operands.square_sum)'

fault "one plan with sums and without" cudnn_convolutions.cpp 'std::int64_t{problem.sums},' ''

# Tensor cores and small products
fault "few channels: taps that are not turned backward" few_channels.cu 'taps - 1 - i / side % taps' 'i / side % taps'
fault "few channels: a border that is not zeros" few_channels.cu 'w >= 0 && w < width' 'w < width'
fault "few channels: rows below the image" few_channels.cu 'row >= bands.height) continue' 'row < 0) continue'
fault "few channels: a band that is read before it is there" few_channels.cu '__syncthreads();' '' 3
fault "few channels: a band that is written over while it is read" few_channels.cu '__syncthreads();' '' 2
fault "few channels: the sums of the last warp alone" few_channels.cu 'turn > 0 ? sum' 'turn < 0 ? sum'
fault "few channels: a bias of the wrong channels" few_channels.cu 'load<width>(bias + channel)' 'load<width>(bias + 0 * channel)'
fault "small products: one warp's share" small_gemm.cu 'other = 1; other < warps' 'other = 2; other < warps'
fault "parts of sums left out" channel_sums.h 'begin += at_once * step' 'begin += 2 * at_once * step'

# Kernels that overlap
fault "a kernel that does not wait for the one before" elementwise.cu 'begin_kernel();' '' 1
fault "kernels that overlap on a GPU that can't" overlap.cu 'major < oldest_major ||' 'major < 0 ||'
fault "kernels that overlap without the code to wait" overlap.cu '|| !waits()' '|| (!waits() && major < 0)'

# Sums over processes: the suites of their own, one of which runs programs
suites=(emulation_nccl emulation_mpi_gpus)
prepare restore
prepare compile nothing
prepare sort_suites || { cat "$folder/test.log"; exit 2; }
fault "sums that begin before the gradients are there" nccl_communicator.cpp 'put_behind(stream_.get(), kernels_);' \
  'put_behind(stream_.get(), stream_.get());'
fault "an optimiser that does not wait for the sums" nccl_communicator.cpp \
  'cuda::check(cudaStreamWaitEvent(kernels_, done_.get(), 0), purpose, "cudaStreamWaitEvent");' ''
fault "memory given back before a sum has ended" nccl_communicator.cpp \
  'if (!waited_) cudaStreamWaitEvent(kernels_, done_.get(), 0);' ''
fault "ranks added up in another order" nccl_communicator.cpp 'backend_.copy(parts_[0][i], values_[i])' \
  'std::swap(parts_.front(), parts_.back()), backend_.copy(parts_[0][i], values_[i])'
exit "$unnoticed"
