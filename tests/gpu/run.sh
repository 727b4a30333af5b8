#!/usr/bin/env bash
# Everything that there is to know about the CUDA backend on a real GPU, within ten minutes, on a machine that has a
# driver, cuBLAS and cuDNN (CUDA's or pip's) and, for comparison, PyTorch: what pack.sh packed is unpacked and run, the
# most telling first. Every step has a time limit of its own and leaves no process behind.
#   bash tests/gpu/run.sh [ARCHIVE [FOLDER [STAGE ...]]]   by default build-gpu/generous-gpu.tar.xz and gpu-results
# Stages: suites ours pytorch convolutions sanitizers kernels; by default all, in this order.
# Leaves FOLDER/summary.txt, up to date after every step, and FOLDER/logs.tar.gz. Exits 1 if a step failed; one whose
# tool is not there is left out and does not count.
# GENEROUS_GPU_SECONDS: for all steps together (570).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
archive=${1:-build-gpu/generous-gpu.tar.xz}
results=${2:-gpu-results}
every_stage=(suites ours pytorch convolutions sanitizers kernels)
stages=("${@:3}")
if [ ${#stages[@]} = 0 ]; then stages=("${every_stage[@]}"); fi
for stage in "${stages[@]}"; do
  [[ " ${every_stage[*]} " == *" $stage "* ]] || { echo "run.sh: no stage '$stage'; there are: ${every_stage[*]}" >&2; exit 2; }
done
# shellcheck source=tests/gpu/limited.sh
. "$here/limited.sh"
# shellcheck source=tests/gpu/summary.sh
. "$here/summary.sh"

[ -f "$archive" ] || { echo "run.sh: no archive $archive: pack.sh makes one" >&2; exit 2; }
mkdir -p "$results"
results=$(cd "$results" && pwd)
work=$(mktemp -d)
logs=$work/logs
mkdir "$logs"
touch "$work/steps" "$work/rates"
ended() {
  trap '' TERM INT
  # shellcheck disable=SC2046  # several processes are several words
  kill $(jobs -p) 2>/dev/null || true
  end_all "$MARK_OF_RUN-"
  write_summary
  tar czf "$results/logs.tar.gz" -C "$work" logs
  rm -rf "$work"
}
trap ended EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

tar xf "$archive" -C "$work"
cd "$work"
bundle=$work/generous-gpu
read -r kind _ <"$bundle/kind"
patience=1
if [ "$kind" = emulated ]; then patience=20; fi  # a trial of these steps on any machine
end=$((SECONDS + ${GENEROUS_GPU_SECONDS:-$((570 * patience))}))

# cuDNN and cuBLAS: PyTorch's own, so that both use the same, else CUDA's.
python=$(command -v python3 || true)
libraries=$bundle/lib
if [ -n "$python" ]; then
  packages=$("$python" -c '
import glob, importlib.util
spec = importlib.util.find_spec("nvidia")
for folder in (spec.submodule_search_locations or []) if spec else []:
    print(*sorted(glob.glob(folder + "/*/lib")), sep=":")' 2>/dev/null || true)
  libraries+=${packages:+:$packages}
fi
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}:/usr/local/cuda/lib64
PATH=$PATH:/usr/local/cuda/bin
export PATH GENEROUS_APPS_DIR=$bundle/apps TORCHINDUCTOR_CACHE_DIR=$work/inductor TRITON_CACHE_DIR=$work/triton
export GOMP_SPINCOUNT=2000  # our programs would set it and start themselves anew

note() {  # VERDICT NAME SECONDS MESSAGE
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$work/steps"
  printf '%-5s %-34s %4s s  %s\n' "$1" "$2" "$3" "$4"
}

log_of() {  # NAME
  echo "$logs/${1//[^a-zA-Z0-9_,]/_}.log"
}

# Several steps share some time: what does not fit any more is left out.
share_end=$end
share() {  # SECONDS
  share_end=$((SECONDS + $1 * patience))
}

# One step: runs the command and notes how it ended. Exit code 77: it can't be had here.
step() {  # NAME LIMIT COMMAND...
  local name=$1 limit=$(($2 * patience)) begin=$SECONDS code=0 log until=$((share_end < end ? share_end : end))
  log=$(log_of "$name")
  shift 2
  limit=$((limit < until - begin ? limit : until - begin))
  if [ "$limit" -le 0 ]; then
    note skip "$name" 0 "no time left"
    return
  fi
  limited "$limit" "$log" "$@" || code=$?
  case $code in
    0) note pass "$name" $((SECONDS - begin)) "$(said "$log")" ;;
    77) note skip "$name" $((SECONDS - begin)) "$(said "$log")" ;;
    124) note FAIL "$name" $((SECONDS - begin)) "stopped after $limit s: $(first_message "$log")" ;;
    *)
      local how="exit code $code"
      [ "$code" -le 128 ] || how="killed by SIG$(kill -l "$code")"
      note FAIL "$name" $((SECONDS - begin)) "$how: $(first_message "$log")"
      ;;
  esac
  write_summary
}

