"""What a client may ask for, checked before it is queued."""

import dataclasses
import secrets
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Key

from srpo_jax.model.sampling import Purpose, prompt_key
from srpo_jax.utils.arrays import Array

SEEDS = range(-(2**63), 2**63)
_LOW = 2**32 - 1
_SHRINKS = 4  # a tokenizer's normalization makes no text shorter than this part of it


class BadRequestError(ValueError):
  """A request that this server cannot answer.

  Attributes:
    field: of the request that is wrong; None: the whole.
  """

  def __init__(self, message: str, field: str | None = None, code: str | None = None):
    super().__init__(message)
    self.field, self.code = field, code


class UnavailableError(RuntimeError):
  """This server takes no requests, or lost this one: it is ending, or a part of it has failed."""


def draw_key(seed: int) -> Key[Array, ""]:
  """The key of a request's draws, as `sample_groups` takes it; sample i of the request is sample i of the group.

  Args:
    seed: one of SEEDS. JAX's own key would take the low 32 bits alone.
  """
  return prompt_key(seed & _LOW, Purpose.SERVE, seed >> 32 & _LOW, "")


def fresh_seed() -> int:
  """A seed for a request that names none."""
  return secrets.randbits(63)


class PromptReader:
  """Turns prompts into tokens; may be called from several threads.

  Args:
    vocabulary: the bytes of every id of the model.
    max_prompt: tokens of a prompt at most.
  """

  def __init__(self, tokenizer: Any, vocabulary: Sequence[bytes], max_prompt: int):
    self._tokenizer, self.vocabulary, self.max_prompt = tokenizer, vocabulary, max_prompt
    self._longest = max(map(len, vocabulary))
    self._lock = threading.Lock()  # transformers sets truncation in the shared tokenizer

  def read(self, prompt: str | Sequence[int]) -> Int[np.ndarray, " P"]:
    """The prompt's tokens: text as the tokenizer has it, nothing added; ids as they are.

    Raises:
      BadRequestError: an empty or over-long prompt, or an id that the model does not know.
    """
    tokens = self._encode(prompt) if isinstance(prompt, str) else list(prompt)
    if not tokens:
      raise BadRequestError("prompt: empty, expected at least one token", "prompt")
    if len(tokens) > self.max_prompt:
      self._too_long(f"{len(tokens)} tokens")
    unknown = next((id_ for id_ in tokens if not 0 <= id_ < len(self.vocabulary)), None)
    if unknown is not None:
      raise BadRequestError(f"prompt: token id {unknown}, expected 0 to {len(self.vocabulary) - 1}", "prompt")
    return np.asarray(tokens, np.int32)

  def _encode(self, text: str) -> list[int]:
    try:
      size = len(text.encode())
    except UnicodeEncodeError:
      raise BadRequestError("prompt: has a lone surrogate, expected Unicode text", "prompt") from None
    if size > _SHRINKS * self._longest * self.max_prompt:
      self._too_long(f"{size} bytes")  # no need to tokenize a book to see that
    with self._lock:
      return self._tokenizer(text, add_special_tokens=False)["input_ids"]

  def _too_long(self, found: str) -> None:
    message = f"prompt: {found}, this server takes at most {self.max_prompt} tokens"
    raise BadRequestError(message, "prompt", "context_length_exceeded")


@dataclasses.dataclass(frozen=True)
class Limits:
  """What the server was started with.

  Attributes:
    slots: responses generated at a time.
    max_new: tokens of a response at most.
    queue: requests that wait at most.
    temperature: of requests by gRPC, whose messages name none; 0 is greedy.
    top_p: share of the probability that all tokens are drawn from.
  """

  slots: int
  max_new: int
  queue: int
  temperature: float
  top_p: float
