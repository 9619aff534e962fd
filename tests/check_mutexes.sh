#!/usr/bin/env bash
# check_mutexes.sh TREE: fails where the library waits for other threads by anything but process_mutex, which fork()
# waits for (gradus/base/detail/fork.h): a child forked meanwhile would wait for good. Another one has to have a fork's
# handlers of its own, and stands here.
set -euo pipefail

allowed='
base/fork.cc:constinit std::mutex process_mutex;
base/detail/fork.h:extern constinit std::mutex process_mutex;
kernels/gemm/blas.cc:constinit std::mutex load_mutex;
'

# violations TREE
violations() (
  cd "$1"
  find base kernels tensor autograd layers optim models gradcheck data training \( -name '*.h' -o -name '*.cc' \) -print0 2>/dev/null |
    xargs -0 -r grep -HE 'std::((recursive_|timed_|shared_|recursive_timed_|shared_timed_)?mutex|condition_variable(_any)?|once_flag|call_once|latch|barrier|counting_semaphore|binary_semaphore)\b|pthread_(mutex|cond|rwlock|spin|barrier)' |
    grep -v 'std::lock_guard\|std::unique_lock\|std::scoped_lock' | grep -vxF "$(grep . <<<"$allowed")" || true
)

# It must be able to fail.
sample=$(mktemp -d)
trap 'rm -rf "$sample"' EXIT
mkdir -p "$sample"/{base,layers}
echo 'constinit std::mutex process_mutex;' | tee "$sample/base/fork.cc" >"$sample/base/bad.cc"
printf 'static std::once_flag once;\nstd::shared_mutex names;\nconst std::lock_guard lock(process_mutex);\n' >"$sample/layers/bad.h"
[ "$(violations "$sample" | wc -l)" -eq 3 ] || {
  echo "the check does not see a mutex:"
  violations "$sample"
  exit 1
}

found=$(violations "$1")
if [ -n "$found" ]; then
  echo "fork() does not wait for:"
  echo "$found"
  exit 1
fi
