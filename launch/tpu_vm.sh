#!/usr/bin/env bash
usage='Trains on a Cloud TPU slice (queued resources, plain multi-host JAX).

  launch/tpu_vm.sh VERB --name NAME --zone ZONE [OPTIONS] [-- ARGUMENTS OF python -m srpo_jax.launch]

verbs, in the order of a run
  create     requests the slice
  wait       waits until the slice is active; fails if the request fails
  install    installs this commit, the pinned environment and (with --model) the weights on all workers
  start      starts the same trainer on every worker as a service; needs ARGUMENTS with --workdir=gs://...
  logs       follows the log of worker 0, or of --worker N
  stop       sends SIGTERM, on which the trainer saves a checkpoint and ends
  resume     watches until the run has finished; after a preemption it deletes, creates, waits, installs and starts again,
             and the run continues from its last checkpoint; needs the same ARGUMENTS as start
  delete     deletes the slice and the request; WHATEVER IS NOT DELETED COSTS MONEY (chips x hours, used or not)

options
  --project PROJECT         Google Cloud project (default: that of gcloud)
  --topology v5p:4x4x4      shape of the slice (default v5p:4x4x4); also v5p:AxBxC, v6e:AxB
  --spot                    cheaper slice that may be preempted at any time (resume recreates it)
  --reserved                slice from your reservation
  --runtime-version V       TPU software version (default: by the topology)
  --service-account EMAIL   service account of the workers, which must read and write the buckets
  --model gs://FOLDER       Hugging Face folder that install copies to ./model of each worker
  --worker N                worker for logs
  --poll SECONDS            seconds between checks in wait and resume (default 30)
  --attempts N              times that resume recreates the slice or restarts the trainer (default 100); it also gives up
                            when the trainer fails 3 times in an hour
  --dry-run                 prints the commands without running them'
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common.sh
source "$here/common.sh"

verb=${1:-}
case $verb in
  create | wait | install | start | logs | stop | resume | delete) shift ;;
  -h | --help | help)
    echo "$usage"
    exit 0
    ;;
  *) die "expected a verb: create, wait, install, start, logs, stop, resume or delete (--help explains), got '$verb'" ;;
esac

name='' zone='' project='' slice=v5p:4x4x4 runtime='' account='' model='' worker=0 poll=30 attempts=100 dry_run=0
capacity=() arguments=()
while (($#)); do
  case $1 in
    --dry-run) dry_run=1 ;;
    --spot | --reserved)
      [[ ${capacity[*]-$1} == "$1" ]] || die "$1: expected one of --spot and --reserved"
      capacity=("$1")
      ;;
    --)
      shift
      arguments=("$@")
      break
      ;;
    --name | --zone | --project | --topology | --runtime-version | --service-account | --model | --worker | --poll | --attempts)
      (($# > 1)) && [[ -n $2 && $2 != -- ]] || die "$1: expected a value"
      case $1 in
        --name) name=$2 ;;
        --zone) zone=$2 ;;
        --project) project=$2 ;;
        --topology) slice=$2 ;;
        --runtime-version) runtime=$2 ;;
        --service-account) account=$2 ;;
        --model) model=$2 ;;
        --worker) worker=$2 ;;
        --poll) poll=$2 ;;
        --attempts) attempts=$2 ;;
      esac
      shift
      ;;
    *) die "$1: unknown option (arguments of the trainer follow after --)" ;;
  esac
  shift
done
check_name
[[ -n $zone ]] || die "--zone: missing"
[[ $attempts =~ ^[0-9]+$ ]] || die "--attempts: expected a whole number, got '$attempts'"
[[ $poll =~ ^[0-9]+([.][0-9]+)?$ ]] || die "--poll: expected seconds, got '$poll'"
[[ $worker =~ ^([0-9]+|all)$ ]] || die "--worker: expected a number, got '$worker'"
[[ -z $model || $model == gs://* ]] || die "--model: expected gs://FOLDER, got '$model'"
parse_slice "$slice"
where=(--zone="$zone" ${project:+--project="$project"})
folder=srpo_jax # in the home folder of the workers
scratch=/tmp
if ((!dry_run)); then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
fi

if [[ $verb == start || $verb == resume ]]; then
  check_arguments "the workers' own disks are deleted with the slice"
fi

create() {
  warn_of_cost "launch/tpu_vm.sh delete --name $name --zone $zone${project:+ --project $project}"
  run gcloud compute tpus queued-resources create "$name" --node-id="$name" "${where[@]}" \
    --accelerator-type="$accelerator_type" --runtime-version="${runtime:-$default_runtime}" \
    ${account:+--service-account="$account"} "${capacity[@]}"
}

describe=(gcloud compute tpus queued-resources describe "$name" "${where[@]}" '--format=value(state.state)')

# Prints the state of the request, NONE if there is no request, or UNKNOWN if gcloud failed.
state() {
  local said
  if said=$("${describe[@]}" 2>&1); then
    echo "${said##*$'\n'}"
  elif [[ $said == *NOT_FOUND* || $said == *"not found"* ]]; then
    echo NONE
  else
    echo "${said##*$'\n'}" >&2
    echo UNKNOWN
  fi
}

wait_until_active() {
  quoted "${describe[@]}"
  if ((dry_run)); then return; fi
  local now before=''
  while :; do
    now=$(state)
    if [[ $now != "$before" ]]; then echo "$(date -u +%FT%TZ) $name: $now" >&2; fi
    before=$now
    case $now in
      ACTIVE) return ;;
      SUSPENDED | FAILED | NONE) return 1 ;;
    esac
    sleep "$poll"
  done
}

