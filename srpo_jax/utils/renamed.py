"""Old names that config.json files, settings.json files and command lines of earlier versions still use."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Modules that a config names as module:function.
MODULES = {
  "srpo_jax.warmup": "srpo_jax.training.warmup",
  "srpo_jax.data.synthetic": "srpo_jax.data.toy.arithmetic",
  "srpo_jax.data.synthetic_code": "srpo_jax.data.toy.programs",
}

# Config fields, of training and of curation.
FIELDS = {
  "reward.limit_s": "reward.timeout_s",
  "reward.mix_weight": "reward.language_penalty",
  "sandbox.limit_s": "sandbox.timeout_s",
  "verify.limit_s": "verify.timeout_s",
}

# Command -> its old flags, with the dashes.
FLAGS: dict[str, dict[str, str]] = {
  "curate label": {"--output": "--out"},
  "logprobs": {"--output": "--out"},
  "score": {"--output": "--out", "--limit-s": "--timeout-s"},
}


def current_spec(spec: str) -> str:
  """Returns a `module:function` text with an old module name replaced. Any other text is returned as it is."""
  module, colon, names = spec.partition(":")
  return f"{MODULES[module]}:{names}" if colon and module in MODULES else spec


def current_config(values: Any) -> Any:
  """Returns the plain values of a config with old field and module names replaced. Logs one line if there were any.

  A field that appears under both names keeps both, so that the old one is refused as unknown.
  """
  found: list[str] = []

  def walk(value: Any, path: str) -> Any:
    if isinstance(value, dict):
      walked = {}
      for name, inner in value.items():
        where = f"{path}.{name}" if path else str(name)
        new = FIELDS.get(where, where).rpartition(".")[2]
        if where in FIELDS and new not in value:
          found.append(where)
          name = new
        walked[name] = walk(inner, where)
      return walked
    return _current_specs(value, found) if isinstance(value, str) else value

  values = walk(values, "")
  _log("config", found)
  return values


def current_settings(values: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the values of a settings.json with old `config.section.field` names replaced."""
  new = {f"config.{old}": f"config.{name}" for old, name in FIELDS.items()}
  return {new.get(name, name): value for name, value in values.items()}


def current_args(command: str, args: Sequence[str]) -> list[str]:
  """Returns a command line with old flags and config fields replaced. Logs one line if there were any.

  Covers `--old=value`, `--old value` and `--config.section.old=value`. Arguments after a bare `--` are kept.

  Args:
    command: name of the command, as in FLAGS. A command without old flags need not be in FLAGS.
  """
  table = FLAGS.get(command, {}) | {f"--config.{old}": f"--config.{new}" for old, new in FIELDS.items()}
  end = args.index("--") if "--" in args else len(args)
  found: list[str] = []
  renamed = []
  for arg in args[:end]:
    name, equals, value = arg.partition("=")
    if name in table:
      found.append(name)
    renamed.append(f"{table.get(name, name)}{equals}{value}")
  _log("command line", found)
  return [*renamed, *args[end:]]


def _current_specs(text: str, found: list[str]) -> str:
  """Returns a comma-separated text with old module names replaced. Adds the text to `found` if there were any."""
  old = [part.strip() for part in text.split(",")]
  new = [current_spec(part) for part in old]
  if new == old:
    return text
  found.append(text)
  return ",".join(new)


def _log(place: str, found: Iterable[str]) -> None:
  if listed := ", ".join(found):
    logging.warning("replaced old names in the %s: %s", place, listed)
