"""Encoding of problems as token prompts for the model."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from srpo_jax.data.prompts import format_prompt
from srpo_jax.data.tokenizer import read_tokenizer
from srpo_jax.types import BUILT_IN_DOMAINS, Problem
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import read_json


@dataclasses.dataclass(frozen=True)
class Prompt:
  """A problem with its prompt as text and as tokens."""

  problem: Problem
  text: str
  tokens: Int[np.ndarray, " P"]


def load_tokenizer(folder: str | Path) -> Any:
  """Loads the tokenizer of a Hugging Face folder, which encodes as its tokenizer.json says.

  Raises:
    InputError: no tokenizer.json, or a tokenizer that cannot be loaded.
  """
  if not (Path(folder) / "tokenizer.json").is_file():
    raise InputError(f"{folder}: no tokenizer.json, expected the tokenizer of a Hugging Face folder")
  try:
    return read_tokenizer(Path(folder))
  except InputError:
    raise
  except Exception as error:  # tokenizers raises plain exceptions
    raise InputError(f"{folder}: the tokenizer cannot be loaded ({type(error).__name__}: {error})") from error


def stop_tokens(folder: str | Path, tokenizer: Any) -> tuple[int, ...]:
  """Returns the sorted ids that end a response: the tokenizer's EOS and the EOS ids of generation_config.json.

  Raises:
    InputError: neither has an EOS token, or generation_config.json has a value that is not a token id.
  """
  file = Path(folder) / "generation_config.json"
  eos = read_json(file).get("eos_token_id") if file.is_file() else None
  ids = {tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])} - {None}
  if not ids:
    raise InputError(f"{folder}: no EOS token in the tokenizer or generation_config.json")
  if not all(type(id_) is int and id_ >= 0 for id_ in ids):
    raise InputError(f"{file}: eos_token_id is {eos!r}, expected token ids")
  return tuple(sorted(ids))


def encode_prompt(problem: Problem, instructions: Mapping[str, str], tokenizer: Any) -> Prompt:
  """Puts a problem into the prompt template with the instruction of its domain and encodes it.

  A user-defined domain may have no instruction.

  Raises:
    InputError: a built-in domain without an instruction.
  """
  if problem.domain in BUILT_IN_DOMAINS and problem.domain not in instructions:
    raise InputError(f"problem {problem.id}: no config.prompt.{problem.domain}, expected its domain's instruction")
  text = format_prompt(problem.question, instructions.get(problem.domain, ""))
  return Prompt(problem, text, np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"], np.int32))