# Runs a command on workers. $1 is "all" or the number of one worker.
on() {
  run gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker="$1" --command="$2"
}

install() {
  local code=$scratch/srpo_jax.tar.gz
  run git -C "$here/.." archive --format=tar.gz --output="$code" HEAD && # every worker gets the same commit
    run gcloud compute tpus tpu-vm scp "$code" "$name:srpo_jax.tar.gz" "${where[@]}" --worker=all &&
    on all "mkdir -p $folder && tar -xzf srpo_jax.tar.gz -C $folder && $(quoted bash $folder/launch/worker.sh install ${model:+"$model"})"
}

start() { on all "$(quoted bash $folder/launch/worker.sh start "${arguments[@]}")"; }
stop() { on all "bash $folder/launch/worker.sh stop"; }
delete() { run gcloud compute tpus queued-resources delete "$name" "${where[@]}" --force --quiet; }

make() { create && wait_until_active && install && start; }

# Prints the trainer's status on worker 0, or nothing if the worker does not answer, such as during a preemption.
trainer() {
  gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker=0 --command="bash $folder/launch/worker.sh status" 2> /dev/null || true
}

resume() {
  if ((dry_run)); then
    quoted "${describe[@]}"
    echo "# if the request is SUSPENDED or FAILED:"
    delete
    make
    return
  fi
  local tried=0 failures=0 last_failure=0 now said before=''
  again() {
    ((++tried <= attempts)) || { echo "error: $name: given up after $attempts attempts; the slice stays as it is and may still cost" >&2; exit 1; }
  }
  while :; do
    now=$(state)
    said=''
    if [[ $now == ACTIVE ]]; then said=$(trainer | tail -n 1); fi
    if [[ "$now $said" != "$before" ]]; then echo "$(date -u +%FT%TZ) $name: $now${said:+, trainer $said}" >&2; fi
    before="$now $said"
    case "$now $said" in
      "ACTIVE finished")
        echo "$name: the run has finished; delete the slice with: launch/tpu_vm.sh delete --name $name --zone $zone${project:+ --project $project}" >&2
        return
        ;;
      "ACTIVE failed 2")
        on 0 "tail -n 20 $folder/run.log" || true
        echo "error: $name: the trainer refused its input; resume does not try again, and the slice still costs" >&2
        exit 2
        ;;
      "ACTIVE failed"*)
        again
        if ((SECONDS - last_failure > 3600)); then failures=0; fi
        last_failure=$SECONDS
        if ((++failures >= 3)); then
          on 0 "tail -n 20 $folder/run.log" || true
          echo "error: $name: the trainer failed 3 times in an hour; resume does not try again, and the slice still costs" >&2
          exit 1
        fi
        { stop && start; } || true # fails if a worker is being preempted, which the next state will show
        ;;
      "ACTIVE stopped")
        again
        { stop && start; } || true
        ;;
      "ACTIVE new")
        again
        { install && start; } || true
        ;;
      SUSPENDED* | FAILED*)
        again
        { delete && make; } || true
        ;;
      NONE*)
        again
        make || true
        ;;
    esac
    sleep "$poll"
  done
}

case $verb in
  create) create ;;
  wait) wait_until_active || { echo "error: $name: the request failed, was suspended or does not exist" >&2; exit 1; } ;;
  install) install ;;
  start) start ;;
  logs) on "$worker" "tail -n 100 -F $folder/run.log" ;;
  stop) stop ;;
  resume) resume ;;
  delete) delete ;;
esac
