#!/usr/bin/env bash
# static.sh FOLDER COMPILER INCLUDES PC-FILE PROGRAM OBJECT... -- OBJECT...: with an archive of the library's objects, the
# first, links static.cc and the lesson on deployment by the flags of the pkg-config file, and the program's objects, the second. What a user's program
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
small() {
  strip "$1"
  size=$(stat -c %s "$1")
  [ "$size" -lt 4000000 ] || { echo "$1 has $size bytes"; exit 1; }
}
small "$folder/program"

# The lesson's program answers from a file that it wrote, and has the library in it.
"$compiler" -std=c++20 -O2 "$(dirname "$source")/../../examples/17_deployment.cc" "${flags[@]}" -o "$folder/deployed"
small "$folder/deployed"
(cd "$folder" && ./deployed >trained 2>log) || { cat "$folder/log"; exit 1; }
! readelf -dW "$folder/deployed" | grep -F 'libgradus.so' || { echo "the program needs the library's file"; exit 1; }
for ((i = 0; i < 128; ++i)); do echo 0.5; done >"$folder/images"
"$folder/deployed" "$folder/17_deployment.safetensors" <"$folder/images" >"$folder/answers" 2>"$folder/log"
[ "$(grep -cE '^[0-9]  0\.[0-9]{3}$' "$folder/answers")" = 2 ] || { cat "$folder/answers" "$folder/log"; exit 1; }
if "$folder/deployed" "$folder/none" <"$folder/images" 2>"$folder/log"; then echo "it answers without weights"; exit 1; fi
grep -q 'none: cannot be opened' "$folder/log" || { cat "$folder/log"; exit 1; }

"$compiler" "$@" "-Wl,--whole-archive,$libdir/libgradus.a,--no-whole-archive" "${flags[@]}" -o "$folder/gradus"
checked() { "$1" gradcheck --order 1 --json | grep -v '"seconds":'; }
checked "$program" >"$folder/shared"
checked "$folder/gradus" >"$folder/static"
cmp "$folder/shared" "$folder/static"
