#!/usr/bin/env bash
# Has the installed cuDNN plan the models' convolutions for the GPUs described here, none of which need be there.
#   bash tests/planning/run.sh FOLDER            four networks: plain, strided, grouped and depthwise convolutions
#   bash tests/planning/run.sh FOLDER all        every model, and kernels that are compiled for a plan: hours
#   bash tests/planning/run.sh FOLDER MODEL...   these models
# FOLDER holds the programs: build/tests. Exits 1 if a convolution has no plan.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs=$1
shift
compile=()
if [ $# -eq 0 ]; then
  set -- resnet18 preresnet20 wrn_16_2 shufflev2
elif [ "$*" = all ]; then
  set --
  compile=(--compile)
fi
"$programs/convolutions_of_models" "$@" |
  "$programs/plan_convolutions" "${compile[@]}" "$here/h100.json" "$here/a100.json"
