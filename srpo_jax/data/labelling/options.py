"""Command-line options of `curate label`."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from srpo_jax.cli import flags
from srpo_jax.cli.argument_types import whole
from srpo_jax.cli.parser import ArgumentParser, check_overrides
from srpo_jax.cli.run_flags import parse_flags
from srpo_jax.utils.errors import InputError

if TYPE_CHECKING:
  from srpo_jax.config import Config


def read_options(args: Sequence[str], doc: str) -> tuple[argparse.Namespace, list[str]]:
  """Returns the parsed options and the overrides of the config.

  Raises:
    InputError: an option is wrong, or --model is missing without --merge.
  """
  parser = ArgumentParser("curate label", doc)
  flags.add(parser, "--input", required=True, help="Data set: records folder, .jsonl, .parquet or module:function.")
  flags.add(parser, "--out", required=True, help="Data set to write.")
  flags.add(parser, "--model", help=f"{flags.MODEL}. Required without --merge.")
  flags.add(parser, "--samples", default=16, help="Number of responses per row.")
  flags.add(parser, "--temperature", help="Sampling temperature. Default: the config's.")
  flags.add(parser, "--max-new-tokens")
  flags.add(parser, "--seed")
  flags.add(parser, "--config", default=flags.CONFIG, help="Config file with the settings of training.")
  parser.add_argument(
    "--format",
    choices=("auto", "records", "jsonl"),
    default="auto",
    help="Form of --out (auto: same as --input).",
  )
  parser.add_argument("--version", help="Version of a records folder. Default: the input's, or 1.0.0.")
  parser.add_argument(
    "--batch-rows",
    type=whole(0),
    default=0,
    help="Number of rows sampled together (0: twice as many as fill the rollout slots).",
  )
  parser.add_argument(
    "--host", type=whole(0), help="Index of this host, from 0. Default: jax.process_index() on a pod, else 0."
  )
  parser.add_argument("--hosts", type=whole(1), help="Number of hosts. Default: jax.process_count() on a pod, else 1.")
  parser.add_argument(
    "--merge", action="store_true", help="Merge of the labels of all hosts into --out. Nothing is sampled."
  )
  options, overrides = parser.parse_known_args(args)
  if options.model is None and not options.merge:
    raise InputError("--model: missing, expected a Hugging Face folder, or owner/name on the hub")
  check_overrides(overrides)
  return options, overrides


def label_config(options: argparse.Namespace, overrides: Sequence[str]) -> "Config":
  """Returns the config of training with the values of the command line filled in."""
  own = {
    "model.path": options.model,
    "train.steps": 1,  # nothing is trained, but a config must set its length
    "data.train": options.input,
    "rollout.temperature": options.temperature,
    "rollout.max_new_tokens": options.max_new_tokens,
    "train.seed": options.seed,
  }
  given = [f"--config.{name}={value}" for name, value in own.items() if value is not None]
  return parse_flags([f"--config={options.config}", *overrides, *given])[0]
