#!/usr/bin/env bash
# hardened.sh SOURCE BUILD FILE...: each program and library among the files is bound when it starts and read-only then,
# runs nothing that can be written, looks for libraries in places that it names relative to itself, and guards its
# stacks. What reads files is compiled with that and, optimized, with guarded calls of the C library.
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
done
[ "$seen" -gt 1 ] || fail "the program and the library were not among $*"

# Whatever source of the library or the program calls what reads files, beside kernels.
cached() { grep -qxF "$1" "$build/CMakeCache.txt"; }
wanted=(-fstack-protector-strong)
if cached CMAKE_BUILD_TYPE:STRING=Release && cached GRADUS_CAN_FORTIFY:INTERNAL=1; then wanted+=(-D_FORTIFY_SOURCE=2); fi
reads='read_file|FileReader|ifstream|fopen|::open\(|::read\(|inflate|json_of_file'
for file in $(cd "$source" && grep -lE "$reads" -r base tensor autograd gradcheck layers optim models data training lab --include='*.cc'); do
  command=$(grep -E "\"command\": .* -c [^ ]*/$file\"" "$build/compile_commands.json") || fail "$file is not compiled"
  for option in "${wanted[@]}"; do
    grep -q -e " $option " <<<"$command" || fail "$file reads files and is compiled without $option"
  done
done
