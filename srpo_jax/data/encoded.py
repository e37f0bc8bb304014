"""Encoded prompts, and the tokenizer and stop tokens of a model folder."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from srpo_jax.data.tokenizer import read_tokenizer
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import read_json


@dataclasses.dataclass(frozen=True)
class Prompt:
  """A problem with its prompt as text and as tokens.

  Attributes:
    asked: question and instruction, the part of the text whose scripts a response may use. None: the whole text.
    think_opened: True if the text ends in `<think>`. False if a response must begin with it.
    eos: the only token that ends a well-formed response. None: any stop token.
  """

  problem: Problem
  text: str
  tokens: Int[np.ndarray, " P"]
  asked: str | None = None
  think_opened: bool = True
  eos: int | None = None


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


def token_id(tokenizer: Any, token: str) -> int | None:
  """Returns the id of `prompt.eos`, or None for an empty text. Raises InputError if the text is not one token."""
  ids = tokenizer(token, add_special_tokens=False)["input_ids"] if token else []
  if token and len(ids) != 1:
    raise InputError(f"config.prompt.eos: {token!r} is {len(ids)} tokens of the tokenizer, expected one token")
  return ids[0] if ids else None


def stop_tokens(folder: str | Path, tokenizer: Any, eos: int | None = None) -> tuple[int, ...]:
  """Returns the sorted ids that end a response: the tokenizer's EOS, the EOS ids of generation_config.json, and `eos`.

  Raises:
    InputError: there is no EOS token, or generation_config.json has a value that is not a token id.
  """
  file = Path(folder) / "generation_config.json"
  named = read_json(file).get("eos_token_id") if file.is_file() else None
  ids = {eos, tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
  if not ids:
    raise InputError(f"{folder}: no EOS token in the tokenizer or generation_config.json")
  if not all(type(id_) is int and id_ >= 0 for id_ in ids):
    raise InputError(f"{file}: eos_token_id is {named!r}, expected token ids")
  return tuple(sorted(ids))
