#!/usr/bin/env bash
# Feeds every parser with anything: builds the fuzz targets (Clang's libFuzzer with AddressSanitizer and
# UndefinedBehaviorSanitizer) in build-fuzz and runs them, as many at once as there are cores.
#   bash tests/fuzz/run.sh SECONDS [TARGET ...]      each target that long; every file NAME.cpp here is a target
#   bash tests/fuzz/run.sh INPUTSx [TARGET ...]      each target for so many inputs, such as 10000000x
# Prints a line for each: inputs, inputs a second, coverage (edges of the program), inputs kept, findings. Exits 1 after
# a finding, with the file and how to reproduce it. A target starts from tests/fuzz/corpus/NAME (NAME_stb: likewise) and
# from what earlier runs kept in build-fuzz/corpus/NAME. An input that takes 5 s or 1 GiB is a finding.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
usage="usage: bash tests/fuzz/run.sh SECONDS|INPUTSx [TARGET ...]"
amount=${1:?$usage}
shift
case $amount in
  *[!0-9x]* | *x?* | x) echo "$usage" >&2 && exit 2 ;;
  *x) limit=(-runs="${amount%x}") ;;
  *) limit=(-max_total_time="$amount") ;;
esac
build=build-fuzz
targets=("$@")
if [ $# -eq 0 ]; then
  for source in tests/fuzz/*.cpp; do
    name=$(basename "$source" .cpp)
    [ "$name" = setup ] || targets+=("$name")
  done
fi
for name in "${targets[@]}"; do
  [ -f "tests/fuzz/$name.cpp" ] && [ "$name" != setup ] || { echo "fuzz: no target $name; $usage" >&2; exit 2; }
done

# Without oneDNN and GPU, and for any x86-64 of the last ten years: no parser needs more, and it builds faster.
bash apps/setup.sh "$build" "$(printf 'fuzz_%s ' "${targets[@]}")" -DGENEROUS_FUZZ=ON -DGENEROUS_TESTS=OFF \
  -DCMAKE_CXX_COMPILER=clang++ -DGENEROUS_ARCH=x86-64-v3 -DGENEROUS_ONEDNN=OFF -DGENEROUS_CUDA=OFF -DGENEROUS_UNITY=ON

# The parsers' files are in memory, where there is such a folder.
scratch=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/generous-fuzz-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$build/findings" "$build/logs"

fuzz() {  # TARGET LIBFUZZER_OPTION...: runs it and prints its line; 1 after a finding
  local name=$1 log=$build/logs/$1.log options=("${@:2}")
  mkdir -p "$build/corpus/$name"
  [ -f "tests/fuzz/$name.dict" ] && options+=(-dict="tests/fuzz/$name.dict")
  # Speed: no stack of every allocation (who reproduces a finding gets them), a fixed weight of kept inputs, and the
  # programs' notes go nowhere; the reports do not go through standard error.
  ASAN_OPTIONS=malloc_context_size=0:quarantine_size_mb=16 TMPDIR=$scratch "$build/tests/fuzz/fuzz_$name" \
    "${options[@]}" -entropic=0 -close_fd_mask=3 -print_final_stats=1 -max_len=4096 -timeout=5 -rss_limit_mb=1024 \
    -malloc_limit_mb=256 -artifact_prefix="$build/findings/$name-" "$build/corpus/$name" \
    "tests/fuzz/corpus/${name%_stb}" >"$log" 2>&1
  local code=$? finding
  statistic() { sed -n "s/^stat::$1: *//p" "$log"; }
  last() { sed -n "s/.*\b$1: \([0-9]*\).*/\1/p" "$log" | tail -n 1; }
  local outcome="A FINDING"
  finding=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
  [ -n "$finding" ] || outcome="ENDED EARLY"  # it did not start, or was stopped
  [ $code -ne 0 ] || outcome="no finding"
  printf '%-14s %10s inputs  %7s /s  %6s edges  %5s kept  %4s MB  %s\n' "$name" \
    "$(statistic number_of_executed_units)" "$(statistic average_exec_per_sec)" "$(last cov)" \
    "$(find "$build/corpus/$name" -type f | wc -l)" "$(statistic peak_rss_mb)" "$outcome"
  [ $code -eq 0 ] && return
  grep -m 1 -E 'ERROR:|runtime error:|a promise is broken:|DEADLYSIGNAL' "$log" || tail -n 3 "$log"
  echo "  report: $log${finding:+; again: $build/tests/fuzz/fuzz_$name $finding}"
  return 1
}
export -f fuzz
export build scratch
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz "$@"' fuzz {} "${limit[@]}" || exit 1
