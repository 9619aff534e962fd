#!/usr/bin/env bash
# Fails where two headers of the library define classes of one name in one namespace: no file that
# includes both has to exist for the linker to take one's functions for the other's.
set -euo pipefail

# definitions TREE: "namespace::Class header" for each class that a header defines.
definitions() {
  find "$1"/{base,kernels,tensor,autograd,layers,optim,models,data,training,gradcheck} -name '*.h' ! -name 'level_*.h' -print0 2>/dev/null | xargs -0 -r awk '
    FNR == 1 { depth = 0 }
    /^(inline )?namespace .*\{$/ { name = $0; sub(/^(inline )?namespace /, "", name); sub(/ ?\{$/, "", name)
                                   space[++depth] = name }
    /^\}  \/\/ namespace/ { --depth }
    /^(class|struct) [A-Za-z0-9_]+( final)?( :|:| \{|$)/ {
      full = ""; for (i = 1; i <= depth; ++i) full = full space[i] "::"
      sub(/:$/, "", $2); print full $2, FILENAME }'
}

twice() { definitions "$1" | sort | awk '$1 == last { print $1 ": " file ", " $2 } { last = $1; file = $2 }'; }

# It must be able to fail.
sample=$(mktemp -d)
trap 'rm -rf "$sample"' EXIT
mkdir -p "$sample/autograd" "$sample/layers"
printf 'namespace gradus {\nclass Twice {\n};\n}  // namespace gradus\n' | tee "$sample/autograd/a.h" >"$sample/layers/b.h"
printf 'namespace gradus::other {\nclass Twice {\n};\n}  // namespace gradus::other\n' >"$sample/layers/c.h"
[ "$(twice "$sample" | wc -l)" -eq 1 ] || { echo "the check does not see a name that is there twice"; exit 1; }

found=$(twice "$1")
if [ -n "$found" ]; then
  echo "defined twice:"
  echo "$found"
  exit 1
fi
