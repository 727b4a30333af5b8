#!/usr/bin/env bash
# The whole method on real images, in minutes: on a tenth of Fashion-MNIST, a standard teacher, a generous teacher, and the
# same small student three times: alone, taught by the standard teacher, taught by the generous one; all of it with two
# seeds. Ends with tables, and a page to look at. The same command goes on where it was stopped.
#   bash apps/demo.sh [ARGUMENT ...]     arguments of apps/compare/run.sh, such as --runs FOLDER
set -euo pipefail
compare=$(dirname "${BASH_SOURCE[0]}")/compare
bash "$compare/run.sh" "$compare/grids/demo.yaml" "$@"
[[ " $* " =~ " "(--dry-run|--status|--help|-h)" " ]] && exit
cat <<'TEXT'

What this shows: with few images, a small student gains from a teacher, whichever it is. What it does not show: which
teacher is the better one: two seeds of so short a training cannot tell (README, apps/compare/studies/demo: five seeds).
TEXT
