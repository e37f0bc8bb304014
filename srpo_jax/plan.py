"""Compiles every program of a training step for a machine that need not be here, and says what it needs and how long.

python -m srpo_jax.plan --config=configs/stage1.py --topology=v5p:4x4x8 [--search] [--json=FILE] [--config.a.b=value]

Prints, for each chip: memory for weights, moments, KV cache and temporaries against what it has, in every phase; FLOPs,
HBM bytes and collectives of each program; and from the chip's published rates a roofline of each phase, a bound of the
step's time. Exit status 1 where a program does not fit, 2 where the input is wrong.

  --topology   v5p:4x4x8, v6e:2x4, v5e:4x4, or GPUs: h100:1, h200:8, a100:1; without it, this machine's own devices
  --search     ranks mesh shapes, slots and micro-batches in closed form, compiles the best three and prints them
  --json       file for the same as JSON
  --mean-length, --length-sigma   of the lognormal response lengths (2500, or a quarter of a smaller limit; 0.8)
  --prompt-length                 tokens of a prompt (256, or a quarter of a smaller limit)

On a topology with a multiple of the mesh's chips the weights are split so many ways more, along `fsdp`. The
model's shape comes from config.model.path: its config.json where the folder is here, else the published shape of that
name (Qwen2.5-0.5B to -72B, Math, Coder and Instruct too).
"""

import dataclasses
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srpo_jax.cli.config_flags import parse_config_and
from srpo_jax.config import Config, make_config
from srpo_jax.utils.errors import InputError, TrainingError, run_cli
from srpo_jax.utils.paths import as_path, local_copy

OPTIONS = {
  "topology": "CHIP:SHAPE, such as v5p:4x4x8 or h200:1; default: this machine's devices.",
  "json": "File for the plan as JSON.",
  "mean-length": "Mean response length in tokens, before the cut at the limit.",
  "length-sigma": "Sigma of the lengths' logarithm.",
  "prompt-length": "Tokens of a prompt.",
}


def parse_flags(args: Sequence[str]) -> tuple[Config, dict[str, str | None], bool]:
  """The checked config, the other flags, and whether to search.

  Raises:
    InputError: a flag that is wrong.
  """
  search = "--search" in args
  raw, _, given = parse_config_and("plan", __doc__ or "", [a for a in args if a != "--search"], OPTIONS)
  if not raw.get("data", {}).get("train"):
    raw["data"]["train"] = "prompts.jsonl"  # a plan reads no data
  if raw.get("init_from") and not raw["model"]["path"]:
    raw["model"]["path"] = _base_of(raw["init_from"])
  return make_config(raw), given, search


def _base_of(run: str) -> str:
  """Where the run that this one goes on from keeps its model's shape."""
  folder = as_path(run) / "model"
  if not folder.is_dir():
    raise InputError(f"config.model.path: expected a name or a folder: {folder} is not there")
  return str(local_copy(str(folder)))


def number(given: dict[str, str | None], name: str, default: float) -> float:
  """A positive number of a flag.

  Raises:
    InputError: it is none.
  """
  text = given[name]
  if text is None:
    return default
  try:
    value = float(text)
  except ValueError:
    value = -1.0
  if not 0 < value < 1e9:
    raise InputError(f"--{name}: expected a positive number, got {text}")
  return value


def set_mesh(config: Config, chips: int, name: str) -> tuple[Config, tuple[str, ...]]:
  """The config on `chips` chips, its weights in so many more parts along `fsdp`, and what a reader must know.

  Raises:
    InputError: the chips are no multiple of the mesh's.
  """
  mesh = config.mesh
  size = mesh.data * mesh.fsdp * mesh.tensor
  if chips % size:
    raise InputError(
      f"--topology: {name} has {chips} chips, expected a multiple of config.mesh: data {mesh.data} x fsdp {mesh.fsdp} "
      f"x tensor {mesh.tensor} = {size}"
    )
  if chips == size:
    return config, ()
  raw = dataclasses.asdict(config)
  raw["mesh"]["fsdp"] = mesh.fsdp * chips // size
  note = f"config.mesh is of {size} chips: planned, and to be launched, with --config.mesh.fsdp={raw['mesh']['fsdp']}"
  return make_config(raw), (note,)


def main(args: Sequence[str]) -> None:
  config, given, search = parse_flags(args)
  # Before jax looks for devices: a topology's are libtpu's to describe, not this machine's to find.
  from srpo_jax.planning import chips

  if given["json"] and (Path(given["json"]).is_dir() or not Path(given["json"]).absolute().parent.is_dir()):
    raise InputError(f"--json: {given['json']}: expected a file in an existing folder")
  topology = chips.parse_topology(given["topology"]) if given["topology"] else None
  if topology is not None:
    config, notes = set_mesh(config, topology.chips, topology.name) if not search else (config, ())
    if topology.chip.platform == "tpu":
      os.environ["JAX_PLATFORMS"] = "cpu"
    elif topology.chips > 1:
      flag = f"--xla_force_host_platform_device_count={topology.chips}"
      os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
  else:
    notes = ()
  logging.getLogger("jax").setLevel(logging.ERROR)
  from srpo_jax.planning import plans, table
  from srpo_jax.planning.workload import Lengths

  new, prompt = config.rollout.max_new_tokens, config.data.max_prompt_tokens
  lengths = Lengths(
    mean=number(given, "mean-length", min(2500, new / 4)),
    sigma=number(given, "length-sigma", 0.8),
    prompt=int(min(prompt, number(given, "prompt-length", min(256, max(1, prompt // 4))))),
  )
  started, cpu = time.perf_counter(), time.process_time()
  if search:
    found = plans.search(config, topology, lengths, tell=_tell)
  else:
    found = [plans.plan(config, topology, lengths, notes=notes, tell=_tell)]
  for one in found:
    print(table.text(one), flush=True)
    print()
  print(f"planned in {time.perf_counter() - started:.0f} s ({time.process_time() - cpu:.0f} s of CPU time)")
  if given["json"]:
    content: Any = [table.to_json(one) for one in found] if search else table.to_json(found[0])
    Path(given["json"]).write_text(json.dumps(content, indent=2) + "\n")
  if all(one.fits is False for one in found):
    raise TrainingError(plans.verdict(found[0]))


def _tell(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
  run_cli(main)
