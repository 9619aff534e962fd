#!/usr/bin/env bash
# check_includes.sh TREE: fails where an include points against the arrows of docs/design.md, section 1, or from a
# header that is installed to one that is not.
set -euo pipefail

# A room, and the rooms that it may include beside itself. Each may name only rooms above it, so there is
# no circle. A folder `detail` belongs to the room that it lies in.
arrows='
base
kernels/runtime: base
kernels/vector:
kernels/elementwise: base kernels/runtime kernels/vector
kernels/reduce: base kernels/runtime kernels/vector
kernels/index: base kernels/runtime
kernels/gemm: base kernels/runtime kernels/vector
kernels/softmax: base kernels/runtime kernels/vector
kernels/norm: base kernels/runtime kernels/vector
kernels/pooling: base kernels/runtime kernels/vector kernels/reduce
kernels/update: kernels/runtime
kernels/conv: base kernels/runtime kernels/vector kernels/gemm kernels/reduce
kernels/attention: base kernels/runtime kernels/vector kernels/gemm kernels/softmax
kernels/rnn: base kernels/runtime kernels/vector kernels/gemm kernels/reduce
tensor: base kernels/runtime kernels/elementwise kernels/index
autograd: base tensor
autograd/ops: base tensor autograd kernels/*
autograd/functional: base tensor autograd autograd/ops
layers: base tensor autograd autograd/ops
optim: base tensor autograd kernels/reduce kernels/update kernels/vector
models: base tensor autograd autograd/ops layers
gradcheck: base tensor autograd autograd/ops autograd/functional layers
data: base tensor
training: base tensor autograd autograd/ops layers optim models data
samples/ops: base tensor autograd autograd/ops autograd/functional gradcheck kernels/elementwise
samples/modules: base tensor autograd autograd/ops layers models gradcheck
'

# Installed, but for what lies in a folder `detail`.
public=$(sed -n 's/^set(public_folders \(.*\))/\1/p' "$1/cmake/library.cmake")

# room PATH: the room that a file lies in, by its path from the root.
room() {
  local folder=${1%/*}
  echo "${folder%/detail}"
}

# violations ROOT
violations() (
  set -f # no * is a file's name here
  local root=$1 line from allowed where what to known=' ' room_list
  while IFS= read -r line; do
    from=${line%%:*} allowed=
    [ "$line" = "$from" ] || allowed=${line#*:}
    for to in $allowed; do
      case $to in *'*') ;; *) [[ $known == *" $to "* ]] || echo "the list: $from names $to, which does not stand above it" ;; esac
    done
    known+="$from "
    [ -d "$root/$from" ] || continue
    room_list=" $from $allowed "
    while IFS=: read -r where what; do
      what=${what#*\<gradus/}
      to=$(room "${what%%>*}")
      [[ $room_list == *" $to "* ]] ||
        [[ $room_list == *" ${to%%/*}/* "* ]] || echo "${where#"$root/"} includes $to"
    done < <(find "$root/$from" -maxdepth 1 -type f -print0 | xargs -0 -r grep -H '#include <gradus/' || true
             find "$root/$from/detail" -type f -print0 2>/dev/null | xargs -0 -r grep -H '#include <gradus/' || true)
  done < <(grep . <<<"$arrows")
  while IFS=: read -r where what; do
    what=${what#*\<gradus/}
    echo "$where is installed, ${what%%>*} is not"
  done < <(cd "$root" && find $public -name '*.h' -not -path '*/detail/*' -print0 2>/dev/null |
             xargs -0 -r grep -HE '#include <gradus/(kernels/|.*/detail/)' || true)
  # Every source of the library lies in a room of the list.
  while IFS= read -r where; do
    [[ $known == *" $(room "${where#"$root/"}") "* ]] || echo "${where#"$root/"} lies in no room"
  done < <(find "$root"/{base,kernels,tensor,autograd,layers,optim,models,gradcheck,data,training,samples} -name '*.h' -o -name '*.cc' 2>/dev/null)
)

# It must be able to fail.
sample=$(mktemp -d)
trap 'rm -rf "$sample"' EXIT
mkdir -p "$sample"/{kernels/{conv,gemm,other},autograd/{detail,ops/detail},tensor}
echo '#include <gradus/kernels/conv/conv.h>' >"$sample/kernels/gemm/bad.cc"
echo '#include <gradus/kernels/gemm/gemm.h>' >"$sample/kernels/conv/good.cc"
echo '#include <gradus/layers/module.h>' >"$sample/autograd/detail/bad.h"
echo '#include <gradus/autograd/tape.h>' >"$sample/tensor/bad.cc"
echo '#include <gradus/kernels/conv/conv.h>' | tee "$sample"/autograd/ops/{bad.h,good.cc,detail/good.h} >/dev/null
echo '#include <gradus/autograd/ops/detail/good.h>' >"$sample/autograd/ops/also_bad.h"
touch "$sample/kernels/other/homeless.h"
[ "$(violations "$sample" | wc -l)" -eq 6 ] || {
  echo "the check does not see a wrong include:"
  violations "$sample"
  exit 1
}

found=$(violations "$1")
if [ -n "$found" ]; then
  echo "includes against the arrows of docs/design.md:"
  echo "$found"
  exit 1
fi
