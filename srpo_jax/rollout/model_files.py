"""A model folder without its weights: config, tokenizer and stop tokens."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srpo_jax.data.encoded import load_tokenizer, stop_tokens, token_id
from srpo_jax.data.prompt_set import PromptSet
from srpo_jax.model import hf
from srpo_jax.model.transformer import TransformerConfig
from srpo_jax.utils.errors import InputError


@dataclasses.dataclass(frozen=True)
class ModelFiles:
  """Everything that sampling needs to know about a model, apart from its weights.

  Attributes:
    folder: Hugging Face folder that was read.
    stop_tokens: ids that end a response.
  """

  folder: Path
  config: TransformerConfig
  tokenizer: Any
  stop_tokens: tuple[int, ...]

  def check_vocabulary(self, sets: Sequence[PromptSet] = ()) -> None:
    """Raises InputError if the stop tokens or the prompts have ids beyond the model's vocabulary."""
    if max([*self.stop_tokens, *(set_.largest_id for set_ in sets)]) >= self.config.vocab_size:
      raise InputError(f"{self.folder}: the tokenizer has ids beyond the model's vocab_size {self.config.vocab_size}")


def read_model_files(folder: Path, eos: str = "") -> ModelFiles:
  """Reads the config, the tokenizer and the stop tokens of a Hugging Face folder.

  Args:
    eos: token that ends a response besides those that the folder names. Empty: none.

  Raises:
    InputError: one of them is missing or cannot be read.
  """
  config, tokenizer = hf.read_config(folder), load_tokenizer(folder)
  return ModelFiles(folder, config, tokenizer, stop_tokens(folder, tokenizer, token_id(tokenizer, eos)))
