"""Command line of `evaluate`."""

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srpo_jax.cli import flags
from srpo_jax.cli.argument_types import day, whole
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.cli.policy_flags import add_policy, check_policy, policy_config
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.fields import names
from srpo_jax.utils.paths import is_local

if TYPE_CHECKING:
  from srpo_jax.config import Config


def read_options(args: Sequence[str], doc: str) -> tuple[argparse.Namespace, list[str]]:
  """Returns the flags and the overrides of the config.

  Raises:
    InputError: a wrong flag, or flags that contradict each other.
  """
  parser = ArgumentParser("evaluate", doc)
  add_policy(parser)
  parser.add_argument("--sets", required=True, help="Sets of problems, separated by commas.")
  data = os.environ.get("SRPO_DATA")
  parser.add_argument("--data", type=Path, default=data, help="Folder of sets. Default: $SRPO_DATA, or none.")
  flags.add(parser, "--samples", default=32)
  flags.add(parser, "--temperature", default=1.0)
  flags.add(parser, "--top-p", default=1.0)
  flags.add(parser, "--max-new-tokens")
  flags.add(
    parser, "--max-prompt-tokens", default=4096, help="Length limit of a prompt in tokens. Longer ones are left out."
  )
  parser.add_argument(
    "--code-rules",
    choices=("benchmark", "training"),
    default="benchmark",
    help="Rules for programs: those of each benchmark's own harness, where it is known, or those of training.",
  )
  parser.add_argument("--limit", type=whole(0), default=0, help="Number of problems to take from each set (0: all).")
  parser.add_argument("--from", dest="first", type=day, help="First contest date, YYYY-MM-DD. Default: no limit.")
  parser.add_argument("--to", dest="last", type=day, help="Last contest date, YYYY-MM-DD. Default: no limit.")
  flags.add(parser, "--seed")
  flags.add(parser, "--out", help="Folder to write. Default: WORKDIR/evaluations/step_N, or MODEL-evaluation.")
  batch = "Number of problems sampled together (0: four times as many as fill the slots)."
  parser.add_argument("--batch-problems", type=whole(0), default=0, help=batch)
  options, overrides = parser.parse_known_args(args)
  check_policy(options, overrides)
  _check(options)
  return options, overrides


def _check(options: argparse.Namespace) -> None:
  """Raises InputError for flags that contradict each other or that the parser cannot judge."""
  from srpo_jax.config import TEMPERATURES, is_temperature  # imported late, so that --help does not wait for JAX

  if options.workdir is not None and not is_local(options.workdir) and options.out is None:
    raise InputError(f"--out: missing, expected a local folder since {options.workdir} is in an object store")
  if not names(options.sets):
    raise InputError("--sets: expected at least one set")
  if not is_temperature(options.temperature):
    raise InputError(f"--temperature: expected {TEMPERATURES}, got {options.temperature:g}")
  if options.temperature == 0 and options.samples > 1:
    raise InputError(f"--samples: at --temperature 0 all samples are alike, expected 1, got {options.samples}")
  if options.first and options.last and options.first > options.last:
    raise InputError(f"--from: {options.first} is after --to {options.last}")
  if options.data is not None and not options.data.is_dir():
    raise InputError(f"--data: {options.data}: expected a folder of sets")


def evaluation_config(options: argparse.Namespace, overrides: Sequence[str]) -> "Config":
  """Returns the training config with the flags of evaluate in place."""
  config = policy_config(options, overrides)
  given = {"max_new_tokens": options.max_new_tokens}
  return dataclasses.replace(
    config,
    data=dataclasses.replace(config.data, max_prompt_tokens=options.max_prompt_tokens),
    rollout=dataclasses.replace(config.rollout, **{name: v for name, v in given.items() if v is not None}),
    train=config.train if options.seed is None else dataclasses.replace(config.train, seed=options.seed),
  )


def default_out(options: argparse.Namespace, step: int) -> Path:
  """Returns the default folder of an evaluation."""
  if options.workdir:
    return options.workdir / "evaluations" / f"step_{step:06d}"
  from srpo_jax.model.folder import model_name  # imported late, so that --help is fast

  name = f"{model_name(options.model)}-evaluation"
  return Path(options.model).resolve().with_name(name) if Path(options.model).exists() else Path(name)
