#!/usr/bin/env bash
usage='Trains on a Cloud TPU slice (queued resources, plain multi-host JAX).

  launch/tpu_vm.sh VERB --name NAME --zone ZONE [OPTIONS] [-- ARGUMENTS OF python -m srpo_jax.launch]

verbs, in the order of a run
  create     asks for the slice
  wait       until it is there (fails when the request has)
  install    this commit, the pinned environment and (--model) the weights, on all workers
  start      the same trainer on every worker, as a service; needs ARGUMENTS with --workdir=gs://...
  logs       follows worker 0 (--worker N: another)
  stop       SIGTERM: a checkpoint, and the end
  resume     watches till the run has finished: after a preemption it deletes, creates, waits, installs and starts again;
             needs ARGUMENTS as start; the workdir goes on from its last checkpoint
  delete     the slice, and the request; WHAT IS NOT DELETED COSTS: chips x hours, used or not

options
  --project PROJECT         default that of gcloud
  --topology v5p:4x4x4      default; also v5p:AxBxC, v6e:AxB
  --spot                    cheaper, and may be taken away at any time (resume brings it back)
  --reserved                from your reservation
  --runtime-version V       default by the topology
  --service-account EMAIL   of the workers: needs to read and write the buckets
  --model gs://FOLDER       Hugging Face folder that install copies to ./model of each worker
  --worker N                for logs
  --poll SECONDS            between looks of wait and resume; default 30
  --attempts N              times that resume makes the slice or starts the trainer anew; default 100 (a trainer that
                            fails by itself: 3 in an hour)
  --dry-run                 prints the commands, runs none'
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
folder=srpo_jax # on the workers, in the home folder
scratch=/tmp
if ((!dry_run)); then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
fi

if [[ $verb == start || $verb == resume ]]; then
  check_arguments "the workers' own disks go with the slice"
fi

create() {
  warn_of_cost "launch/tpu_vm.sh delete --name $name --zone $zone${project:+ --project $project}"
  run gcloud compute tpus queued-resources create "$name" --node-id="$name" "${where[@]}" \
    --accelerator-type="$accelerator_type" --runtime-version="${runtime:-$default_runtime}" \
    ${account:+--service-account="$account"} "${capacity[@]}"
}

describe=(gcloud compute tpus queued-resources describe "$name" "${where[@]}" '--format=value(state.state)')

# The request's state; NONE where there is none, UNKNOWN where gcloud could not say.
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

# A command on workers (all, or one by its number).
on() {
  run gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker="$1" --command="$2"
}

install() {
  local code=$scratch/srpo_jax.tar.gz
  run git -C "$here/.." archive --format=tar.gz --output="$code" HEAD && # what is committed, on every worker the same
    run gcloud compute tpus tpu-vm scp "$code" "$name:srpo_jax.tar.gz" "${where[@]}" --worker=all &&
    on all "mkdir -p $folder && tar -xzf srpo_jax.tar.gz -C $folder && $(quoted bash $folder/launch/worker.sh install ${model:+"$model"})"
}

start() { on all "$(quoted bash $folder/launch/worker.sh start "${arguments[@]}")"; }
stop() { on all "bash $folder/launch/worker.sh stop"; }
delete() { run gcloud compute tpus queued-resources delete "$name" "${where[@]}" --force --quiet; }

make() { create && wait_until_active && install && start; }

# What worker 0 says of its trainer; nothing where it cannot be asked (it is about to go).
trainer() {
  gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker=0 --command="bash $folder/launch/worker.sh status" 2> /dev/null || true
}

resume() {
  if ((dry_run)); then
    quoted "${describe[@]}"
    echo "# where it is SUSPENDED or FAILED:"
    delete
    make
    return
  fi
  local tried=0 failures=0 last_failure=0 now said before=''
  again() {
    ((++tried <= attempts)) || { echo "error: $name: given up after $attempts attempts, the slice is left as it is" >&2; exit 1; }
  }
  while :; do
    now=$(state)
    said=''
    if [[ $now == ACTIVE ]]; then said=$(trainer | tail -n 1); fi
    if [[ "$now $said" != "$before" ]]; then echo "$(date -u +%FT%TZ) $name: $now${said:+, trainer $said}" >&2; fi
    before="$now $said"
    case "$now $said" in
      "ACTIVE finished")
        echo "$name: the run has finished; now: launch/tpu_vm.sh delete --name $name --zone $zone${project:+ --project $project}" >&2
        return
        ;;
      "ACTIVE failed 2")
        on 0 "tail -n 20 $folder/run.log" || true
        echo "error: $name: the trainer refused its input; nothing is tried again, and the slice still costs" >&2
        exit 2
        ;;
      "ACTIVE failed"*)
        again
        if ((SECONDS - last_failure > 3600)); then failures=0; fi
        last_failure=$SECONDS
        if ((++failures >= 3)); then
          on 0 "tail -n 20 $folder/run.log" || true
          echo "error: $name: the trainer failed 3 times in an hour; nothing is tried again, and the slice still costs" >&2
          exit 1
        fi
        { stop && start; } || true # a worker that is being taken away cannot be asked: the state will say so
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
  wait) wait_until_active || { echo "error: $name: the request failed, was suspended or is not there" >&2; exit 1; } ;;
  install) install ;;
  start) start ;;
  logs) on "$worker" "tail -n 100 -F $folder/run.log" ;;
  stop) stop ;;
  resume) resume ;;
  delete) delete ;;
esac
