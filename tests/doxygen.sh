#!/usr/bin/env bash
# Makes pages of the public headers, build/doxygen/html/index.html, and fails where Doxygen has a warning (Doxyfile).
#   bash tests/doxygen.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v doxygen >/dev/null || { echo "doxygen.sh: there is no doxygen: install the package doxygen" >&2; exit 1; }
mkdir -p build/doxygen
doxygen Doxyfile
echo "build/doxygen/html/index.html"
