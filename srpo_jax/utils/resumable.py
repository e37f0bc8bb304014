"""Records the settings of a resumable job and refuses to resume under different ones."""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import read_json
from srpo_jax.utils.renamed import current_settings


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
  """Creates the folder of a job, or joins it if the job was started with the same settings.

  Raises:
    InputError: settings differ. The message names each of them with both values.
  """
  folder.mkdir(exist_ok=True)
  file = folder / "settings.json"
  with tempfile.NamedTemporaryFile("w", dir=folder, prefix="settings.", suffix=".partial") as partial:
    partial.write(json.dumps(settings, indent=2) + "\n")
    partial.flush()
    Path(partial.name).chmod(0o644)  # other users may resume the job or read its settings
    with contextlib.suppress(FileExistsError):
      os.link(partial.name, file)  # if several hosts start at once, one of them is first
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
  """Returns the settings of the job in a folder. Raises InputError if the folder has none."""
  file = folder / "settings.json"
  if not file.is_file():
    raise InputError(f"{file}: no such file, expected the folder of work that has begun")
  return current_settings(read_json(file))
