"""Problems as the token prompts that the model is given."""

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from transformers import AutoTokenizer

from srpo_jax.data.prompts import format_prompt
from srpo_jax.errors import InputError
from srpo_jax.types import Problem


@dataclasses.dataclass(frozen=True)
class Prompt:
  """A problem with its prompt."""

  problem: Problem
  text: str
  tokens: Int[np.ndarray, "P"]


def load_tokenizer(folder: str | Path) -> Any:
  """The tokenizer of a Hugging Face folder."""
  if not (Path(folder) / "tokenizer.json").is_file():
    raise InputError(f"{folder}: no tokenizer.json, expected the tokenizer of a Hugging Face folder")
  try:
    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
  except Exception as error:  # transformers raises what its parsers raise
    raise InputError(f"{folder}: the tokenizer cannot be loaded ({type(error).__name__}: {error})") from error


def encode_prompts(
  problems: Iterable[Problem], instructions: Mapping[str, str], tokenizer: Any, max_tokens: int
) -> dict[str, Prompt]:
  """Prompts by problem id, in order; those of more than `max_tokens` tokens are left out and counted in the log.

  Raises:
    InputError: a domain without an instruction, or no prompt short enough.
  """
  problems = list(problems)
  for problem in problems:
    if problem.domain not in instructions:
      raise InputError(f"problem {problem.id}: no config.prompt.{problem.domain}, expected its domain's instruction")
  texts = [format_prompt(problem.question, instructions[problem.domain]) for problem in problems]
  encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
  prompts = {
    problem.id: Prompt(problem, text, np.asarray(ids, np.int32))
    for problem, text, ids in zip(problems, texts, encoded, strict=True)
    if len(ids) <= max_tokens
  }
  if not prompts:
    shortest = min(map(len, encoded))
    raise InputError(f"config.data.max_prompt_tokens: {max_tokens}, but the shortest prompt has {shortest} tokens")
  if len(prompts) < len(problems):
    dropped = len(problems) - len(prompts)
    logging.warning("left out %d of %d prompts: over %d tokens", dropped, len(problems), max_tokens)
  return prompts
