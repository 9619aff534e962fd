#!/usr/bin/env bash
# run.sh installed|subdirectory SOURCE BUILD GENERATOR COMPILER: builds and runs the project in this folder.
set -euo pipefail
way=$1 source=$2 build=$3 generator=$4 compiler=$5
work=$build/consumer-$way
prefix=$work/prefix
mkdir -p "$work"
options=(-G "$generator" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG= "-DCMAKE_CXX_COMPILER=$compiler") # the fastest to compile
command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)

# What is installed is what a user may include: each header alone, and none of our insides.
check_headers() {
  local inside
  inside=$(find "$prefix/include" \( -path '*/kernels*' -o -path '*/detail*' \) -print)
  [ -z "$inside" ] || { echo "installed, and not for users: $inside"; return 1; }
  (cd "$prefix/include" && find gradus -name '*.h' -print0) | compiler=$compiler prefix=$prefix xargs -0 -P 2 -I{} sh -c \
    'echo "#include <{}>" | "$compiler" -x c++ -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" - ||
     { echo "{} does not compile alone"; exit 1; }'
}

# The program starts wherever the prefix is, and never looks for libraries in the folder that it is called in.
check_program() {
  (cd / && env -i "$prefix/bin/gradus" --version >/dev/null)
  for program in "$prefix/bin/gradus" "$build/bin/gradus"; do
    local path
    path=$(readelf -d "$program" | sed -n 's/.*runpath: \[\(.*\)\]/:\1:/p')
    [[ $path == *'$ORIGIN'* && $path != *::* ]] || { echo "$program: RUNPATH $path"; return 1; }
  done
}

check_packages() {
  local nonsense=$work/nonsense
  mkdir -p "$nonsense"
  printf 'cmake_minimum_required(VERSION 3.22)\nproject(nonsense CXX)\nfind_package(gradus COMPONENTS nonsense)\n%s\n' \
    'if(gradus_FOUND)
       message(FATAL_ERROR "a component that there is not was found")
     endif()' >"$nonsense/CMakeLists.txt"
  cmake -S "$nonsense" -B "$nonsense/build" "${options[@]}" >"$work/log" 2>&1 || { cat "$work/log"; return 1; }
  command -v pkg-config >/dev/null || return 0
  local folder flags
  folder=$(dirname "$(find "$prefix" -name gradus.pc)")
  flags=$(PKG_CONFIG_PATH=$folder pkg-config --cflags --libs gradus)
  for flag in $flags; do
    [[ $flag != -[IL]* || -d ${flag:2} ]] || { echo "pkg-config: there is no $flag"; return 1; }
  done
}

case $way in
  installed)
    rm -rf "$prefix" "$work/other-prefix"
    cmake --install "$build" --prefix "$work/other-prefix" >/dev/null
    mv "$work/other-prefix" "$prefix"
    check_headers
    check_program
    options+=("-DCMAKE_PREFIX_PATH=$prefix")
    check_packages ;;
  subdirectory) options+=("-DGRADUS_SOURCE=$source") ;;
esac
cmake -S "$source/tests/consumer" -B "$work/build" "${options[@]}" >/dev/null
cmake --build "$work/build" --parallel 2 --target my_program >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/build/my_program"
cmake --install "$work/build" --prefix "$work/nothing" >/dev/null
[ -z "$(find "$work/nothing" -type f 2>/dev/null)" ] || { echo "gradus is installed along with the project around it"; exit 1; }
