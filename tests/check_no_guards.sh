#!/bin/sh
# A function's static that is not constant has a guard, for which other threads wait while it is being made; a child
# forked in that moment would wait for good. gradus/base/detail/fork.h has what to write instead. Thread-local ones
# have no such guard.
# usage: check_no_guards.sh LIBRARY
symbols=$(readelf -sW "$1") || exit 1
printf '%s\n' "$symbols" | grep -q _ZN6gradus || { echo "$1: no symbols" >&2; exit 1; }
guards=$(printf '%s\n' "$symbols" | grep ' _ZGV' | grep -v ' TLS ' | c++filt)
[ -z "$guards" ] || { printf '%s:\n%s\n' "$1" "$guards" >&2; exit 1; }
