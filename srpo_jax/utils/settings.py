"""What work that goes on after a kill depends on: kept beside what it has found, so that other settings are refused."""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srpo_jax.config import Config, flatten
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import read_json
from srpo_jax.utils.renamed import current_settings

# Fields of the config by which responses are judged.
JUDGED_BY = (
  "reward.validator",
  "reward.timeout_s",
  "reward.function",
  "sandbox.min_tier",
  "sandbox.timeout_s",
  "sandbox.memory_mb",
  "sandbox.packages",
)


def of_config(config: Config, names: Sequence[str]) -> dict[str, Any]:
  """The settings that some of the config's fields are, and each domain's instruction."""
  flat = flatten(config)
  values = {f"config.{name}": flat[name] for name in names}
  return values | {f"config.prompt.{domain}": text for domain, text in config.prompt.items()}


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
  """Makes the folder of some work, or joins it where it was begun with the same settings.

  Raises:
    InputError: naming each setting that differs, with both values.
  """
  folder.mkdir(exist_ok=True)
  file = folder / "settings.json"
  with tempfile.NamedTemporaryFile("w", dir=folder, prefix="settings.", suffix=".partial") as partial:
    partial.write(json.dumps(settings, indent=2) + "\n")
    partial.flush()
    Path(partial.name).chmod(0o644)  # others may go on with the work, or ask what was done
    with contextlib.suppress(FileExistsError):
      os.link(partial.name, file)  # of several hosts that start at once, one is first
  there = read_settings(folder)
  here = json.loads(json.dumps(settings))
  changed = [
    f"{name} ({there.get(name)!r} there, {here.get(name)!r} here)"
    for name in dict.fromkeys((*there, *here))
    if there.get(name) != here.get(name)
  ]
  if changed:
    raise InputError(f"{folder}: was begun with other settings: {', '.join(changed)}")


def read_settings(folder: Path) -> dict[str, Any]:
  """The settings of the work in a folder."""
  file = folder / "settings.json"
  if not file.is_file():
    raise InputError(f"{file}: no such file, expected the folder of work that has begun")
  return current_settings(read_json(file))
