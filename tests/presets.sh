#!/usr/bin/env bash
# Every preset of CMakePresets.json configures; that of CUDA where there is nvcc.
#   bash tests/presets.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
presets=$(cmake --list-presets=configure | sed -n 's/^ *"\([a-z]*\)".*/\1/p')
[ -n "$presets" ] || { echo "presets: there are none" >&2; exit 1; }
for preset in $presets; do
  if [ "$preset" = cuda ] && ! command -v nvcc >/dev/null && [ ! -x /usr/local/cuda/bin/nvcc ]; then
    echo "$preset: not tried without nvcc"
    continue
  fi
  cmake --preset "$preset" -B "$work/$preset" >"$work/log" 2>&1 || { echo "$preset:"; cat "$work/log"; exit 1; } >&2
  echo "$preset: configures"
done
