#!/usr/bin/env bash
usage='Trains on a TPU slice of GKE as a JobSet. The cluster must have https://jobset.sigs.k8s.io installed.

  launch/jobset.sh VERB [OPTIONS] [-- ARGUMENTS OF python -m srpo_jax.launch]

verbs
  create-pool   creates the node pool of the slice:    --name --cluster --location [--zone] [--topology] [--spot]
  render        prints the manifest:                   --name --image --model-bucket [...] -- ARGUMENTS
  apply         applies the manifest with kubectl, options as for render; after a preemption the job restarts by
                itself and continues from the workdir
  logs          follows the log of host 0:             --name
  delete        deletes the job and its pods, which save a checkpoint on SIGTERM:  --name
  delete-pool   deletes the node pool, WHICH COSTS MONEY UNTIL THEN (chips x hours, used or not):
                                                       --name --cluster --location

options
  --name NAME              name of the job and of the node pool
  --cluster C, --location REGION, --project PROJECT
  --zone ZONE              zone of the node pool if the cluster is regional, because a slice is in one zone
  --topology v5p:4x4x4     shape of the slice (default v5p:4x4x4); also v5p:AxBxC, v6e:AxB
  --spot                   cheaper nodes that may be preempted
  --image IMAGE            image built from launch/Dockerfile
  --model-bucket BUCKET    bucket to mount read-only at /models
  --service-account NAME   Kubernetes service account (default srpo-jax)
  --namespace NAMESPACE    Kubernetes namespace (default "default")
  --restarts N             restarts after preemptions or failures (default 100)
  --dry-run                prints the commands without running them'
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=launch/common.sh
source "$here/common.sh"

verb=${1:-}
case $verb in
  create-pool | render | apply | logs | delete | delete-pool) shift ;;
  -h | --help | help)
    echo "$usage"
    exit 0
    ;;
  *) die "expected a verb: create-pool, render, apply, logs, delete or delete-pool (--help explains), got '$verb'" ;;
esac

name='' cluster='' location='' zone='' project='' slice=v5p:4x4x4 spot=() image='' bucket='' account=srpo-jax
namespace=default restarts=100 dry_run=0 arguments=()
while (($#)); do
  case $1 in
    --dry-run) dry_run=1 ;;
    --spot) spot=(--spot) ;;
    --)
      shift
      arguments=("$@")
      break
      ;;
    --name | --cluster | --location | --zone | --project | --topology | --image | --model-bucket | --service-account | --namespace | --restarts)
      (($# > 1)) && [[ -n $2 && $2 != -- ]] || die "$1: expected a value"
      case $1 in
        --name) name=$2 ;;
        --cluster) cluster=$2 ;;
        --location) location=$2 ;;
        --zone) zone=$2 ;;
        --project) project=$2 ;;
        --topology) slice=$2 ;;
        --image) image=$2 ;;
        --model-bucket) bucket=${2#gs://} ;;
        --service-account) account=$2 ;;
        --namespace) namespace=$2 ;;
        --restarts) restarts=$2 ;;
      esac
      shift
      ;;
    *) die "$1: unknown option (arguments of the trainer follow after --)" ;;
  esac
  shift
done
check_name
[[ $restarts =~ ^[0-9]+$ ]] || die "--restarts: expected a whole number, got '$restarts'"
parse_slice "$slice"
case $verb in
  create-pool | delete-pool)
    [[ -n $cluster ]] || die "--cluster: missing"
    [[ -n $location ]] || die "--location: missing"
    ;;
  render | apply)
    [[ -n $image ]] || die "--image: missing"
    [[ -n $bucket ]] || die "--model-bucket: missing"
    check_arguments "a pod's disk is deleted with the pod"
    ;;
esac
# Machine types and labels: https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus
case $generation in
  v5p) accelerator=tpu-v5p-slice machine=ct5p-hightpu-4t ;;
  v6e) accelerator=tpu-v6e-slice machine=ct6e-standard-${chips_per_host}t ;;
esac

# Prints a text as a JSON string.
json() {
  local text=$1
  text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//$'\n'/\\n} text=${text//$'\t'/\\t}
  [[ $text != *[[:cntrl:]]* ]] || die "expected text without control characters, got $(quoted "$1")"
  printf '"%s"' "$text"
}

render() {
  local list='' argument manifest key value
  for argument in "${arguments[@]}"; do
    value=$(json "$argument") || exit
    list+="${list:+, }$value"
  done
  manifest=$(< "$here/jobset.yaml")
  while IFS='=' read -r key value; do
    manifest=${manifest//"\${$key}"/"$value"}
  done << EOF
NAME=$(json "$name")
NAMESPACE=$(json "$namespace")
SERVICE_ACCOUNT=$(json "$account")
IMAGE=$(json "$image")
MODEL_BUCKET=$(json "$bucket")
ACCELERATOR=$(json "$accelerator")
TOPOLOGY=$(json "$topology")
RESTARTS=$restarts
HOSTS=$hosts
CHIPS=$chips
CHIPS_PER_HOST=$chips_per_host
ARGUMENTS=[$list]
EOF
  printf '%s\n' "$manifest"
}

where=(--cluster="$cluster" --location="$location" ${project:+--project="$project"})
case $verb in
  create-pool)
    warn_of_cost "launch/jobset.sh delete-pool --name $name --cluster $cluster --location $location"
    run gcloud container node-pools create "$name" "${where[@]}" --machine-type="$machine" --tpu-topology="$topology" \
      --num-nodes="$hosts" ${zone:+--node-locations="$zone"} --scopes=cloud-platform "${spot[@]}"
    ;;
  delete-pool) run gcloud container node-pools delete "$name" "${where[@]}" --quiet ;;
  render) render ;;
  apply)
    warn_of_cost "launch/jobset.sh delete-pool --name $name --cluster CLUSTER --location LOCATION"
    if ((dry_run)); then
      quoted kubectl apply --filename=-
      render
    else
      manifest=$(render)
      run kubectl apply --filename=- <<< "$manifest"
    fi
    ;;
  logs) run kubectl logs --namespace="$namespace" --follow --tail=100 \
    --selector="jobset.sigs.k8s.io/jobset-name=$name,batch.kubernetes.io/job-completion-index=0" ;;
  delete) run kubectl delete jobset "$name" --namespace="$namespace" ;;
esac
