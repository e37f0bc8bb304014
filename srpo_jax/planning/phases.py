"""How long a step must take at least: a roofline of each phase at the chip's published rates.

The time of a program is the largest of its products at the peak rate, its HBM bytes at the memory's, and what it
receives over the links at theirs, as if each were hidden wholly behind the largest. No program runs that well: these
are BOUNDS. Scoring, data, the host and checkpoints are not in them.
"""

import dataclasses

from srpo_jax.config import Config
from srpo_jax.model.qwen2 import Qwen2Config
from srpo_jax.planning.chips import Chip
from srpo_jax.planning.programs import Program
from srpo_jax.planning.shapes import n_matmul_parameters
from srpo_jax.planning.workload import Workload


@dataclasses.dataclass(frozen=True)
class Roofline:
  """Seconds of one phase of a step, and of what: its three terms."""

  phase: str
  runs: float  # of its program
  flops_s: float
  hbm_s: float
  ici_s: float

  @property
  def seconds(self) -> float:
    return max(self.flops_s, self.hbm_s, self.ici_s)

  @property
  def bound_by(self) -> str:
    return max((self.flops_s, "FLOPs"), (self.hbm_s, "HBM"), (self.ici_s, "ICI"))[1]


@dataclasses.dataclass(frozen=True)
class Step:
  """Bounds of a whole step."""

  phases: tuple[Roofline, ...]
  seconds: float  # at least
  rollout_tokens_per_s: float  # at most, while rollouts are sampled
  tokens_per_s: float  # generated tokens over the whole step, at most
  update_mfu: float  # model FLOPs over the update's time at peak, at most
  step_mfu: float  # the same of all of the step
  chip_hours: float  # per 1,000 steps, at least


def model_flops(shape: Qwen2Config, tokens: float, squares: float, *, backward: bool) -> float:
  """FLOPs that the mathematics needs: 2 a matmul parameter and token, and the causal half of attention.

  Three times that with the backward pass. No second forward of rematerialisation, no padding.

  Args:
    squares: sum over sequences of their length squared.
  """
  c = shape
  forward = 2.0 * n_matmul_parameters(c) * tokens
  forward += 2 * 2.0 * c.num_hidden_layers * c.num_attention_heads * c.head_dim * squares / 2
  return forward * (3 if backward else 1)


def roofline(phase: str, program: Program, chip: Chip, chips: int, *, runs: float) -> Roofline:
  """Of `runs` runs of a program whose FLOPs are spread over `chips` chips.

  Raises:
    ValueError: a chip without published rates.
  """
  if chip.flops is None or chip.hbm is None or chip.ici is None:
    raise ValueError(f"{chip.name}: no published rates")
  flops_s = runs * program.flops / chips / chip.flops
  return Roofline(phase, runs, flops_s, runs * program.traffic.hbm / chip.hbm, runs * program.traffic.wire / chip.ici)


def estimate(programs: dict[str, Program], work: Workload, shape: Qwen2Config, config: Config, chip: Chip) -> Step:
  """The step's bounds from the compiled programs, for the config's mesh of chips."""
  mesh, chunk, updates = config.mesh, config.rollout.chunk, config.loss.updates
  chips = mesh.data * mesh.fsdp * mesh.tensor
  rows_tokens = [tokens for tokens, _, count in work.micro_batches for _ in range(count)]
  largest = max(rows_tokens, default=1)
  micro = sum(rows_tokens) / largest  # runs of the compiled shape that have as many tokens
  steps = work.rollouts.steps / chunk

  def of(phase: str, name: str, runs: float, on: int = chips) -> Roofline:
    return roofline(phase, programs[name], chip, on, runs=runs)

  found = [
    *([of("reshard", "reshard", 1)] if "reshard" in programs else []),
    of("prefill", "prefill", work.prompts, mesh.tensor),  # one row: every group of `tensor` chips runs it
    of("insert", "insert", work.inserts),
    of("decode", "generate", steps),
    of("zero gradients", "zeros", updates),
    of("forward and backward", "accumulate", micro),
    of("optimizer", "apply", updates),
  ]
  if "log-probs" in programs:
    policies = (updates > 1) + ("reference" in programs)  # whose log-probs are taken before the first update
    found.insert(-3, of("old log-probs", "log-probs", policies * micro))
  seconds = sum(phase.seconds for phase in found)
  at = {phase.phase: phase.seconds for phase in found}
  rollout_s = at["prefill"] + at["insert"] + at["decode"]
  update_s = seconds - rollout_s - at.get("reshard", 0.0)
  trained = model_flops(shape, work.trained_tokens, work.squares, backward=True)
  sampled = model_flops(shape, work.trained_tokens, work.squares, backward=False)
  peak = chips * (chip.flops or 0)
  return Step(
    phases=tuple(found),
    seconds=seconds,
    rollout_tokens_per_s=work.new_tokens / rollout_s,
    tokens_per_s=work.new_tokens / seconds,
    update_mfu=trained / (update_s * peak),
    step_mfu=(trained + sampled) / (seconds * peak),
    chip_hours=seconds * chips * 1000 / 3600,
  )
