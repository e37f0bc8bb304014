"""Lower bound of a step's time, from a roofline of each phase at the chip's published rates.

The time of a program is the largest of three terms: its FLOPs at the peak rate, its HBM bytes at the memory's rate, and
its received bytes at the rate of the links. The other two terms count as wholly hidden behind the largest. No program
runs that well, so these are BOUNDS. They leave out scoring, data, the host and checkpoints.
"""

import dataclasses

from srpo_jax.config import Config
from srpo_jax.model.transformer import TransformerConfig
from srpo_jax.planning.chips import Chip
from srpo_jax.planning.programs import Program
from srpo_jax.planning.shapes import n_matmul_parameters
from srpo_jax.planning.workload import Workload


@dataclasses.dataclass(frozen=True)
class Roofline:
  """Three terms of one phase of a step, in seconds."""

  phase: str
  runs: float  # runs of the phase's program
  flops_s: float
  hbm_s: float
  ici_s: float

  @property
  def seconds(self) -> float:
    """Least time of the phase, its largest term."""
    return max(self.flops_s, self.hbm_s, self.ici_s)

  @property
  def bound_by(self) -> str:
    return max((self.flops_s, "FLOPs"), (self.hbm_s, "HBM"), (self.ici_s, "ICI"))[1]


@dataclasses.dataclass(frozen=True)
class Step:
  """Bounds of a whole step."""

  phases: tuple[Roofline, ...]
  seconds: float  # at least
  rollout_tokens_per_s: float  # generated tokens per second while rollouts are sampled, at most
  tokens_per_s: float  # generated tokens per second of the whole step, at most
  update_mfu: float  # model FLOPs of the update / (its time x peak FLOP/s), at most
  step_mfu: float  # model FLOPs of the step / (its time x peak FLOP/s), at most
  chip_hours: float  # per 1,000 steps, at least


def model_flops(shape: TransformerConfig, tokens: float, squares: float, *, backward: bool) -> float:
  """Returns the FLOPs that the mathematics needs: 2 per matmul parameter and token, and the causal half of attention.

  A forward and backward pass takes three times as many. Neither the second forward pass of rematerialisation nor
  padding counts.

  Args:
    tokens: number of tokens.
    squares: sum of the squared lengths of the sequences.
    backward: add the backward pass.
  """
  c = shape
  forward = 2.0 * n_matmul_parameters(c) * tokens
  forward += 2 * 2.0 * c.num_hidden_layers * c.num_attention_heads * c.head_dim * squares / 2
  return forward * (3 if backward else 1)


def roofline(phase: str, program: Program, chip: Chip, chips: int, *, runs: float) -> Roofline:
  """Returns the roofline of `runs` runs of a program whose FLOPs are spread over `chips` chips.

  Raises:
    ValueError: the chip has no published rates.
  """
  if chip.flops is None or chip.hbm is None or chip.ici is None:
    raise ValueError(f"{chip.name}: no published rates, expected a chip with FLOP/s, HBM and link rates")
  flops_s = runs * program.flops / chips / chip.flops
  return Roofline(phase, runs, flops_s, runs * program.traffic.hbm / chip.hbm, runs * program.traffic.wire / chip.ici)


def estimate(
  programs: dict[str, Program], work: Workload, shape: TransformerConfig, config: Config, chip: Chip
) -> Step:
  """Returns the bounds of a step from its compiled programs, on the mesh of the config."""
  mesh, chunk, updates = config.mesh, config.rollout.chunk, config.loss.updates
  chips = mesh.data * mesh.fsdp * mesh.tensor
  rows_tokens = [tokens for tokens, _, count in work.micro_batches for _ in range(count)]
  largest = max(rows_tokens, default=1)
  micro = sum(rows_tokens) / largest  # runs of the compiled shape with the same total of tokens
  steps = work.rollouts.steps / chunk

  def bound(phase: str, name: str, runs: float, on: int = chips) -> Roofline:
    return roofline(phase, programs[name], chip, on, runs=runs)

  found = [
    *([bound("reshard", "reshard", 1)] if "reshard" in programs else []),
    bound("prefill", "prefill", work.prompts, mesh.tensor),  # one row, which every replica of `tensor` chips computes
    bound("insert", "insert", work.inserts),
    bound("decode", "generate", steps),
    bound("zero gradients", "zeros", updates),
    bound("forward and backward", "accumulate", micro),
    bound("optimizer", "apply", updates),
  ]
  if "log-probs" in programs:
    policies = (updates > 1) + ("reference" in programs)  # policies that give log-probs before the first update
    found.insert(-3, bound("old log-probs", "log-probs", policies * micro))
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
