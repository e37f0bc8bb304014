"""What lies in a chip's memory in each phase of a step, from the compiled programs' own figures.

Sizes of what stays are those of the compiled programs' results, padding of tiles included, not of shapes on paper. What
is alive when follows `train.train`: weights and moments always; the serving weights from the reshard until the update;
the cache while rollouts are sampled; the gradient accumulator in the update.
"""

import dataclasses
from collections.abc import Mapping

from srpo_jax.planning.programs import Program


@dataclasses.dataclass(frozen=True)
class Phase:
  """One program while it runs: bytes on a chip."""

  program: str
  held: Mapping[str, int]  # what stays through it, by name
  temporaries: int  # what it has beside: its own temporaries, and results that are not in `held`

  @property
  def total(self) -> int:
    return sum(self.held.values()) + self.temporaries


# program -> what of the residents is there while it runs
RESIDENTS = {
  "reshard": ("weights", "moments", "serving weights", "code"),
  "prefill longest": ("weights", "moments", "serving weights", "KV cache", "code"),
  "insert": ("weights", "moments", "serving weights", "KV cache", "code"),
  "generate": ("weights", "moments", "serving weights", "KV cache", "code"),
  "log-probs": ("weights", "moments", "code"),
  "accumulate": ("weights", "moments", "gradients", "code"),
  "apply": ("weights", "moments", "gradients", "code"),
}
# program -> which of the residents its `memory_analysis()` has among its arguments or results
COUNTED = {
  "reshard": ("weights", "serving weights"),
  "prefill longest": ("serving weights",),
  "insert": ("KV cache",),
  "generate": ("serving weights", "KV cache"),
  "log-probs": ("weights",),
  "accumulate": ("weights", "gradients"),
  "apply": ("weights", "moments", "gradients"),
}


def residents(programs: Mapping[str, Program]) -> dict[str, int]:
  """Bytes on a chip of what outlives a program, by name; what XLA refused to make is left out."""
  sizes = {
    "weights": ("zeros", "output"),  # gradients have the type and the layout of the weights
    "moments": ("moments", "output"),
    "gradients": ("zeros", "output"),
    "reference": ("reference", "output"),  # only for a loss that needs one
    "serving weights": ("reshard", "output"),
    "KV cache": ("cache", "output"),
  }
  found = {
    name: programs[program].memory[field]
    for name, (program, field) in sizes.items()
    if program in programs and programs[program].memory
  }
  code = sum(program.memory.get("generated_code", 0) for program in programs.values())
  return found | {"code": code}


def phases(programs: Mapping[str, Program]) -> list[Phase]:
  """Every phase whose program compiled."""
  sizes = residents(programs)
  sampled = "serving weights" if "serving weights" in sizes else "weights"  # without a copy, the trainer's own
  found = []
  for name, there in RESIDENTS.items():
    program = programs.get(name)
    if program is None or not program.memory:
      continue
    always = [part for part in ("reference",) if part in sizes]
    held = {part: sizes.get(part, 0) for part in (*there, *always)}
    counted = [sampled if part == "serving weights" else part for part in COUNTED[name]]
    own = program.total - sum(sizes.get(part, 0) for part in counted)
    found.append(Phase(name, held, max(0, own)))
  return found


def peak(programs: Mapping[str, Program]) -> Phase | None:
  """The phase that needs most."""
  return max(phases(programs), key=lambda phase: phase.total, default=None)
