"""Settings of a resumable job: the config fields that sampled and judged responses depend on."""

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
  # Folders from before reward.judges existed do not record it, so an empty value is left out.
  values = {f"config.{name}": flat[name] for name in names if name != "reward.judges" or flat[name]}
  return values | {f"config.prompt.{domain}": text for domain, text in config.prompt.items()}
