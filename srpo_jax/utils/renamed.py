"""Old names that config.json files and command lines of earlier versions still use."""

import logging
from typing import Any

# Modules that a config names as module:function.
MODULES = {
  "srpo_jax.warmup": "srpo_jax.training.warmup",
  "srpo_jax.data.synthetic": "srpo_jax.data.toy.arithmetic",
  "srpo_jax.data.synthetic_code": "srpo_jax.data.toy.programs",
}


def current_spec(spec: str) -> str:
  """Returns a `module:function` text with an old module name replaced. Any other text comes back as it is."""
  module, colon, names = spec.partition(":")
  return f"{MODULES[module]}:{names}" if colon and module in MODULES else spec


def current_specs(values: Any) -> Any:
  """Returns the values of a config with every old module name replaced, and logs one line if there was any."""
  renamed: list[str] = []

  def walk(value: Any) -> Any:
    if isinstance(value, dict):
      return {name: walk(inner) for name, inner in value.items()}
    if not isinstance(value, str):
      return value
    specs = [current_spec(spec.strip()) for spec in value.split(",")]
    if all(new == old.strip() for new, old in zip(specs, value.split(","), strict=True)):
      return value
    renamed.append(value)
    return ",".join(specs)

  values = walk(values)
  if renamed:
    logging.info("old module names in the config: %s", ", ".join(renamed))
  return values
