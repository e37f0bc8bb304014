# shellcheck shell=bash disable=SC2034,SC2154 # variables shared with the scripts that source this file
# Functions that launch/tpu_vm.sh and launch/jobset.sh share: one-line errors, dry runs, slices and their cost.

die() {
  echo "error: $*" >&2
  exit 2
}

((BASH_VERSINFO[0] >= 5)) || die "expected bash 5 or newer (macOS: brew install bash), got $BASH_VERSION"

# Prints its arguments as one line that a shell reads back as the same words.
quoted() {
  local word line='' quote="'\\''"
  for word in "$@"; do
    [[ $word =~ ^[-A-Za-z0-9_./:=@%+,]+$ ]] || word="'${word//\'/"$quote"}'"
    line+="$word "
  done
  printf '%s\n' "${line% }"
}

# Prints a command, and runs it unless --dry-run was given.
run() {
  quoted "$@"
  if ((dry_run)); then return; fi
  "$@"
}

# Checks the name of a slice, a node pool or a job.
check_name() {
  [[ -n $name ]] || die "--name: missing"
  [[ $name =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] || die "--name: expected lowercase letters, digits and hyphens, got '$name'"
}

# Checks the trainer's arguments. $1 is the reason why the workdir cannot be on the machine.
check_arguments() {
  [[ " ${arguments[*]-} " == *" --config"* ]] ||
    die "$verb: expected -- --config=... --workdir=gs://... (the trainer's arguments)"
  [[ " ${arguments[*]-} " == *" --workdir=gs://"* ]] || die "$verb: expected --workdir=gs://... after --: $1"
}

# Parses v5p:4x4x4 into generation, topology, chips, chips_per_host, hosts, accelerator_type and default_runtime. The
# accelerator type of v5p counts cores, of which a chip has two.
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

# Prints on stderr the cost of a forgotten slice. $1 is the command that deletes it.
warn_of_cost() {
  echo "# $chips chips ($hosts hosts): each hour that they exist costs $chips chip-hours, used or not (a day:" \
    "$((24 * chips)); prices per chip-hour: https://cloud.google.com/tpu/pricing). To delete them: $1" >&2
}
