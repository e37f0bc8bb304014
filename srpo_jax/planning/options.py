"""Command line of `plan`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srpo_jax.cli.argument_types import positive
from srpo_jax.cli.run_flags import config_parser, read_config_file
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import as_path, local_copy

if TYPE_CHECKING:
  from srpo_jax.config import Config
  from srpo_jax.planning.workload import Lengths


def read_options(args: Sequence[str], doc: str) -> tuple[argparse.Namespace, list[str]]:
  """Returns the flags and the remaining arguments, which belong to the config. Imports no JAX."""
  parser = config_parser("plan", doc, args)
  add = parser.add_argument
  add("--topology", help="Chips, as CHIP:SHAPE: v5p:4x4x8, v6e:2x4, h200:8. Default: this machine's devices.")
  add("--search", action="store_true", help="Ranking of mesh shapes, slots and micro-batches, and plans of the best 3.")
  add("--json", type=Path, metavar="FILE", help="File for the plan as JSON. Default: no file.")
  add(
    "--mean-length",
    type=positive,
    help="Mean response length in tokens before the cut at the limit. Default: 2500, or a quarter of a smaller limit.",
  )
  add("--length-sigma", type=positive, default=0.8, help="Standard deviation of the logarithm of the lengths.")
  add(
    "--prompt-length",
    type=positive,
    help="Length of a prompt in tokens. Default: 256, or a quarter of a smaller limit.",
  )
  return parser.parse_known_args(args)


def plan_config(options: argparse.Namespace, overrides: Sequence[str]) -> "Config":
  """Returns the checked config. A plan reads no data, so the config may name none.

  Raises:
    InputError: a flag or config field is wrong, or --json is not a file in an existing folder.
  """
  from srpo_jax.config import make_config  # imported late, so that --help does not wait for JAX

  raw, _ = read_config_file("plan", options, overrides)
  if not raw.get("data", {}).get("train"):
    raw["data"]["train"] = "prompts.jsonl"
  if raw.get("init_from") and not raw["model"]["path"]:
    raw["model"]["path"] = _base_of(raw["init_from"])
  config = make_config(raw)
  if options.json and (options.json.is_dir() or not options.json.absolute().parent.is_dir()):
    raise InputError(f"--json: {options.json}: expected a file in an existing folder")
  return config


def plan_lengths(options: argparse.Namespace, config: "Config") -> "Lengths":
  """Returns the length distribution to plan with. Its defaults depend on the limits of the config."""
  from srpo_jax.planning.workload import Lengths  # imported late, so that --help does not wait for JAX

  new, prompt = config.rollout.max_new_tokens, config.data.max_prompt_tokens
  return Lengths(
    mean=options.mean_length or min(2500, new / 4),
    sigma=options.length_sigma,
    prompt=int(min(prompt, options.prompt_length or min(256, max(1, prompt // 4)))),
  )


def _base_of(run: str) -> str:
  """Returns the model folder of the run that this run starts from.

  Raises:
    InputError: that run has no model folder.
  """
  folder = as_path(run) / "model"
  if not folder.is_dir():
    raise InputError(f"config.model.path: {folder}: no such folder, expected a name or a folder")
  return str(local_copy(str(folder)))
