#!/bin/bash -p
# The compute node's side of `mltm-agent check --with-job`: for each claim it waits for the other side's go, links its
# own, and answers what was decided. Constant, like wrapper.sh, and with the same means; slurmd runs a copy.
#
# Arguments, made by agent/check/node_race.py:  folder claims
umask 077
LC_ALL=C
folder=$1 claims=$2
[[ $folder == /* && $claims =~ ^[0-9]{1,6}$ ]] && cd -- "$folder" || exit 75

# Opening the folder asks the file server again (close-to-open).
wait_for() {
  local again
  until [[ -e $1 ]]; do
    sleep 0.02
    { exec {again}<. && exec {again}<&-; } 2>/dev/null || exit 75 # removed: the other side has ended
  done
}

for ((claim = 0; claim < claims; claim++)); do
  wait_for "go.$claim"
  printf 'node' >".node.$claim" && sync -- ".node.$claim" || exit 75
  ln -T -- ".node.$claim" "claim.$claim" 2>/dev/null
  sync -- .
  decided=
  IFS= read -r decided <"claim.$claim"
  printf '%s' "$decided" >".answer.$claim" && sync -- ".answer.$claim" && mv -T -- ".answer.$claim" "answer.$claim" || exit 75
done
