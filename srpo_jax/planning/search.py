"""Ranking of meshes, slots and micro-batch rows in closed form. A plan compiles the best three."""

import dataclasses
from collections.abc import Iterator

from srpo_jax.config import Config
from srpo_jax.model.attention import LANES
from srpo_jax.model.transformer import TransformerConfig
from srpo_jax.planning import analytic
from srpo_jax.planning.chips import Topology
from srpo_jax.planning.phases import Step, estimate
from srpo_jax.planning.workload import Lengths, Workload, make_workload
from srpo_jax.utils.errors import InputError

FULL = 0.92  # largest fraction of the memory to use, since the closed form is not exact


@dataclasses.dataclass(frozen=True)
class Candidate:
  """One combination of mesh, slots and micro-batch rows."""

  config: Config
  step: Step
  bytes: float  # bytes on a chip by the closed form

  @property
  def words(self) -> str:
    c = self.config
    mesh = f"data {c.mesh.data} x fsdp {c.mesh.fsdp} x tensor {c.mesh.tensor}"
    return f"{mesh}, {c.rollout.slots} slots, micro-batch {c.train.micro_batch}"

  @property
  def flags(self) -> str:
    """Command-line flags that select this candidate."""
    c = self.config
    values = {**{f"mesh.{k}": v for k, v in dataclasses.asdict(c.mesh).items()}, "rollout.slots": c.rollout.slots}
    values["train.micro_batch"] = c.train.micro_batch
    return " ".join(f"--config.{name}={value}" for name, value in values.items())


def candidates(config: Config, shape: TransformerConfig, chips: int) -> Iterator[Config]:
  """Yields the config with every mesh of `chips` chips that divides the model, and the slots and rows to try."""
  for data, fsdp, tensor in analytic.meshes(shape, chips):
    for slots in analytic.slots_for(config, data * fsdp):
      for rows in analytic.rows_for(config, data * fsdp):
        yield dataclasses.replace(
          config,
          mesh=dataclasses.replace(config.mesh, data=data, fsdp=fsdp, tensor=tensor),
          rollout=dataclasses.replace(config.rollout, slots=slots),
          train=dataclasses.replace(config.train, micro_batch=rows),
        )


def rank(config: Config, shape: TransformerConfig, topology: Topology, lengths: Lengths) -> list[Candidate]:
  """Returns the candidates that fit by the closed form, fastest first.

  Raises:
    InputError: no candidate fits.
  """
  chip = topology.chip
  assert chip.available is not None
  lanes = LANES if chip.platform == "tpu" else 1
  found, smallest = [], float("inf")
  works: dict[tuple[int, int], Workload] = {}
  for one in candidates(config, shape, topology.chips):
    key = one.rollout.slots, one.train.micro_batch
    work = works.get(key) or works.setdefault(key, make_workload(one, lengths))
    n_bytes = analytic.sizes(one, shape, max(tokens for tokens, *_ in work.micro_batches), lanes=lanes).peak
    smallest = min(smallest, n_bytes)
    if n_bytes <= FULL * chip.available:
      programs = analytic.programs(one, shape, work, lanes=lanes)
      step = estimate(programs, work, shape, one, chip)
      found.append(Candidate(one, step, n_bytes))
  if not found:
    raise InputError(
      f"--topology: {topology.name}: no mesh of {topology.chips} chips holds the model: the smallest needs "
      f"{smallest / 2**30:.1f} GiB per chip, expected at most {chip.available / 2**30:.1f} GiB"
    )
  return sorted(found, key=lambda candidate: (round(candidate.step.seconds, 1), candidate.bytes))


def best_of_each_mesh(ranked: list[Candidate], n: int) -> list[Candidate]:
  """Returns the best candidate of each of the first `n` meshes. Candidates of the same mesh differ little."""
  found: dict[tuple[int, int, int], Candidate] = {}
  for candidate in ranked:
    mesh = candidate.config.mesh
    found.setdefault((mesh.data, mesh.fsdp, mesh.tensor), candidate)
  return list(found.values())[:n]