suites() {  # LIMIT SUITE...: all at once
  local limit=$1 suite jobs=() threads
  shift
  threads=$(($(nproc) / $# > 1 ? $(nproc) / $# : 1))
  for suite in "$@"; do
    [ -x "$bundle/tests/cuda_$suite" ] || continue
    OMP_NUM_THREADS=$threads step "cuda_$suite" "$limit" "$bundle/tests/cuda_$suite" --no-colors=true &
    jobs+=($!)
  done
  for suite in "${jobs[@]}"; do wait "$suite"; done
}

ours() {  # MODELS TYPE BATCH TUNE
  local name="ours $2 $3 tune $4" dtype=$2 tf32=0
  if [ "$dtype" = tf32 ]; then dtype=f32 tf32=1; fi
  step "$name" $((20 + 30 * $4)) "$bundle/apps/benchmark" --device cuda --models "$1" --dtypes "$dtype" --tf32 "$tf32" --batch "$3" \
    --tune "$4" --steps "$steps" --json 1
  add_rates "$(log_of "$name")" "$2" "$([ "$4" = 1 ] && echo tuned || echo ours)"
}

theirs() {  # MODELS TYPE BATCH MODES
  local name="pytorch $1 $2 $3 $4"
  step "$name" 60 "$python" "$here/torch_steps.py" --models "$1" --dtype "$2" --batch "$3" --modes "$4" --steps "$steps"
  add_rates "$(log_of "$name")" "$2"
}

sanitized() {  # TOOL SUITE
  OMP_NUM_THREADS=2 step "$1 $2" 90 compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 10 \
    "$bundle/tests/cuda_$2" --no-colors=true
  sed -n "s/^=* *\(.*SUMMARY.*\)/$1 $2: \1/p" "$(log_of "$1 $2")" >>"$work/sanitizers" || true
}

steps=30
probed=resnet18,preresnet20
probed_batch=128
our_cells=("bf16 128 0" "bf16 128 1" "bf16 512 1" "tf32 128 1" "f32 128 1" "bf16 512 0" "tf32 128 0" "f32 128 0" "tf32 512 1"
           "f32 512 1" "tf32 512 0" "f32 512 0")
models=resnet18,preresnet20,wrn_16_2
if [ "$kind" = emulated ]; then
  steps=1 models=resnet8 probed=resnet8 probed_batch=4
  our_cells=("bf16 4 0" "tf32 4 1")
fi

suites_stage() {
  suites 60 memory edges channels data parity algorithms
  suites 60 training shadows padding apps methods
}

ours_stage() {
  local cell
  share 90
  for cell in "${our_cells[@]}"; do
    # shellcheck disable=SC2086  # three words
    ours "$models" $cell
  done
}

pytorch_stage() {
  share 150
  if [ -z "$python" ]; then
    note skip pytorch 0 "no python3 here"
  elif [ "$kind" = emulated ]; then
    note skip pytorch 0 "nothing to compare the emulation with"
  else
    theirs "$models" bf16 128 eager,graph
    theirs resnet18 bf16 128 compile
    theirs preresnet20 bf16 128 compile
    theirs "$models" bf16 512 graph
    theirs "$models" tf32 128 graph
    theirs wrn_16_2 bf16 128 compile
    theirs "$models" f32 128 graph
  fi
}

convolutions_stage() {
  step convolutions 40 "$bundle/apps/benchmark" --device cuda --models "$probed" --dtypes bf16 --batch "$probed_batch" \
    --steps "$steps" --limit 1 --profile 1
}

sanitizers_stage() {
  local tool suite
  if ! command -v compute-sanitizer >/dev/null; then
    note skip sanitizers 0 "no compute-sanitizer here"
    return
  fi
  for tool in memcheck racecheck; do
    for suite in edges channels; do sanitized "$tool" "$suite" & done
  done
  wait
}

kernels_stage() {
  local watcher=$bundle/lib/libkernel_times.so
  if [ ! -f "$watcher" ] || [ -z "$python" ] || ldd "$watcher" | grep -q 'not found'; then
    note skip kernels 0 "no CUPTI or no python3 here"
    return
  fi
  mkdir "$work/times"
  step kernels 45 env GENEROUS_KERNEL_TIMES="$work/times" CUDA_INJECTION64_PATH="$watcher" LD_PRELOAD="$watcher" \
    "$bundle/apps/benchmark" --device cuda --models "$models" --dtypes bf16 --batch 128 --tune 1 --steps "$steps"
  "$python" "$here/kernels.py" "$work/times" >"$work/kernels" 2>&1 || true
}

step versions 10 bash "$here/versions.sh" "$bundle"
for stage in "${stages[@]}"; do
  share_end=$end
  "${stage}_stage"
done

write_summary
cat "$results/summary.txt"
! grep -q '^FAIL' "$work/steps"
