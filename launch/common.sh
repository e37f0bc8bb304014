# shellcheck shell=bash disable=SC2034,SC2154 # variables that the scripts give and take
# What launch/tpu_vm.sh and launch/jobset.sh share: errors of one line, commands shown or run, slices and what they cost.

die() {
  echo "error: $*" >&2
  exit 2
}

((BASH_VERSINFO[0] >= 5)) || die "expected bash 5 or newer (macOS: brew install bash), got $BASH_VERSION"

# Words as a line that a shell reads as these words.
quoted() {
  local word line='' quote="'\\''"
  for word in "$@"; do
    [[ $word =~ ^[-A-Za-z0-9_./:=@%+,]+$ ]] || word="'${word//\'/"$quote"}'"
    line+="$word "
  done
  printf '%s\n' "${line% }"
}

# Shows a command, and runs it unless --dry-run was given.
run() {
  quoted "$@"
  if ((dry_run)); then return; fi
  "$@"
}

# The name of a slice, a node pool or a job.
check_name() {
  [[ -n $name ]] || die "--name: missing"
  [[ $name =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] || die "--name: expected small letters, digits and hyphens, got '$name'"
}

# The trainer's arguments; $1: why its workdir is not on the machine.
check_arguments() {
  [[ " ${arguments[*]-} " == *" --config"* ]] ||
    die "$verb: expected -- --config=... --workdir=gs://... (the trainer's arguments)"
  [[ " ${arguments[*]-} " == *" --workdir=gs://"* ]] || die "$verb: expected --workdir=gs://... after --: $1"
}

# v5p:4x4x4 -> generation, topology, chips, chips_per_host, hosts, accelerator_type (v5p counts cores, two a chip).
parse_slice() {
  [[ $1 =~ ^(v5p|v6e):([1-9][0-9]*(x[1-9][0-9]*)+)$ ]] || die "--topology: expected v5p:AxBxC or v6e:AxB, got '$1'"
  generation=${BASH_REMATCH[1]} topology=${BASH_REMATCH[2]} chips=1
  local size dimensions=0
  for size in ${topology//x/ }; do
    chips=$((chips * size)) dimensions=$((dimensions + 1))
  done
  if [[ $generation == v5p ]]; then
    ((dimensions == 3)) || die "--topology: expected three dimensions for v5p, got '$1'"
    accelerator_type=v5p-$((2 * chips)) default_runtime=v2-alpha-tpuv5 chips_per_host=4
  else
    ((dimensions == 2)) || die "--topology: expected two dimensions for v6e, got '$1'"
    accelerator_type=v6e-$chips default_runtime=v2-alpha-tpuv6e chips_per_host=4
    if ((chips <= 8)); then chips_per_host=$chips; fi
  fi
  ((chips % chips_per_host == 0)) || die "--topology: expected a multiple of $chips_per_host chips, got '$1'"
  hosts=$((chips / chips_per_host))
}

# On stderr: what it costs to forget the slice.
warn_of_cost() {
  echo "# $chips chips ($hosts hosts): each hour that they exist costs $chips chip-hours, trained on or not (a day:" \
    "$((24 * chips)); prices a chip-hour: https://cloud.google.com/tpu/pricing). They end with: $1" >&2
}
