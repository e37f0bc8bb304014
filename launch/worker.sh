#!/usr/bin/env bash
# What launch/tpu_vm.sh does on each worker of a Cloud TPU VM, in the folder that holds the code.
#
#   worker.sh install [gs://MODEL]   Python 3.11, the pinned packages with JAX for TPU, bubblewrap; MODEL copied to ./model
#   worker.sh start ARGUMENTS...     the trainer as a service that outlives the ssh connection; its output in run.log
#   worker.sh stop                   SIGTERM, and waits until the checkpoint is saved
#   worker.sh status                 running, finished, stopped (by SIGTERM), failed N, or new
set -euo pipefail
cd "$(dirname "$0")/.."
unit=srpo_jax
status_file=$PWD/exit_status

install() {
  python3 -m pip install --quiet --user "uv==$(sed -n 's/^uv==//p' launch/requirements.txt)"
  [[ -x .venv/bin/python ]] || python3 -m uv venv --quiet --python 3.11 .venv # the image's own Python is older
  python3 -m uv pip install --quiet --python .venv/bin/python --constraint constraints.txt --editable . 'jax[tpu]'
  # Programs that the policy writes are run under bubblewrap. A fresh machine's own upgrade may hold apt's lock.
  command -v bwrap > /dev/null || {
    sudo apt-get -o DPkg::Lock::Timeout=600 update -qq
    sudo apt-get -o DPkg::Lock::Timeout=600 install -qq -y --no-install-recommends bubblewrap
  }
  if [[ -n ${1:-} ]]; then
    mkdir -p model
    gcloud storage rsync --recursive "$1" model
  fi
  echo "$HOSTNAME: installed"
}

start() {
  if systemctl is-active --quiet "$unit"; then
    echo "$HOSTNAME: already running"
    return
  fi
  rm -f "$status_file"
  # A unit of systemd gets SIGTERM when the machine is taken away, before its network goes. `mixed`: run.sh alone gets it,
  # not the processes that judge responses, which the trainer ends itself.
  sudo systemd-run --quiet --collect --unit="$unit" --uid="$(id -u)" --gid="$(id -g)" --working-directory="$PWD" \
    --property=After=network-online.target --property=KillMode=mixed --property=TimeoutStopSec=120 \
    --property="StandardOutput=append:$PWD/run.log" --property="StandardError=append:$PWD/run.log" \
    --setenv=HOME="$HOME" --setenv=PYTHON="$PWD/.venv/bin/python" --setenv=STATUS_FILE="$status_file" \
    "$PWD/launch/run.sh" "${@//\$/\$\$}" # systemd would read $NAME as a variable
  echo "$HOSTNAME: started"
}

status() {
  local code
  if systemctl is-active --quiet "$unit"; then
    echo running
  elif [[ ! -f $status_file ]]; then
    echo new
  else
    code=$(< "$status_file")
    case $code in
      0) echo finished ;;
      75) echo stopped ;;
      *) echo "failed $code" ;;
    esac
  fi
}

verb=${1:-}
shift || true
case $verb in
  install) install "$@" ;;
  start) start "$@" ;;
  stop) if systemctl is-active --quiet "$unit"; then sudo systemctl stop "$unit"; fi ;;
  status) status ;;
  *)
    echo "error: expected install, start, stop or status, got '$verb'" >&2
    exit 2
    ;;
esac
