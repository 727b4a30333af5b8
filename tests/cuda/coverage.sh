#!/usr/bin/env bash
# Which lines of cuda/ the emulated suites run: builds them with gcov's counters in a folder of their own, runs
# them, prints the line coverage of every file of cuda/ and the lines that nothing ran. Exits 1 where a suite fails
# or less than 97 % of all lines ran.
#   bash tests/cuda/coverage.sh [BUILD_FOLDER]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:-build-coverage}
options=(-DGENEROUS_CUDA=EMULATED -DGENEROUS_CUDA_COVERAGE=ON)
[ -f "$build/CMakeCache.txt" ] || options+=(-G Ninja)
command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake -S . -B "$build" "${options[@]}"
cmake --build "$build" --target cuda_suites
find "$build" -name '*.gcda' -delete # what earlier runs counted
ctest --test-dir "$build" --output-on-failure --label-regex '^(cuda|emulation)$'

# A line of a template or of a header belongs to many objects: it ran if it ran in one of them.
find "$build" -name '*.gcno' -print0 | xargs -0 gcov --json-format --stdout | python3 -c '
import json, os, sys

lines = {}  # by file: line -> how often it ran
for report in filter(None, map(str.strip, sys.stdin)):
    report = json.loads(report)
    for file in report["files"]:
        path = os.path.normpath(os.path.join(report["current_working_directory"], file["file"]))
        path = os.path.relpath(path)
        if not path.startswith("cuda/"):
            continue
        counts = lines.setdefault(path, {})
        for line in file["lines"]:
            number = line["line_number"]
            counts[number] = counts.get(number, 0) + line["count"]

def report(name, counts, missed=""):
    ran = sum(count > 0 for count in counts)
    share = 100.0 * ran / len(counts)
    print(f"{name:32} {ran:5} of {len(counts):5} lines {share:6.1f} %  {missed}".rstrip())
    return share

for path, counts in sorted(lines.items()):
    if counts:
        report(path, counts.values(), ", ".join(str(n) for n, count in sorted(counts.items()) if count == 0))
total = report("all of cuda/", [count for counts in lines.values() for count in counts.values()])
sys.exit(total < 97.0)
'
