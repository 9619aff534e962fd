#!/usr/bin/env bash
# check_docs.sh TREE: fails where a document says what the tree does not hold. Documents quote code
# that is compiled and run instead of having code of their own, so that comparing text is enough:
# * a ```cpp or ```cmake block must stand in one file of the tree, indentation aside; a line `...`
#   leaves something out. A block with int main() must be a whole file.
# * a relative link, a path in backticks (`a/b`, `b.h`; `/` at the end: a folder), and the path that
#   begins a line of a ```sh block must exist, from the document's folder or from the tree's root;
# * so must a document that the code names.
set -euo pipefail

files() { find "$1" \( -path "$1/build*" -o -path "$1/.git" \) -prune -o -type f -print; }

# Text without indentation and empty lines.
flat() { sed -E 's/^[[:space:]]+//; s/[[:space:]]+$//; /^$/d' "$@"; }

# blocks DOCUMENT LANGUAGE: its code blocks, each ended by a line "\f".
blocks() {
  awk -v open='```'"$2" '$0 == open { inside = 1; next }
    /^```/ { if (inside) print "\f"; inside = 0 } inside' "$1"
}

# quoted BLOCK FILE: whether the file's text holds the block's parts in their order.
quoted() {
  local block=$1 text part
  text=$(flat "$2")
  [[ $block == *'int main()'* ]] && { [ "$block" = "$text" ]; return; }
  text=$'\n'$text$'\n'
  while [ -n "$block" ]; do
    part=${block%%$'\n...'*}
    [[ $text == *$'\n'"$part"$'\n'* ]] || return 1
    text=$'\n'${text#*$'\n'"$part"$'\n'}
    block=${block#"$part"}
    block=${block#$'\n...'}
    block=${block#$'\n'}
  done
}

# quotations TREE DOCUMENT LANGUAGE PATTERN: blocks that stand in no file whose path fits.
quotations() {
  local tree=$1 document=$2 language=$3 block file files
  mapfile -t files < <(files "$tree" | grep -E "$4")
  while IFS= read -r -d $'\f' block; do
    block=$(flat <<<"$block")
    [ -n "$block" ] || continue
    for file in "${files[@]}"; do quoted "$block" "$file" && continue 2; done
    echo "${document#"$tree"/}: this block stands in no file of the tree:"
    sed 's/^/    /' <<<"$block"
  done < <(blocks "$document" "$language")
}

# Every path that a document names.
paths() {
  local outside
  outside=$(awk '/^```/ { inside = !inside; next } !inside' "$1")
  grep -oE '\]\([^)#]+' <<<"$outside" | sed 's/^](//' | grep -vE '^[a-z]+:' || true
  grep -oE '`[^` ]+`' <<<"$outside" | tr -d '`' | grep -E '^\.{0,2}[A-Za-z0-9_][A-Za-z0-9_./-]*$' |
    grep -E '/|[A-Za-z0-9_]\.(h|cc|md|sh|txt|json|cmake)$' | grep -v '^build/' || true
  blocks "$1" sh | grep -oE '^[a-z]+/[^ ]+' | grep -v '^build/' || true
}

problems() {
  local tree=$1 document path
  while IFS= read -r document; do
    quotations "$tree" "$document" cpp '\.(cc|h)$'
    quotations "$tree" "$document" cmake '/CMakeLists\.txt$'
    grep -nE '^```[^[:space:]]' "$document" | grep -vE '```(cpp|cmake|sh)$' |
      sed "s|^|${document#"$tree"/}: not cpp, cmake or sh: |" || true
    while IFS= read -r path; do
      [ -e "$(dirname "$document")/$path" ] || [ -e "$tree/$path" ] ||
        echo "${document#"$tree"/}: there is no $path"
    done < <(paths "$document")
  done < <(files "$tree" | grep '\.md$' | sort)
  while IFS= read -r path; do
    [ -e "$tree/$path" ] || echo "the code names $path, which is not there"
  done < <(files "$tree" | grep -E '\.(cc|h)$' | xargs -r grep -hoE 'docs/[a-z0-9_/]+\.md' | sort -u)
}

# It must be able to fail.
sample=$(mktemp -d)
trap 'rm -rf "$sample"' EXIT
mkdir "$sample/docs"
printf 'int f() {\n  int a;\n  int b;\n}\nint main() {}\n' >"$sample/good.cc"
printf '```cpp\nint f() {\n...\nint b;\n```\n[good](../good.cc) `good.cc` `docs/` `a/b c`\n' \
  >"$sample/docs/good.md"
[ -z "$(problems "$sample")" ] || { echo "the check finds fault with what is right"; exit 1; }
{
  printf '```cpp\nint b;\nint a;\n```\n```cpp\nint a;\n...\nint c;\n```\n```cpp\nint main() {}\n```\n'
  printf '```c++\n```\n[bad](bad.cc) `docs/bad`\n```sh\nscripts/bad x\n```\n'
} >"$sample/docs/bad.md"
echo '// docs/gone.md' >"$sample/other.cc"
[ "$(problems "$sample" | grep -cE '^docs/bad.md: |docs/gone.md')" -eq 8 ] || { echo "the check misses a fault"; exit 1; }

found=$(problems "$1")
if [ -n "$found" ]; then
  echo "documents that do not fit the tree:"
  echo "$found"
  exit 1
fi
