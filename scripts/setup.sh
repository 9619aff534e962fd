# Sourced by the scripts beside it: installs what is missing, and builds.
# Debian 12, Ubuntu 22.04 and 24.04; elsewhere it names what is needed and goes on if it is there.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${GRADUS_BUILD_DIR:-$root/build}

packages="g++ cmake ninja-build libfmt-dev libboost-test-dev libopenblas0-pthread zlib1g-dev libcli11-dev nlohmann-json3-dev gnuplot-nox"

say() { echo "gradus: $*" >&2; }

# Whether the package, or another that does for it, is there.
present() {
  case $1 in
    g++ | cmake) command -v "$1" ;;
    ninja-build) command -v ninja ;;
    gnuplot-nox) command -v gnuplot ;;
    libopenblas0-pthread) PATH=$PATH:/sbin:/usr/sbin ldconfig -p | grep -F libopenblas.so.0 ;; # no sbin in a user's PATH
    *) dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep 'ok installed' ;;
  esac >/dev/null
}

# install PACKAGE...: those of them that are missing, through apt.
install() {
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || {
    say "this is not Debian or Ubuntu; needed: a C++20 compiler, CMake 3.22, Ninja, fmt, Boost.Test, OpenBLAS, zlib, CLI11, nlohmann-json, gnuplot"
    return 0
  }
  local missing=()
  for package in "$@"; do
    present "$package" || missing+=("$package")
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
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  local install=("${apt[@]}" install --no-install-recommends -y "${missing[@]}")
  "${install[@]}" >/dev/null 2>&1 || { "${apt[@]}" update && "${install[@]}"; } >/dev/null || {
    say "apt-get could not install ${missing[*]}"
    exit 2
  }
}

# build_in FOLDER TARGET CMAKE-OPTION...
build_in() {
  local folder=$1 target=$2
  shift 2
  local log=$folder.log
  say "building $target in $folder"
  cmake -S "$root" -B "$folder" -G Ninja "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    exit 1
  }
  if [ -t 1 ]; then
    cmake --build "$folder" --target "$target"
  else
    cmake --build "$folder" --target "$target" >"$log" 2>&1 || {
      cat "$log" >&2
      exit 1
    }
  fi
  rm -f "$log"
}
