#!/usr/bin/env bash
# run.sh installed|subdirectory SOURCE BUILD GENERATOR: builds and runs the project in this folder.
set -euo pipefail
way=$1 source=$2 build=$3 generator=$4
work=$build/consumer-$way
mkdir -p "$work"
options=(-G "$generator" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=) # the fastest to compile
command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
if [ "$way" = installed ]; then
  rm -rf "$work/prefix"
  cmake --install "$build" --prefix "$work/prefix" >/dev/null
  options+=("-DCMAKE_PREFIX_PATH=$work/prefix")
else
  options+=("-DGRADUS_SOURCE=$source")
fi
cmake -S "$source/tests/consumer" -B "$work/build" "${options[@]}" >/dev/null
cmake --build "$work/build" --parallel 2 --target my_program >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/build/my_program"
