#!/usr/bin/env bash
# Kills, full and failing disks, read-only folders and second writers, on the real programs: nothing that was saved is
# lost, and a resumed run equals an uninterrupted one to the bit (weights, state, metrics without their times).
#   bash tests/faults/run.sh KILLS [SEED]
# KILLS signals (most of them SIGKILL) at random times, drawn from SEED (printed; default: a new one), during all three
# stages, also while the cache of decoded images is written. Then the calls by which a save changes the run's folder, and
# those that write the cache, fail one by one or end the program (failing_calls.cpp), each followed by a resume: from 50
# kills on (the long form, some minutes) every call of every stage in every way; otherwise some of one stage. Prints a
# line of figures each; exits 1 at the first thing that does not hold, says what, and keeps the folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
kills=${1:?usage: bash tests/faults/run.sh KILLS [SEED]}
seed=${2:-$RANDOM}
build=build
bash apps/setup.sh "$build" "train_standard train_generous train_kd failing_calls"
folder=$(mktemp -d "${TMPDIR:-/tmp}/generous-faults-XXXXXX")
echo "faults: seed $seed"
if ! python3 -B tests/faults/faults.py --build "$build" --folder "$folder" --kills "$kills" --seed "$seed"; then
  echo "faults: the files are in $folder; again: bash tests/faults/run.sh $kills $seed" >&2
  exit 1
fi
rm -rf "$folder"
