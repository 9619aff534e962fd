#!/bin/sh
# Objects compiled for an instruction set may not define weak symbols: the linker could let one stand for
# the same inline function elsewhere, and the program would die on an older processor.
# usage: check_no_weak_symbols.sh OBJECT...
[ $# -gt 0 ] || { echo "no objects given" >&2; exit 1; }
status=0
for object in "$@"; do
  symbols=$(nm -C --defined-only "$object") || exit 1
  [ -n "$symbols" ] || { echo "$object: no symbols" >&2; exit 1; }
  weak=$(printf '%s\n' "$symbols" | grep -E '^[0-9a-f]* [WVu] ')
  [ -z "$weak" ] || { printf '%s:\n%s\n' "$object" "$weak" >&2; status=1; }
done
exit $status
