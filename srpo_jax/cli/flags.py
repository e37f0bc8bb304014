"""Flags that several commands share, with the same spelling, type and wording everywhere."""

from pathlib import Path
from typing import Any

from srpo_jax.cli.argument_types import local_path, number, path, positive, share, whole
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.rewards.format import VALIDATORS
from srpo_jax.sandbox.tiers import TIERS

CONFIG = "configs/base.py"
MODEL = "Policy: a Hugging Face folder, owner/name[@revision] on the hub, or gs://. A local folder of that name wins"

SHARED: dict[str, dict[str, Any]] = {
  "--config": {"help": "Config file, or FILE:VARIANT."},
  "--workdir": {"type": path, "help": "Run directory (local or gs://)."},
  "--step": {"type": whole(0), "help": "Step of the checkpoint. Default: the last one."},
  "--model": {"type": str, "help": f"{MODEL}."},
  "--input": {"type": Path, "help": "File to read."},
  "--out": {"type": local_path, "help": "File or folder to write."},
  "--samples": {"type": whole(1), "help": "Number of responses per problem."},
  "--temperature": {"type": number(0), "help": "Sampling temperature. 0 is greedy."},
  "--top-p": {"type": share, "help": "Probability mass of the likeliest tokens to sample from."},
  "--max-new-tokens": {"type": whole(1), "help": "Length limit of a response in tokens. Default: the config's."},
  "--max-prompt-tokens": {"type": whole(1), "help": "Length limit of a prompt in tokens."},
  "--seed": {"type": whole(0), "help": "Seed of the sampling. Default: the config's."},
  "--validator": {"choices": VALIDATORS, "help": "Form that a well-formed response must have."},
  "--timeout-s": {"type": positive, "help": "Seconds that judging one answer or program may take."},
  "--min-tier": {"choices": TIERS, "help": "Weakest sandbox to accept."},
}


def add(parser: ArgumentParser, flag: str, **changes: Any) -> None:
  """Adds a shared flag.

  Args:
    changes: arguments of `add_argument` that differ for this command, such as `required`, `default` or `help`.
  """
  parser.add_argument(flag, **SHARED[flag] | changes)
