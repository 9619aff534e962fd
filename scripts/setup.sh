# Sourced by the scripts beside it: installs what is missing, and finds the folders.
# Debian 12, Ubuntu 22.04 and 24.04; elsewhere it names what is needed and goes on if it is there.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${GRADUS_BUILD_DIR:-$root/build}

packages="g++ cmake ninja-build libfmt-dev libboost-test-dev libopenblas0-pthread zlib1g-dev libcli11-dev nlohmann-json3-dev gnuplot-nox"

say() { echo "gradus: $*" >&2; }

# install PACKAGE...: those of them that are missing, through apt.
install() {
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || {
    say "this is not Debian or Ubuntu; needed: a C++20 compiler, CMake 3.22, Ninja, fmt, Boost.Test, OpenBLAS, zlib, CLI11, nlohmann-json, gnuplot"
    return 0
  }
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      say "missing: ${missing[*]}; install them as root: apt-get install ${missing[*]}"
      exit 2
    }
    as_root=(sudo)
  fi
  say "installing ${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  "${as_root[@]}" "${apt[@]}" install --no-install-recommends -y "${missing[@]}" >/dev/null 2>&1 || {
    "${as_root[@]}" "${apt[@]}" update >/dev/null
    "${as_root[@]}" "${apt[@]}" install --no-install-recommends -y "${missing[@]}" >/dev/null
  }
}

# build FOLDER TARGET CMAKE-OPTION...
build_in() {
  local folder=$1 target=$2
  shift 2
  local launcher=()
  command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  say "building $target in $folder"
  cmake -S "$root" -B "$folder" -G Ninja "${launcher[@]}" "$@" >"$folder.log" 2>&1 || {
    cat "$folder.log" >&2
    exit 1
  }
  rm -f "$folder.log"
  cmake --build "$folder" --target "$target" -- --quiet 2>/dev/null || cmake --build "$folder" --target "$target"
}
