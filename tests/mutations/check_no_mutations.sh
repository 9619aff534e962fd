#!/bin/sh
# check_no_mutations.sh LIBRARY MUTATIONS: the first holds nothing of the second's.
set -eu
pattern='gradus::mutations|gradus::test'
of_mutations=$(nm -C --defined-only "$2" 2>/dev/null)
printf '%s\n' "$of_mutations" | grep -qE "$pattern" || { echo "$2: no mutations found: the check cannot fail" >&2; exit 1; }
symbols=$(nm -C --defined-only "$1" 2>/dev/null || true; nm -DC --defined-only "$1" 2>/dev/null || true)
printf '%s\n' "$symbols" | grep -q 'gradus::' || { echo "$1: no symbols of gradus" >&2; exit 1; }
found=$(printf '%s\n' "$symbols" | grep -iE "$pattern|mutant|mutation" || true)
[ -z "$found" ] || { printf '%s:\n%s\n' "$1" "$found" >&2; exit 1; }
