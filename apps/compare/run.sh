#!/usr/bin/env bash
# Runs a grid of teachers, students, methods and seeds to its end, and writes its tables and its page; the same command
# goes on where it was stopped.
#   bash apps/compare/run.sh GRID.yaml [--runs FOLDER] [--cores N] [--dry-run | --status] [-- SNAKEMAKE_ARGUMENT ...]
# It installs what is missing with apt where that is allowed, builds, and fetches Fashion-MNIST if a grid asks for it.
set -euo pipefail
export LC_ALL=C.UTF-8
compare=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$compare/../.." && pwd)

usable() { "$1" -c 'import yaml, pandas, scipy, matplotlib, jinja2' >/dev/null 2>&1; }

if [ $# -gt 0 ] && [[ ! " $* " =~ " "(--status|--help|-h)" " ]]; then
  programs="train_standard train_generous train_kd evaluate predict"
  { usable python3 && command -v snakemake >/dev/null; } && targets=$programs || targets="compare"
  bash "$checkout/apps/setup.sh" "$checkout/build" "$targets"
fi
python=python3
usable python3 || python=/usr/bin/python3  # another Python before Debian's, without its packages
exec "$python" -B "$compare/run.py" "$@"
