#!/usr/bin/env bash
# run.sh installed|subdirectory SOURCE BUILD GENERATOR COMPILER: builds and runs the project in this folder.
set -euo pipefail
way=$1 source=$2 build=$3 generator=$4 compiler=$5
work=$build/consumer-$way
unset GRADUS_WERROR # users have none
prefix=$work/prefix
mkdir -p "$work"
options=(-G "$generator" "-DCMAKE_CXX_COMPILER=$compiler")
command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)

# What is installed is what a user may include: each header alone, and none of our insides.
check_headers() {
  local inside
  inside=$(find "$prefix/include" \( -path '*/kernels*' -o -path '*/detail*' \) -print)
  [ -z "$inside" ] || { echo "installed, and not for users: $inside"; return 1; }
  # Most of them include tensor.h, somewhere: those find it compiled, which takes half the time.
  local all with=tensor/tensor.h more=
  cd "$prefix/include/gradus"
  all=$(find . -name '*.h' | sed 's,^\./,,' | sort)
  while [ "$with" != "$more" ]; do
    more=$with
    with=$( (echo "$with"; grep -lE "#include <gradus/($(tr '\n' '|' <<<"$with")none)>" $all) | sort -u)
  done
  cd "$work"
  flags="-std=c++20 -Wall -Wextra -Werror -I$prefix/include"
  echo '#include <gradus/tensor/tensor.h>' >tensor.h
  "$compiler" -x c++-header $flags tensor.h -o tensor.h.gch
  (sed 's/$/ -include tensor.h/' <<<"$with"; comm -23 <(echo "$all") <(echo "$with")) | compiler=$compiler flags=$flags xargs -P 2 -L 1 sh -c \
    'header=$0; echo "#include <gradus/$header>" | "$compiler" -x c++ $flags "$@" -fsyntax-only - ||
     { echo "$header does not compile alone"; exit 1; }'
}

# The program starts wherever the prefix is.
check_program() {
  (cd / && env -i "$prefix/bin/gradus" --version >/dev/null)
  "$source/tests/consumer/hardened.sh" "$source" "$build" $(find "$prefix" -type f -not -name '*.h') "$build/bin/gradus"
}

# finds VERSION: whether find_package takes what is installed for that version. That CMake itself fails ends the test.
finds() {
  cmake -S "$work/version" -B "$work/version/build" "${options[@]}" "-DVERSION=$1" >"$work/version/log" 2>&1 ||
    { cat "$work/version/log"; exit 1; }
  ! grep -q 'gradus not found' "$work/version/log"
}

# A minor version before 1.0 and a major one from then on may break users: under that name the loader looks for the
# library, and find_package takes no other.
check_version() {
  local version series library
  version=$("$prefix/bin/gradus" --version)
  series=${version%.*}
  [ "${version%%.*}" = 0 ] || series=${version%%.*}
  library=$(find "$prefix" -name libgradus.so)
  readelf -dW "$library" | grep -qF "soname: [libgradus.so.$series]" ||
    { echo "the library of $version is not libgradus.so.$series"; return 1; }
  readelf -dW "$prefix/bin/gradus" | grep -qF "[libgradus.so.$series]" || { echo "the program asks for another"; return 1; }
  mkdir -p "$work/version"
  printf 'cmake_minimum_required(VERSION 3.22)\nproject(version CXX)\n%s\n%s\n' 'find_package(gradus ${VERSION} QUIET)' \
    'if(NOT gradus_FOUND)
       message("gradus not found")
     endif()' >"$work/version/CMakeLists.txt"
  finds "$version" && finds "$series" || { echo "find_package does not find $version or $series"; return 1; }
  for other in 0.1 0.3 1.0 2; do
    [ "$other" = "$series" ] || ! finds "$other" || { echo "find_package takes $version for $other"; return 1; }
  done
}

# Of what is embedded: data/*/SOURCE.md.
check_notices() {
  local folder name
  folder=$(dirname "$(find "$prefix" -name LICENSE)")
  cmp "$source/LICENSE" "$folder/LICENSE"
  for name in "$source"/data/*/SOURCE.md; do
    cmp "$name" "$folder/$(basename "$(dirname "$name")").md"
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
  "$compiler" -std=c++20 "$source/tests/consumer/static.cc" $flags -Wl,-rpath,"$(dirname "$folder")" -o "$work/by_flags"
  "$work/by_flags" >/dev/null
}

build_and_run() {
  cmake -S "$source/tests/consumer" -B "$work/build" "${options[@]}" >/dev/null
  cmake --build "$work/build" --parallel 2 --target my_program >"$work/log" 2>&1 || { cat "$work/log"; return 1; }
  "$work/build/my_program"
}

# The whole library, built for this project, would take a minute: of its sources one serves, and the program's.
build_a_little() {
  rm -rf "$work/build"
  cmake -S "$source/tests/consumer" -B "$work/build" "${options[@]}" >"$work/log" 2>&1 || { cat "$work/log"; return 1; }
  cmake --install "$work/build" --prefix "$work/nothing" >/dev/null
  [ ! -e "$work/nothing" ] || { echo "gradus is installed along with the project around it"; return 1; }
  cd "$work/build"
  ninja CMakeFiles/my_program.dir/main.cc.o gradus/CMakeFiles/gradus_objects.dir/base/error.cc.o >"$work/log" ||
    { cat "$work/log"; return 1; }
  ! ninja -t commands gradus/CMakeFiles/gradus_objects.dir/base/error.cc.o | grep -e -fvisibility=hidden ||
    { echo "the library hides all that it has"; return 1; }
  ! ninja -t commands | grep -e -Werror || { echo "warnings of another compiler would end the build"; return 1; }
  # A static library, as the project has none: the program `gradus` needs what nothing in it refers to.
  ninja -t commands gradus_program | tail -1 | grep -q 'whole-archive,[^ ]*libgradus\.a' ||
    { echo "the static program lacks ops"; return 1; }
}

case $way in
  installed)
    rm -rf "$prefix" "$work/other-prefix" "$work/build"
    cmake --install "$build" --prefix "$work/other-prefix" >/dev/null
    mv "$work/other-prefix" "$prefix"
    check_headers
    check_program
    check_notices
    options+=("-DCMAKE_PREFIX_PATH=$prefix")
    check_version
    check_packages
    build_and_run ;;
  subdirectory)
    options+=("-DGRADUS_SOURCE=$source" -DGRADUS_BUILD_PROGRAM=ON -DCMAKE_CXX_VISIBILITY_PRESET=hidden)
    if [ "$generator" = Ninja ]; then build_a_little; else build_and_run; fi ;;
esac
