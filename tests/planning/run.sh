#!/usr/bin/env bash
# Has the installed cuDNN plan the models' convolutions for the GPUs described here, none of which need be there.
#   bash tests/planning/run.sh FOLDER                 every model
#   bash tests/planning/run.sh FOLDER MODEL...        these models
#   bash tests/planning/run.sh FOLDER --compile ...   also makes the kernels that cuDNN compiles for a plan: hours for all
# FOLDER holds the programs: build/tests. Exits 1 if a convolution has no plan.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs=$1
shift
compile=()
if [ "${1:-}" = --compile ]; then
  compile=(--compile)
  shift
fi
"$programs/convolutions_of_models" "$@" |
  "$programs/plan_convolutions" "${compile[@]}" "$here/h100.json" "$here/a100.json"
