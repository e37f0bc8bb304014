"""Template and examples of a run's prompt, kept in its workdir because the files that the config names may change."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from srpo_jax.config import Config, read_config
from srpo_jax.data.prompt_examples import Example
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import local_copy

FOLDER = "prompt"
FILES = {"template": "template.txt", "examples": "examples.jsonl"}  # field of the section prompt -> file


def keep_prompt(workdir: Path, template: str, examples: Mapping[str, Sequence[Example]]) -> None:
  """Writes the template and the examples of a run into its workdir.

  Raises:
    InputError: the workdir already keeps others, since the run was started with them.
  """
  rows = [json.dumps(dataclasses.asdict(example)) + "\n" for of_domain in examples.values() for example in of_domain]
  texts = {"template": template and f"{template}\n", "examples": "".join(rows)}
  for field, text in texts.items():
    file = workdir / FOLDER / FILES[field]
    if file.is_file():
      if file.read_text(encoding="utf-8") != text:
        raise InputError(f"config.prompt.{field}: not the {field} that the run was started with ({file})")
    elif text:
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_text(text, encoding="utf-8")


def run_config(workdir: Path, overrides: Sequence[str] = ()) -> Config:
  """Returns the config of a run for commands that only read it. Its prompt is made of the files that the run keeps.

  Args:
    overrides: `--config.section.field=value` arguments.

  Raises:
    InputError: the folder is not the workdir of a run, or an override is wrong.
  """
  folder = workdir / FOLDER
  kept = local_copy(str(folder)) if folder.is_dir() else folder
  own = [f"--config.prompt.{field}={kept / name}" for field, name in FILES.items() if (kept / name).is_file()]
  return read_config(workdir / "config.json", [*own, *overrides])
