#!/usr/bin/env bash
# Runs the trainer on one host, in the foreground: launch/run.sh --config=... --workdir=gs://...
#
# On SIGTERM (preemption, maintenance, delete) the trainer saves a checkpoint and exits 0. To whoever started the job that
# is not the end of the run, so this ends with 75 then ("try again"); else with the trainer's own status: 0 finished,
# 2 wrong input, 1 diverged. STATUS_FILE, where it is set, keeps the number.
set -uo pipefail

terminated=0
"${PYTHON:-python3}" -m srpo_jax.launch "$@" &
trainer=$!
trap 'terminated=1; kill -TERM "$trainer" 2> /dev/null' TERM INT

status=0
while :; do
  wait "$trainer"
  status=$?
  kill -0 "$trainer" 2> /dev/null || break # a signal ends the wait, not the trainer
done
if ((terminated && status == 0)); then status=75; fi
if [[ -n ${STATUS_FILE:-} ]]; then echo "$status" > "$STATUS_FILE"; fi
exit "$status"
