"""Compiles a training step for a machine that need not be present, and estimates its memory and time.

python -m srpo_jax.plan --config=configs/stage1.py --topology=v5p:4x4x8 [--search] [--json=FILE] [--config.a.b=value]

Prints figures per chip: memory in every phase (weights, moments, KV cache and temporaries) next to the memory that the
chip has, and FLOPs, HBM bytes and collectives of every program. A roofline of every phase, from the chip's published
rates, gives a lower bound of the step's time. The exit status is 1 if a program does not fit, and 2 for wrong input.

If the topology has a multiple of the mesh's chips, the weights are split over all of them, by a larger `fsdp`. The
model's shape comes from the config.json in the folder config.model.path. If that folder does not exist, its name stands
for a published shape of Qwen2.5, Qwen3, Llama 3.1 to 3.3 or SmolLM2, such as Qwen2.5-7B-Instruct, or for a model
on the hub.
"""

import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

from srpo_jax.planning.options import plan_config, plan_lengths, read_options
from srpo_jax.utils.errors import TrainingError, run_cli


def main(args: Sequence[str]) -> None:
  """Prints the plans. Exits with status 1 if none of them fits."""
  options, overrides = read_options(args, __doc__ or "")
  config = plan_config(options, overrides)
  # Imported late, so that --help does not wait for JAX.
  from srpo_jax.planning.chips import parse_topology
  from srpo_jax.planning.target import prepare_jax, set_mesh

  topology = parse_topology(options.topology) if options.topology else None
  notes: tuple[str, ...] = ()
  if topology is not None and not options.search:
    config, notes = set_mesh(config, topology.chips, topology.name)
  prepare_jax(topology)  # before the imports that look for devices
  logging.getLogger("jax").setLevel(logging.ERROR)
  from srpo_jax.planning import plans, table

  lengths = plan_lengths(options, config)
  started, cpu = time.perf_counter(), time.process_time()
  if options.search:
    found = plans.search(config, topology, lengths, tell=_tell)
  else:
    found = [plans.plan(config, topology, lengths, notes=notes, tell=_tell)]
  for one in found:
    print(table.text(one), flush=True)
    print()
  print(f"planned in {time.perf_counter() - started:.0f} s ({time.process_time() - cpu:.0f} s of CPU time)")
  if options.json:
    content: Any = [table.to_json(one) for one in found] if options.search else table.to_json(found[0])
    options.json.write_text(json.dumps(content, indent=2) + "\n")
  if all(one.fits is False for one in found):
    raise TrainingError(plans.verdict(found[0]))


def _tell(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
  run_cli(main)
