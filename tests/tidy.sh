#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy) on the sources that differ from what main had when this branch left it, committed or not.
#   bash tests/tidy.sh [BASE]      by default main; BASE may be any commit
# It reads how things are compiled from build/compile_commands.json: bash apps/setup.sh makes it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
base=$(git merge-base "${1:-main}" HEAD)
command -v clang-tidy >/dev/null || { echo "tidy.sh: there is no clang-tidy: install the package clang-tidy" >&2; exit 1; }
[ -f build/compile_commands.json ] || { echo "tidy.sh: nothing is configured in build: bash apps/setup.sh" >&2; exit 1; }

# Headers, and the sources that this build compiles.
mapfile -t files < <({ git diff --name-only --diff-filter=d "$base" -- '*.cpp' '*.h'
                       git ls-files --others --exclude-standard -- '*.cpp' '*.h'; } |
  while read -r file; do
    if [[ "$file" == *.h ]] || grep -q "/$file\"" build/compile_commands.json; then echo "$file"; fi
  done | sort -u)
[ ${#files[@]} -gt 0 ] || { echo "tidy.sh: no source differs from $base"; exit; }
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy --quiet -p build 2> >(grep -v 'warnings generated' >&2)
echo "tidy.sh: ${#files[@]} files, nothing found"
