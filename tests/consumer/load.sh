#!/usr/bin/env bash
# load.sh LIBRARY INCLUDES FOLDER COMPILER: the library can be loaded while a program runs, from C, from Python and by a
# plugin, which may be let go and loaded again. It asks for so little of the loader's reserve of thread-local memory (some
# 1.5 KiB for all of a program's plugins) that others fit.
set -euo pipefail
library=$1 includes=$2 folder=$3 compiler=$4
here=$(dirname "${BASH_SOURCE[0]}")
mkdir -p "$folder"
"$compiler" -x c "$here/load.c" -o "$folder/load" -ldl -pthread
"$compiler" -std=c++20 -shared -fPIC -I"$includes" "$here/plugin.cc" "$library" -lfmt -o "$folder/plugin.so" -Wl,-rpath,"$(dirname "$library")"
"$folder/load" "$library" "$folder/plugin.so"
if command -v python3 >/dev/null; then
  python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1]); assert ctypes.CDLL(sys.argv[2]).works()' "$library" "$folder/plugin.so"
fi
bytes=$(($(readelf -lW "$library" | awk '$1 == "TLS" { print $6 }')))
[ "$bytes" -le 384 ] || { echo "$bytes bytes of thread_local variables"; exit 1; }
# Its threads run until the process ends.
readelf -dW "$library" | grep NODELETE >/dev/null || { echo "the library can be unloaded"; exit 1; }
