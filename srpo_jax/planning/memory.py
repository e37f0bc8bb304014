"""Contents of a chip's memory in each phase of a step, from the compiled programs' own figures.

Sizes of arrays that outlive a program come from the compiled programs' results, not from shapes on paper, so they
include the padding of tiles. Lifetimes follow the training loop:

- Weights and moments are always alive.
- Serving weights live from the reshard until the update.
- The cache lives while rollouts are sampled. Where it grows, the smaller cache is alive until its copy is made.
- The gradient accumulator lives in the update.
"""

import dataclasses
from collections.abc import Mapping

from srpo_jax.planning.programs import Program


@dataclasses.dataclass(frozen=True)
class Phase:
  """Bytes on a chip while one program runs."""

  program: str
  held: Mapping[str, int]  # arrays that stay alive throughout, by name
  temporaries: int  # everything else: temporaries, and arguments and results that are not in `held`

  @property
  def total(self) -> int:
    return sum(self.held.values()) + self.temporaries


# program -> residents that are alive while it runs
RESIDENTS = {
  "reshard": ("weights", "moments", "serving weights", "code"),
  "prefill longest": ("weights", "moments", "serving weights", "KV cache", "code"),
  "insert": ("weights", "moments", "serving weights", "KV cache", "code"),
  "grow": ("weights", "moments", "serving weights", "KV cache", "code"),
  "generate": ("weights", "moments", "serving weights", "KV cache", "code"),
  "log-probs": ("weights", "moments", "code"),
  "accumulate": ("weights", "moments", "gradients", "code"),
  "apply": ("weights", "moments", "gradients", "code"),
}
# program -> residents that its `memory_analysis()` counts among its arguments or results
COUNTED = {
  "reshard": ("weights", "serving weights"),
  "prefill longest": ("serving weights",),
  "insert": ("KV cache",),
  "grow": ("KV cache",),
  "generate": ("serving weights", "KV cache"),
  "log-probs": ("weights",),
  "accumulate": ("weights", "gradients"),
  "apply": ("weights", "moments", "gradients"),
}


def residents(programs: Mapping[str, Program]) -> dict[str, int]:
  """Returns the bytes on a chip of everything that outlives a program, by name.

  Leaves out the results of programs that XLA refused.
  """
  sizes = {
    "weights": ("zeros", "output"),  # gradients have the dtype and the layout of the weights
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
  """Returns the phases whose program compiled."""
  sizes = residents(programs)
  sampled = "serving weights" if "serving weights" in sizes else "weights"  # without a copy, the trainer's weights
  found = []
  for name, alive in RESIDENTS.items():
    program = programs.get(name)
    if program is None or not program.memory:
      continue
    always = [part for part in ("reference",) if part in sizes]
    held = {part: sizes.get(part, 0) for part in (*alive, *always)}
    counted = [sampled if part == "serving weights" else part for part in COUNTED[name]]
    own = program.total - sum(sizes.get(part, 0) for part in counted)
    found.append(Phase(name, held, max(0, own)))
  return found


def peak(programs: Mapping[str, Program]) -> Phase | None:
  """Returns the phase that needs the most memory, or None if no program compiled."""
  return max(phases(programs), key=lambda phase: phase.total, default=None)
