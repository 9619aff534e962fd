#!/usr/bin/env bash
# run.sh installed|subdirectory SOURCE BUILD GENERATOR COMPILER: builds and runs the project in this folder.
set -euo pipefail
way=$1 source=$2 build=$3 generator=$4 compiler=$5
work=$build/consumer-$way
prefix=$work/prefix
mkdir -p "$work"
options=(-G "$generator" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG= "-DCMAKE_CXX_COMPILER=$compiler") # the fastest to compile
command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)

# What is installed is what a user may include: each header alone, and none of our insides.
check_headers() {
  local inside
  inside=$(find "$prefix/include" \( -path '*/kernels*' -o -path '*/detail*' \) -print)
  [ -z "$inside" ] || { echo "installed, and not for users: $inside"; return 1; }
  (cd "$prefix/include" && find gradus -name '*.h' -print0) | compiler=$compiler prefix=$prefix xargs -0 -P 2 -I{} sh -c \
    'echo "#include <{}>" | "$compiler" -x c++ -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" - ||
     { echo "{} does not compile alone"; exit 1; }'
}

case $way in
  installed)
    rm -rf "$prefix"
    cmake --install "$build" --prefix "$prefix" >/dev/null
    check_headers
    options+=("-DCMAKE_PREFIX_PATH=$prefix") ;;
  subdirectory) options+=("-DGRADUS_SOURCE=$source") ;;
esac
cmake -S "$source/tests/consumer" -B "$work/build" "${options[@]}" >/dev/null
cmake --build "$work/build" --parallel 2 --target my_program >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/build/my_program"
