#!/usr/bin/env bash
# run.sh with programs that pass, fail, crash and hang, and with one suite of this build: what it says of each, that it
# ends in time, and that it leaves no process behind.
#   bash tests/gpu/run_test.sh SUITE      a suite of the CUDA backend on its emulation, such as build/tests/cuda_memory
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
suite=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bundle=$folder/generous-gpu
mark=generous-gpu-test-$$-$RANDOM
failed=0

program() {  # PATH TEXT: a program of the bundle
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$bundle/$1"
  chmod +x "$bundle/$1"
}

# Packs the bundle and runs it; the page is in $folder/results.
run() {  # EXIT_CODE SECONDS
  local code=0 begin=$SECONDS
  tar cJf "$folder/archive.tar.xz" -C "$folder" generous-gpu
  GENEROUS_GPU_SECONDS=$2 PATH=$folder/bin:$PATH bash "$here/run.sh" "$folder/archive.tar.xz" "$folder/results" \
    >"$folder/out" 2>&1 || code=$?
  [ "$code" = "$1" ] || { echo "exit code $code, not $1"; cat "$folder/out"; failed=1; }
  [ $((SECONDS - begin)) -le $(($2 + 12)) ] || { echo "it took $((SECONDS - begin)) s"; failed=1; }
  if grep -qsz "$mark" /proc/[0-9]*/cmdline; then echo "a process is left"; failed=1; fi
}

says() {  # REGEX: in a line of the page
  grep -qE "$1" "$folder/results/summary.txt" ||
    { echo "the page does not say: $1"; cat "$folder/results/summary.txt"; failed=1; }
}

mkdir -p "$bundle"/{apps,tests,lib} "$folder/bin"
echo "emulated of-the-test" >"$bundle/kind"
cp "$suite" "$bundle/tests/cuda_memory"
program tests/cuda_edges '
echo "==========================="
echo "TEST CASE:  every length"
echo
echo "edges_test.cpp:77: ERROR: CHECK( worst < 1e-5 ) is NOT correct!"
echo "  values: CHECK( 0.25 <  1e-5 )"
echo "[doctest] test cases: 7 | 6 passed | 1 failed | 0 skipped"
exit 1'
program tests/cuda_data 'echo "cuda_data: error while loading shared libraries: libx.so.9: cannot open"; exit 127'
program tests/cuda_channels 'kill -SEGV $$'
program apps/benchmark '
if [ -n "${GENEROUS_KERNEL_TIMES:-}" ]; then cp "$(dirname "$0")/../times.csv" "$GENEROUS_KERNEL_TIMES/7.csv"; exit; fi
case "$*" in
  *"--limit 1"*) echo "convolution alone"; echo "a table of ops" ;;
  *"--dtypes bf16"*) echo "{\"model\": \"resnet8\", \"stage\": \"standard\", \"batch\": 4, \"images_per_s\": 1234.5}" ;;
  *) echo "benchmark: error: cuBLAS said no"; exit 1 ;;
esac'
cp "$(ldd "$suite" | awk '/libm\.so/ { print $3 }')" "$bundle/lib/libkernel_times.so"  # of those that do nothing by themselves
cat >"$bundle/times.csv" <<'TIMES'
begin_ns,end_ns,blocks,threads,registers,name
0,9000,4,256,20,"void generous::cuda::a_kernel<float, 4>(Plane, int)"
9000,9500,4,256,20,"generous::cuda::(anonymous namespace)::sgd(Table)"
10000,13000,4,256,20,"void generous::cuda::a_kernel<float, 4>(Plane, int)"
12000,14000,8,256,30,"generous::cuda::(anonymous namespace)::sgd(Table)"
14000,19000,4,256,20,"void generous::cuda::a_kernel<float, 4>(Plane, int)"
TIMES
printf '#!/bin/sh\necho "========= ERROR SUMMARY: 0 errors"\n' >"$folder/bin/compute-sanitizer"
chmod +x "$folder/bin/"*
run 1 60
says '^pass  versions .* the emulation$'
says '^pass  cuda_memory .* [0-9]+ test cases$'
says '^FAIL  cuda_edges .* exit code 1: every length \| CHECK\( worst < 1e-5 \) is NOT correct! \| values: CHECK\( 0.25 < 1e-5 \)$'
says '^FAIL  cuda_data .* exit code 127: .*libx.so.9'
says '^FAIL  cuda_channels .* killed by SIGSEGV: '
says '^pass  ours bf16 4 tune 0 .* 1 measurements$'
says '^FAIL  ours tf32 4 tune 1 .* cuBLAS said no$'
says '^resnet8 +bf16 +4 +1234 +- '
says '^skip  pytorch '
says '^pass  racecheck channels '
says '^memcheck edges: ERROR SUMMARY: 0 errors$'
says '^a table of ops$'
if command -v python3 >/dev/null; then
  says '^one of 1 steps: 2 kernels, 4.0 us, 0.5 us idle between them$'
  says '^ +1 +3.0 +75.0 % +20 +4  a_kernel<float, 4>$'
fi
[[ $(tar tzf "$folder/results/logs.tar.gz") == *logs/cuda_edges.log* ]] || { echo "no logs"; failed=1; }

# One that does not end, nor lets itself be asked to, and neither does what it started.
program tests/cuda_memory "trap '' TERM
bash -c \"trap '' TERM; while :; do sleep 0.1; done\" $mark-child & sleep 1000 # $mark
while :; do sleep 0.1; done"
rm "$bundle/tests/cuda_edges"
run 1 4
says '^FAIL  cuda_memory .* stopped after [0-9]+ s: it said nothing$'
says '^skip  convolutions .* no time left$'
exit "$failed"
