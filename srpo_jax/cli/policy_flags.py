"""Flags that name a policy: --model DIR, or --workdir DIR [--step N], and the settings that it is sampled under."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from srpo_jax.cli import flags
from srpo_jax.cli.flags import CONFIG
from srpo_jax.cli.parser import ArgumentParser, check_overrides
from srpo_jax.cli.run_flags import parse_flags
from srpo_jax.utils.errors import InputError

if TYPE_CHECKING:
  from srpo_jax.config import Config
  from srpo_jax.rollout.policy import Policy


def add_policy(parser: ArgumentParser) -> None:
  """Adds the flags that name a policy."""
  flags.add(parser, "--model", help=f"{flags.MODEL}. Default: the policy of --workdir.")
  flags.add(parser, "--workdir", help="Run directory (local or gs://) of the policy. Default: the policy of --model.")
  flags.add(parser, "--step")
  flags.add(parser, "--config", help=f"Config file with the settings of training, for --model. Default: {CONFIG}.")


def check_policy(options: argparse.Namespace, overrides: Sequence[str]) -> None:
  """Raises InputError if the flags do not name exactly one policy, or if a leftover argument is not an override."""
  if (options.model is None) == (options.workdir is None):
    raise InputError("--model: expected a Hugging Face folder here, or a run's folder in --workdir, not both")
  if options.workdir is None and options.step is not None:
    raise InputError("--step: expected only with --workdir")
  if options.workdir is not None and options.config is not None:
    raise InputError("--config: expected only with --model: a run has its own (single fields: --config.section.field)")
  check_overrides(overrides)


def policy_config(options: argparse.Namespace, overrides: Sequence[str]) -> "Config":
  """Returns the training config of the run, or the one in --config, with the overrides applied."""
  from srpo_jax.training.kept_prompt import run_config  # imported late, so that --help does not wait for JAX

  if options.workdir:
    return run_config(options.workdir, overrides)
  own = [f"--config.model.path={options.model}", "--config.data.train=none", "--config.train.steps=1"]  # no training
  return parse_flags([f"--config={options.config or CONFIG}", *overrides, *own])[0]


def find_policy(options: argparse.Namespace) -> "Policy":
  """Returns the policy that the flags name. Raises InputError if it is not there."""
  from srpo_jax.model.folder import model_folder  # imported late, so that a wrong option is reported at once
  from srpo_jax.rollout.policy import of_folder, of_run

  return of_folder(model_folder(options.model)) if options.model is not None else of_run(options.workdir, options.step)
