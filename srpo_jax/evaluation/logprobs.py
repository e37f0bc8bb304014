"""Token ids and log-probabilities of texts, for comparing this model with another implementation."""

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.model import hf, transformer
from srpo_jax.training.learner import target_logprobs
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import is_text, json_rows, replaced
from srpo_jax.utils.rounding import round_up


@dataclasses.dataclass(frozen=True)
class Text:
  """Tokens of one row. The first `prompt_length` of them are the prompt."""

  id: Any
  tokens: list[int]
  prompt_length: int


def read_texts(file: Path, tokenizer: Any) -> list[Text]:
  """Returns the tokenized rows of a JSON Lines file. Prompt and response are tokenized separately.

  Raises:
    InputError: a bad row. The message names the line and the field.
  """
  texts = []
  for place, row in json_rows(file):
    if not isinstance(row, dict):
      raise InputError(f"{place}: expected a JSON object")
    fields = ("text",) if "text" in row else ("prompt", "response")
    for field in fields:
      if not is_text(row.get(field)):
        raise InputError(f"{place}: field {field}: expected text (a row has text, or prompt and response)")
    parts = [tokenizer(row[field], add_special_tokens=False)["input_ids"] for field in fields]
    tokens = [token for part in parts for token in part]
    if not tokens:
      raise InputError(f"{place}: field {fields[-1]}: expected at least one token")
    texts.append(Text(row.get("id"), tokens, 0 if len(parts) == 1 else len(parts[0])))
  return texts


@functools.partial(jax.jit, static_argnames=("config", "chunk"))
def _logprobs(
  params: transformer.Params, tokens: jax.Array, length: jax.Array, *, config: Any, chunk: int = 256
) -> jax.Array:
  at = jnp.arange(tokens.shape[0])[None]
  hidden = transformer.forward(params, config, tokens[None], at, (at < length).astype(jnp.int32))
  return target_logprobs(params, hidden[:, :-1], tokens[None, 1:], temperature=1.0, chunk=chunk)[0][0]


def text_logprobs(
  params: transformer.Params, config: transformer.TransformerConfig, tokens: Sequence[int]
) -> np.ndarray:
  """Returns [n - 1] fp32 log-probabilities: one for each token after the first, given the tokens before it."""
  n = len(tokens)
  padded = np.zeros(max(2, round_up(n, 64)), np.int32)
  padded[:n] = tokens
  return np.asarray(_logprobs(params, padded, np.int32(n), config=config))[: n - 1]


def write_logprobs(model: Path, source: Path, target: Path) -> None:
  """Writes the token ids and log-probabilities of each row of `source` to `target`.

  The file appears only once it is complete. The first token of a text without prompt has no log-probability (null).

  Raises:
    InputError: not a model folder, a bad row, or a tokenizer with ids beyond the model's vocabulary.
  """
  config = hf.read_config(model)
  texts = read_texts(source, load_tokenizer(model))
  params = hf.load_params(model, config)
  with replaced(target) as out:
    for text in texts:
      if max(text.tokens) >= config.vocab_size:
        raise InputError(f"{model}: the tokenizer has ids beyond the model's vocab_size {config.vocab_size}")
      logprobs = [None, *map(float, text_logprobs(params, config, text.tokens))][text.prompt_length :]
      row = {} if text.id is None else {"id": text.id}
      row |= {"token_ids": text.tokens[text.prompt_length :], "logprobs": logprobs}
      out.write(json.dumps(row, allow_nan=False) + "\n")
