"""Settings of a resumable job: the config fields that sampled and judged responses depend on."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from srpo_jax.config import Config, SandboxConfig, flatten
from srpo_jax.data.prompt_config import PromptConfig
from srpo_jax.data.prompt_examples import examples_digest
from srpo_jax.training.build import prompt_files
from srpo_jax.utils.fields import defaults

# Config fields that verdicts depend on.
JUDGED_BY = (
  "reward.validator",
  "reward.timeout_s",
  "reward.judges",
  "reward.function",
  "sandbox.min_tier",
  "sandbox.timeout_s",
  "sandbox.response_timeout_s",
  "sandbox.memory_mb",
  "sandbox.packages",
)


def config_settings(config: Config, names: Sequence[str]) -> dict[str, Any]:
  """Returns the values of the named config fields, and of those that make the prompt."""
  flat = flatten(config)
  # Folders from before these fields existed do not record them, so their usual values are left out.
  usual = {"reward.judges": "", "sandbox.response_timeout_s": SandboxConfig().response_timeout_s}
  values = {f"config.{name}": flat[name] for name in names if name not in usual or flat[name] != usual[name]}
  return values | _prompt_settings(config)


def _prompt_settings(config: Config) -> dict[str, Any]:
  """Returns the settings of the prompt. Folders from earlier versions record only the instructions.

  Other fields are therefore left out at their defaults. The content of files counts, not their names.
  """
  own, files = dataclasses.asdict(config.prompt), prompt_files(config)
  own["template"] = files["template"]
  own["examples"] = examples_digest(files["examples"]) if files["examples"] else ""
  instructions, usual = own.pop("instructions"), defaults(PromptConfig)
  changed = {name: value for name, value in own.items() if value != usual[name]}
  return {f"config.prompt.{name}": value for name, value in (instructions | changed).items()}
