#!/usr/bin/env bash
# exports.sh LIBRARY SOURCE: the shared library shows what installed headers declare and what exports.map names; nothing
# else of its own, and nothing of other libraries, in whose place a program may have another version.
set -euo pipefail
library=$1
cd "$2"
names=$(nm -DC --defined-only "$library" | cut -d' ' -f3- | grep -vFx "$(sed -n 's/^ *"\(gradus::.*\)";/\1/p' cmake/exports.map)")
complain() { [ -z "$2" ] || { printf '%s exports %s; cmake/exports.map should hide it:\n%s\n' "$library" "$1" "$2"; exit 1; }; }
complain "a type of fmt's" "$(grep fmt:: <<<"$names" || true)"
complain "what is not its own" "$(grep -v gradus:: <<<"$names" || true)"
complain "its insides" "$(grep -E 'gradus::(kernels|functions|checking)::' <<<"$names" || true)"

# Of a function, a variable or a class the last name, without parameters, but for operators.
declared=$(find base tensor autograd gradcheck layers optim models data training -name '*.h' -not -path '*/detail/*' \
  -exec sed 's,//.*,,' {} + | grep -oE '[A-Za-z_]\w*' | sort -u)
exported=$(sed -E 's/^.* for //; s/\[abi:[a-z0-9]+\]//g; s/ ?\(.*//; s/<.*//' <<<"$names" | grep -v operator | sed -E 's/.*:://; s/^~//' | sort -u)
complain "what no installed header declares" "$(comm -23 <(echo "$exported") <(echo "$declared"))"
