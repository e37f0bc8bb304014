#!/usr/bin/env bash
# Runs the trainer on one host in the foreground: launch/run.sh --config=... --workdir=gs://...
#
# On SIGTERM (preemption, maintenance, delete) the trainer saves a checkpoint and exits 0. The run is not finished then,
# so this script exits with 75 ("try again"). Otherwise it exits with the trainer's own status: 0 finished, 2 wrong input,
# 1 diverged. If STATUS_FILE is set, the status is written to that file.
set -uo pipefail

terminated=0
"${PYTHON:-python3}" -m srpo_jax.launch "$@" &
trainer=$!
trap 'terminated=1; kill -TERM "$trainer" 2> /dev/null' TERM INT

status=0
while :; do
  wait "$trainer"
  status=$?
  kill -0 "$trainer" 2> /dev/null || break # a signal interrupts the wait but does not end the trainer
done
if ((terminated && status == 0)); then status=75; fi
if [[ -n ${STATUS_FILE:-} ]]; then echo "$status" > "$STATUS_FILE"; fi
exit "$status"
