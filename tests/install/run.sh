#!/usr/bin/env bash
# Installs a build into a folder with a space in its name, builds the program in this folder against that copy, by
# CMake and by pkg-config, and runs it and an installed program.
#   bash tests/install/run.sh BUILD_FOLDER VERSION COMPILER
set -euo pipefail
build=$1
version=$2
compiler=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() { echo "install: $*" >&2; exit 1; }
expect() {  # WHAT FOUND WANTED
  [ "$2" = "$3" ] || die "$1 says '$2', expected '$3'"
}
wanted="generous $version, learns, cifar10"

cmake --install "$build" --prefix "$work/first place" >"$work/log" || { cat "$work/log"; exit 1; }
# What is installed knows no place: neither where it was built nor where it was first.
prefix="$work/a folder"
mv "$work/first place" "$prefix"
! grep -rlIF -e "$build" -e "$work" "$prefix" || die "these files name folders of the build"

cmake -S "$here" -B "$work/by cmake" -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1 &&
  cmake --build "$work/by cmake" >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
expect "the program built by CMake" "$("$work/by cmake/user")" "$wanted"
flags=$(grep '"command"' "$work/by cmake/compile_commands.json")
[[ $flags == *" -std="*"++20 "* ]] || die "C++20 is not propagated: $flags"
for forced in -march -W -fopenmp -O -fsanitize "/eigen"; do
  [[ $flags != *" $forced"* ]] || die "users are made to compile with $forced: $flags"
done

export PKG_CONFIG_PATH="$prefix/lib/pkgconfig:$(dirname "$(find "$prefix" -name generous.pc)")"
expect pkg-config "$(pkg-config --modversion generous)" "$version"
# eval, because pkg-config answers in words of a shell: a space in a name is behind a backslash.
eval "'$compiler' -std=c++20 -I'$here' '$here/main.cpp' -o '$work/user' $(pkg-config --cflags --libs generous)"
expect "the program built by pkg-config" "$("$work/user")" "$wanted"
eval "'$compiler' -std=c++17 -fsyntax-only -I'$here' '$here/main.cpp' $(pkg-config --cflags generous)" 2>"$work/log" && die "C++17 will do"
grep -q "generous needs C++20" "$work/log" || die "C++17: not told what is needed"

expect "generous --version" "$("$prefix/bin/generous" --version)" "generous $version"
expect "generous info --version" "$("$prefix/bin/generous" info --version)" "info (generous) $version"
ln -s "$prefix/bin/generous" "$work/by another name"
"$work/by another name" train_kd --list methods | grep -q '^ *dkd' || die "an installed train_kd does not list its methods"
code=0
said=$("$prefix/bin/generous" trian 2>&1) || code=$?
help=${said#*trian; } help=${help% lists them}
expect "an unknown program" "$code $said" "2 generous: there is no program trian; $help lists them"
[[ $(bash -c "$help") == *train_kd* ]] || die "the advised $help does not list the programs"
[ "$(PATH=$prefix/bin:$PATH generous trian 2>&1)" = "generous: there is no program trian; generous --help lists them" ] || die "it does not know that it is in PATH"
said=$("$prefix/bin/generous" preview cifar10 --data_dir "$work/no images" 2>&1) || true
expect "a missing dataset" "$said" "preview: $work/no images: no such file or folder; \`'$prefix/libexec/generous/download' cifar10 '$work/no images'\` gets this dataset"
