#!/usr/bin/env bash
# static.sh FOLDER COMPILER INCLUDES PC-FILE PROGRAM OBJECT... -- OBJECT...: with an archive of the library's objects, the
# first, links static.cc by the flags of the pkg-config file, and the program's objects, the second. What a user's program
# does not call it does not hold; the program checks what PROGRAM, the shared one, checks, with the same results.
set -euo pipefail
folder=$1 compiler=$2 includes=$3 pc=$4 program=$5
shift 5
source=$(dirname "${BASH_SOURCE[0]}")/static.cc
objects=()
while [ "$1" != -- ]; do objects+=("$1"); shift; done
shift

# As installed.
rm -rf "$folder"
libdir=$folder/prefix/$(sed -n 's,^libdir=${prefix}/,,p' "$pc")
mkdir -p "$libdir/pkgconfig"
cp "$pc" "$libdir/pkgconfig"
ln -s "$includes" "$folder/prefix/include"
ar qcs "$libdir/libgradus.a" "${objects[@]}"
export PKG_CONFIG_PATH=$libdir/pkgconfig
if command -v pkg-config >/dev/null; then
  read -ra flags <<<"$(pkg-config --static --cflags --libs gradus)"
else
  flags=(-I"$includes" -L"$libdir" -lgradus -lfmt -lz -ldl -pthread)
fi

"$compiler" -std=c++20 "$source" "${flags[@]}" -o "$folder/program"
ops=$("$folder/program")
for op in square sum; do grep -qx $op <<<"$ops" || { echo "the program lacks $op"; exit 1; }; done
for op in attention lstm batch_norm layer_norm conv2d cross_entropy; do
  if grep -qx $op <<<"$ops"; then echo "the program holds $op, which it does not call"; exit 1; fi
done
strip "$folder/program"
size=$(stat -c %s "$folder/program")
[ "$size" -lt 4000000 ] || { echo "the program has $size bytes"; exit 1; }

"$compiler" "$@" "-Wl,--whole-archive,$libdir/libgradus.a,--no-whole-archive" "${flags[@]}" -o "$folder/gradus"
checked() { "$1" gradcheck --order 1 --json | grep -v '"seconds":'; }
checked "$program" >"$folder/shared"
checked "$folder/gradus" >"$folder/static"
cmp "$folder/shared" "$folder/static"
