#!/usr/bin/env bash
# static.sh FOLDER COMPILER INCLUDES OBJECT...: links static.cc with an archive of the library's objects;
# fails where the program then holds ops that it does not call.
set -euo pipefail
folder=$1 compiler=$2 includes=$3
shift 3
source=$(dirname "${BASH_SOURCE[0]}")/static.cc
mkdir -p "$folder"
rm -f "$folder/libgradus.a"
ar qcs "$folder/libgradus.a" "$@"
"$compiler" -std=c++20 -I"$includes" "$source" "$folder/libgradus.a" -lfmt -lz -lpthread -ldl -o "$folder/program"
ops=$("$folder/program")
for op in square sum; do grep -qx $op <<<"$ops" || { echo "the program lacks $op"; exit 1; }; done
for op in attention lstm batch_norm layer_norm conv2d cross_entropy; do
  if grep -qx $op <<<"$ops"; then echo "the program holds $op, which it does not call"; exit 1; fi
done
