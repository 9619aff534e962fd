#!/usr/bin/env bash
# Whether the race says who is not there, writes its JSON, and fails where results differ.
# check_race.sh RACE
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
race=("$1" --rows tiny --rows "kernel softmax" --rounds 1 --seconds 0.001 --python /bin/false)

says() { grep -qF -- "$1" "$folder/out" || { echo "it does not say: $1" && cat "$folder/out" && exit 1; }; }

"${race[@]}" --json "$folder/json" >"$folder/out"
for peer in libtorch torch.compile jax; do says "no $peer: there is no "; done
says "tiny mlp"
for key in row gradus_us_1 gradus_us_2 peer peer_us ratio target bound_us; do
  [ "$(grep -c "\"$key\": " "$folder/json")" -eq 2 ] || { echo "not 2 of $key" && cat "$folder/json" && exit 1; }
done

printf '#!/bin/sh\nwhile read -r question; do case $question in time*) echo 9 ;; *) echo 1 2 3 4 5 ;; esac; done\n' \
  >"$folder/peer"
chmod +x "$folder/peer"
if "${race[@]}" --libtorch "$folder/peer" >"$folder/out"; then
  echo "it does not fail where results differ"
  exit 1
fi
says "Gradus and libtorch do not agree: tiny mlp"
