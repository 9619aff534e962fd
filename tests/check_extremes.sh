#!/usr/bin/env bash
# Fails for a public function or constructor that takes a number or a shape and is not named in the
# table of extreme arguments, tests/autograd/test_extremes.cc.
set -euo pipefail

# Not called by users: private, protected, or what a template makes of others.
exempt=' AnyNorm embed Iterator Recurrent TensorBody copy_of RecurrentCell add_groups update_average check_rate largest_factor place place_from_end update_running_stats for static_assert '

# taken TREE: the names of those that installed headers declare.
taken() (
  cd "$1"
  folders=$(sed -n 's/^set(public_folders \(.*\))/\1/p' cmake/library.cmake)
  find $folders -name '*.h' -not -path '*/detail/*' -print0 | xargs -0 cat | sed 's,//.*,,' | tr '\n' ' ' |
    sed 's/= [a-z_]*()//g; s/(\([a-z]*\))(/ \1(/g' | grep -oE '[A-Za-z_][A-Za-z_0-9]*\([^()]*\b(int64_t|double|Axes|Shape|Pair)&? [a-z_]+[^()]*\)' |
    sed 's/(.*//' | sort -u
)

# missing TREE
missing() {
  local name
  for name in $(taken "$1"); do
    [[ $exempt == *" $name "* ]] || grep -qw "$name" "$1/tests/autograd/test_extremes.cc" || echo "$name"
  done
}

# It must be able to fail.
sample=$(mktemp -d)
trap 'rm -rf "$sample"' EXIT
mkdir -p "$sample"/{cmake,tensor,tests/autograd}
echo 'set(public_folders tensor)' >"$sample/cmake/library.cmake"
printf 'Tensor(lost)(const Tensor& x,\n             int64_t n = -1);\nTensor there(double x);\n' >"$sample/tensor/a.h"
echo 'there(1)' >"$sample/tests/autograd/test_extremes.cc"
[ "$(missing "$sample")" = lost ] || { echo "the check does not see a function that is left out"; exit 1; }

found=$(missing "$1")
if [ -n "$found" ]; then
  echo "not in tests/autograd/test_extremes.cc:" $found
  exit 1
fi
