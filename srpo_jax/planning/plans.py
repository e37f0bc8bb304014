"""Plan of one config, and plans of the best results of a search."""

import dataclasses
from collections.abc import Callable
from typing import cast

import jax

from srpo_jax.config import Config, make_config
from srpo_jax.model import hf
from srpo_jax.model.kernels.paged import PAGE
from srpo_jax.model.sharding import make_mesh
from srpo_jax.model.transformer import TransformerConfig
from srpo_jax.planning import analytic, chips
from srpo_jax.planning import search as searching
from srpo_jax.planning.chips import GIB, Topology
from srpo_jax.planning.phases import estimate
from srpo_jax.planning.programs import Program, compile_step
from srpo_jax.planning.shapes import model_shape
from srpo_jax.planning.table import Plan, largest, markdown
from srpo_jax.planning.workload import Lengths, make_workload
from srpo_jax.training.build import base_folder
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.plugins import resolve_callable

Tell = Callable[[str], None]

ESTIMATED = (
  "ESTIMATE: no such GPU is here, so XLA:CPU compiled the programs. FLOPs, weights, moments, gradients, serving "
  "weights and cache are exact; temporaries are XLA:CPU's (its attention keeps [T, T] scores, which cuDNN's does not); "
  "times are of a closed form (srpo_jax/planning/analytic.py), not of a compiled GPU program"
)


def shape_of(config: Config) -> TransformerConfig:
  """Returns the model's shape.

  For a model that the config builds with `module:f`, the shape comes from `module:f_shape` if it exists. Otherwise the
  model is built or taken from its cache.
  """
  if config.model.path:
    return model_shape(config.model.path, config.model.revision)
  try:
    shape = resolve_callable(f"{config.model.build}_shape")
  except InputError:
    return hf.read_config(base_folder(config))
  return cast(TransformerConfig, shape(**config.model.build_args))


def plan(
  config: Config,
  topology: Topology | None,
  lengths: Lengths,
  *,
  notes: tuple[str, ...] = (),
  tell: Tell = lambda _: None,
) -> Plan:
  """Compiles the programs of a step for the topology, or for this machine's devices if it is None.

  Args:
    notes: lines to print with the plan.
    tell: receives a line of progress after each program.

  Raises:
    InputError: the mesh does not divide the model, the number of devices is not the size of the mesh, or every response
      is cut at the length limit.
  """
  shape, m = shape_of(config), config.mesh
  estimated = False
  if topology is not None and topology.chip.platform == "tpu":
    mesh = make_mesh(m.data, m.fsdp, m.tensor, devices=chips.tpu_devices(topology))
  else:
    here = jax.devices()
    if topology is not None and here[0].platform != "gpu":
      estimated, notes = True, (*notes, ESTIMATED)
    mesh = make_mesh(m.data, m.fsdp, m.tensor)
    if topology is None:
      n = m.data * m.fsdp * m.tensor
      topology = Topology(f"this machine's {here[0].platform}", chips.chip_of(here[0]), n, str(n))
  work = make_workload(config, lengths)
  if not work.micro_batches:
    raise InputError(
      "--mean-length: every response is cut at the length limit and leaves the loss, expected a smaller mean"
    )
  micro_batch = max((tokens, targets) for tokens, targets, _ in work.micro_batches)
  positions = config.rollout.slots * (config.data.max_prompt_tokens + config.rollout.max_new_tokens)
  begun = config.rollout.slots * PAGE / 2  # half of each slot's last page is in use, and the kernel reads all of it
  fill = min(1.0, (work.rollouts.in_use + begun) / positions)
  programs = compile_step(config, shape, mesh, micro_batch=micro_batch, prompt=lengths.prompt, fill=fill, tell=tell)
  step = None
  counted: dict[str, Program] = analytic.programs(config, shape, work) if estimated else programs
  if topology.chip.flops is not None and not any(program.refused for program in programs.values()):
    step = estimate(counted, work, shape, config, topology.chip)
  return Plan(config, topology, shape, (m.data, m.fsdp, m.tensor), programs, work, step, notes)


def search(config: Config, topology: Topology | None, lengths: Lengths, *, tell: Tell = lambda _: None) -> list[Plan]:
  """Prints the ranking by the closed form, then returns plans of the best three meshes, fastest first.

  Raises:
    InputError: the topology is None, or no mesh fits.
  """
  if topology is None:
    raise InputError("--search: expected --topology, such as v5p:4x4x8, to rank by the chip's published rates")
  shape = shape_of(config)
  ranked = searching.rank(config, shape, topology, lengths)
  shown = searching.best_of_each_mesh(ranked, 8)
  rows = [["closed form", "step s at least", "decode s", "update s", "GiB a chip"]]
  for one in shown:
    at = {phase.phase: phase.seconds for phase in one.step.phases}
    times = f"{one.step.seconds:.0f}", f"{at['decode']:.0f}", f"{at['forward and backward']:.0f}"
    rows.append([one.words, *times, f"{one.bytes / GIB:.1f}"])
  print(f"{len(ranked)} combinations of mesh, slots and micro-batch fit by the closed form; the best of each mesh:\n")
  print(markdown(rows) + "\n", flush=True)
  found = []
  for one in shown[:3]:
    tell(one.words)
    checked = make_config(dataclasses.asdict(one.config))
    found.append(plan(checked, topology, lengths, notes=(f"launch with {one.flags}",), tell=tell))
  return sorted(found, key=lambda p: (p.fits is False, p.step.seconds if p.step else float("inf")))


def verdict(plan: Plan) -> str:
  """Returns one line that names the program that does not fit and its largest buffers."""
  found = ", ".join(f"{size / GIB:.2g} GiB {kind} {where}" for size, kind, where in largest(plan, 3))
  if plan.refused:
    program = plan.refused[0]
    return f"{plan.topology.name}: does not fit: {program.name}: {program.refused[:200]} (largest buffers: {found})"
  peak, available = plan.peak, plan.topology.chip.available
  assert peak is not None and available is not None
  needs = f"{peak.total / GIB:.2f} GiB of {available / GIB:.2f} GiB"
  return f"{plan.topology.name}: does not fit: {peak.program} needs {needs} a chip (largest buffers: {found})"
