#!/usr/bin/env bash
# hardened.sh SOURCE BUILD FILE...: each program and library among the files is bound when it starts and read-only then,
# runs nothing that can be written, looks for libraries in places that it names relative to itself, and was compiled so
# that what reads files guards its stack and, optimized, its calls of the C library.
set -euo pipefail
source=$1 build=$2
shift 2
fail() { echo "$*"; exit 1; }
seen=0
for file in "$@"; do
  [ -L "$file" ] || [ "$(head -c 4 "$file")" != $'\177ELF' ] && continue
  seen=$((seen + 1))
  dynamic=$(readelf -dW "$file") segments=$(readelf -lW "$file") needs=$(nm -D --undefined-only "$file")
  grep -qE 'Type: +DYN|file type is DYN' <<<"$segments" || fail "$file lies at a fixed address"
  grep -q BIND_NOW <<<"$dynamic" || fail "$file is not bound when it starts"
  grep -q GNU_RELRO <<<"$segments" || fail "$file has no part that becomes read-only"
  grep -qE 'GNU_STACK .* RW +0x' <<<"$segments" || fail "$file has a stack that can be executed"
  ! grep -E '(LOAD|GNU_STACK) .* R?WE ' <<<"$segments" || fail "$file has memory that can be written and executed"
  path=$(sed -n 's/.*(R[A-Z]*PATH).*\[\(.*\)\]/\1/p' <<<"$dynamic")
  while IFS= read -r -d : entry; do
    [[ $entry == '$ORIGIN'* ]] || fail "$file looks for libraries in '$entry', of $path"
  done <<<"${path:+$path:}"
  grep -q __stack_chk_fail <<<"$needs" || fail "$file does not guard its stack"
  if grep -qx CMAKE_BUILD_TYPE:STRING=Release "$build/CMakeCache.txt"; then
    grep -qE '__mem[a-z]+_chk' <<<"$needs" || fail "$file does not guard its calls of the C library"
  fi
done
[ "$seen" -gt 1 ] || fail "the program and the library were not among $*"

# Whatever source of the library or the program calls what reads files, beside kernels.
commands=$build/compile_commands.json
reads='read_file|FileReader|ifstream|fopen|::open\(|::read\(|inflate|parse_json'
for file in $(cd "$source" && grep -lE "$reads" -r base tensor autograd gradcheck layers optim models data training lab --include='*.cc'); do
  grep -F "\"command\"" "$commands" | grep -E -- "-c [^ ]*/$file\"" | grep -q -e -fstack-protector-strong ||
    fail "$file reads files and does not guard its stack"
done
