#!/usr/bin/env bash
# load.sh LIBRARY FOLDER COMPILER: the library can be loaded while a program runs, from C and from Python, and asks for
# so little of the loader's reserve of thread-local memory (some 1.5 KiB for all of a program's plugins) that others fit.
set -euo pipefail
library=$1 folder=$2 compiler=$3
mkdir -p "$folder"
"$compiler" -x c "$(dirname "${BASH_SOURCE[0]}")/load.c" -o "$folder/load" -ldl
"$folder/load" "$library"
if command -v python3 >/dev/null; then
  python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$library"
fi
bytes=$(($(readelf -lW "$library" | awk '$1 == "TLS" { print $6 }')))
[ "$bytes" -le 384 ] || { echo "$bytes bytes of thread_local variables"; exit 1; }
