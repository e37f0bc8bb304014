#!/usr/bin/env bash
# Runs on each worker of a Cloud TPU VM for launch/tpu_vm.sh, in the folder with the code.
#
#   worker.sh install [gs://MODEL]   installs Python 3.11, the pinned packages with JAX for TPU, and bubblewrap; copies
#                                    MODEL to ./model
#   worker.sh start ARGUMENTS...     starts the trainer as a service that outlives the ssh connection and logs to run.log
#   worker.sh stop                   sends SIGTERM and waits until the checkpoint is saved
#   worker.sh status                 prints running, finished, stopped (by SIGTERM), failed N, or new
set -euo pipefail
cd "$(dirname "$0")/.."
unit=srpo_jax
status_file=$PWD/exit_status

install() {
  python3 -m pip install --quiet --user "uv==$(sed -n 's/^uv==//p' launch/requirements.txt)"
  [[ -x .venv/bin/python ]] || python3 -m uv venv --quiet --python 3.11 .venv # the image's own Python is older
  python3 -m uv pip install --quiet --python .venv/bin/python --constraint constraints.txt --editable . 'jax[tpu]'
  # The sandbox may need bubblewrap to confine programs that the policy writes. On a fresh machine, an automatic upgrade
  # may hold apt's lock.
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
  # On preemption, a systemd unit gets SIGTERM before the network stops. With KillMode=mixed only run.sh gets the signal.
  # The processes that judge responses do not, because the trainer ends them itself.
  sudo systemd-run --quiet --collect --unit="$unit" --uid="$(id -u)" --gid="$(id -g)" --working-directory="$PWD" \
    --property=After=network-online.target --property=KillMode=mixed --property=TimeoutStopSec=120 \
    --property="StandardOutput=append:$PWD/run.log" --property="StandardError=append:$PWD/run.log" \
    --setenv=HOME="$HOME" --setenv=PYTHON="$PWD/.venv/bin/python" --setenv=STATUS_FILE="$status_file" \
    "$PWD/launch/run.sh" "${@//\$/\$\$}" # systemd would expand $NAME as a variable
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
