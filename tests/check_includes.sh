#!/usr/bin/env bash
# Fails where an include points against the arrows of docs/design.md, section 1.
set -euo pipefail

# check FOLDER ALLOWED...: files in FOLDER include <gradus/X/...> only for X in ALLOWED.
check() {
  local root=$1 folder=$2 allowed=$3
  [ -d "$root/$folder" ] || return 0
  grep -rnE '#include <gradus/' --include='*.h' --include='*.cc' "$root/$folder" |
    grep -vE "#include <gradus/($allowed)/" || true
}

violations() {
  local root=$1
  check "$root" tensor 'tensor'
  grep -rnE '#include <gradus/' --include='*.h' --include='*.cc' "$root/tensor/kernels" 2>/dev/null |
    grep -vE '<gradus/tensor/(kernels/.*|error\.h)>' || true
  check "$root" autograd 'tensor|autograd'
  check "$root" layers 'tensor|autograd|layers'
  check "$root" optim 'tensor|autograd|layers|optim'
  check "$root" models 'tensor|autograd|layers|models'
  check "$root" data 'tensor|data'
}

# It must be able to fail.
sample=$(mktemp -d)
trap 'rm -rf "$sample"' EXIT
mkdir -p "$sample/tensor/kernels"
echo '#include <gradus/autograd/tape.h>' >"$sample/tensor/bad.cc"
echo '#include <gradus/tensor/tensor.h>' >"$sample/tensor/kernels/bad.cc"
[ "$(violations "$sample" | sort -u | wc -l)" -eq 2 ] || { echo "the check does not see a wrong include"; exit 1; }

found=$(violations "$1" | sort -u)
if [ -n "$found" ]; then
  echo "includes against the arrows of docs/design.md:"
  echo "$found"
  exit 1
fi
