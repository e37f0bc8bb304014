"""The config fields that sampled and judged responses depend on, as the settings of a resumable job."""

from collections.abc import Sequence
from typing import Any

from srpo_jax.config import Config, flatten

# Config fields that verdicts depend on.
JUDGED_BY = (
  "reward.validator",
  "reward.timeout_s",
  "reward.judges",
  "reward.function",
  "sandbox.min_tier",
  "sandbox.timeout_s",
  "sandbox.memory_mb",
  "sandbox.packages",
)


def config_settings(config: Config, names: Sequence[str]) -> dict[str, Any]:
  """Returns the values of the named config fields, and the prompt instruction of each domain."""
  flat = flatten(config)
  # A folder that was started before judges existed names none.
  values = {f"config.{name}": flat[name] for name in names if name != "reward.judges" or flat[name]}
  return values | {f"config.prompt.{domain}": text for domain, text in config.prompt.items()}
