"""The command line's policy: --model DIR, or --workdir DIR [--step N], with the settings that it is sampled under."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srpo_jax.cli.config_flags import check_overrides
from srpo_jax.config import Config, read_config
from srpo_jax.launch import parse_flags
from srpo_jax.utils.errors import ArgumentParser, InputError
from srpo_jax.utils.paths import as_path

if TYPE_CHECKING:
  from srpo_jax.rollout.policy import Policy

CONFIG = "configs/base.py"


def add_policy(parser: ArgumentParser) -> None:
  """Adds the options that name a policy."""
  parser.add_argument("--model", type=Path, help="Hugging Face folder of the policy")
  parser.add_argument("--workdir", type=as_path, help="of the run whose policy it is; may be gs://")
  parser.add_argument("--step", type=int, help="of the run's checkpoint; default the last")
  parser.add_argument("--config", help=f"of --model: where the settings of training come from; default {CONFIG}")


def check_policy(options: argparse.Namespace, overrides: Sequence[str]) -> None:
  """Raises InputError for options that do not name one policy, or arguments left over that are no overrides."""
  if (options.model is None) == (options.workdir is None):
    raise InputError("--model: expected a Hugging Face folder here, or a run's folder in --workdir, not both")
  if options.workdir is None and options.step is not None:
    raise InputError("--step: expected with --workdir alone")
  if options.workdir is not None and options.config is not None:
    raise InputError("--config: expected with --model alone: a run has its own (single fields: --config.section.field)")
  check_overrides(overrides)


def policy_config(options: argparse.Namespace, overrides: Sequence[str]) -> Config:
  """The settings of training: the run's own, or those of --config, with the overrides in place."""
  if options.workdir:
    return read_config(options.workdir / "config.json", overrides)
  own = [f"--config.model.path={options.model}", "--config.data.train=none", "--config.train.steps=1"]  # no training
  return parse_flags([f"--config={options.config or CONFIG}", *overrides, *own])[0]


def find_policy(options: argparse.Namespace) -> "Policy":
  """Where the policy is. Raises InputError where it is not."""
  from srpo_jax.rollout.policy import of_folder, of_run  # imported late: a wrong option is told at once

  return of_folder(options.model) if options.model else of_run(options.workdir, options.step)
