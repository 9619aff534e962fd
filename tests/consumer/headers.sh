#!/usr/bin/env bash
# headers.sh FOLDER INCLUDES LIBRARY COMPILER...: the headers compile in programs that are strict, that have other
# libraries' macros or another fmt, and what cannot work does not link. The first compiler is the library's.
set -euo pipefail
folder=$1 includes=$2 library=$3
shift 3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
compiler=$1
link=(-L"$(dirname "$library")" -lgradus -Wl,-rpath,"$(dirname "$library")")
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"

strict=(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wfloat-equal
  -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual -Wdouble-promotion -Wundef -Wextra-semi -Werror)
for each in "$@"; do
  more=()
  "$each" --version | grep -q clang || more=(-Wuseless-cast -Wduplicated-cond -Wlogical-op -Wsuggest-override)
  "$each" -std=gnu++20 "${strict[@]}" "${more[@]}" -fsyntax-only -I"$includes" "$here/strict.cc" &
done
for each in "$@"; do wait -n; done

# Another fmt, found before the library's: the same under another version's names.
fmt=$(dirname "$(echo '#include <fmt/core.h>' | "$compiler" -std=c++20 -E -x c++ - | sed -n 's/^# 1 "\(.*fmt\/core\.h\)".*/\1/p' | head -1)")
mkdir fmt
cp "$fmt"/*.h fmt/
sed -i -E 's/(inline namespace v)[0-9]+/\177/' fmt/*.h
"$compiler" -std=c++20 -DFMT_HEADER_ONLY -I. -I"$includes" "$here/other_fmt.cc" "${link[@]}" -o other_fmt
nm -C other_fmt | grep 'fmt::v77::' >/dev/null || { echo "other_fmt.cc has not found the other fmt"; exit 1; }
./other_fmt >log || { cat log; exit 1; }

# Other std::vectors than the library's.
other=-D_GLIBCXX_DEBUG
nm -DC "$library" | grep built_with_GLIBCXX_DEBUG >/dev/null && other=-U_GLIBCXX_DEBUG
if "$compiler" -std=c++20 $other -I"$includes" "$here/static.cc" "${link[@]}" -lfmt -o containers 2>log; then
  echo "a program with _GLIBCXX_DEBUG links to a library without, or the other way round"
  exit 1
fi
grep -q 'library_built_with' log || { cat log; exit 1; }
