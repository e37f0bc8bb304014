"""Checks of a request before it is queued: its prompt, its seed and the limits of the server."""

import dataclasses
import secrets
import threading
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int, Key

from srpo_jax.data.prompt_renderer import PromptRenderer
from srpo_jax.model.sampling import Purpose, prompt_key
from srpo_jax.utils.arrays import Array

SEEDS = range(-(2**63), 2**63)
_LOW = 2**32 - 1
_SHRINKS = 4  # a tokenizer's normalization shortens a text at most by this factor


class BadRequestError(ValueError):
  """A request that this server cannot answer.

  Attributes:
    field: the wrong field of the request, or None if the whole request is wrong.
    code: OpenAI's code for the error, or None.
  """

  def __init__(self, message: str, field: str | None = None, code: str | None = None):
    super().__init__(message)
    self.field, self.code = field, code


class UnavailableError(RuntimeError):
  """The server is ending or has failed, so that it takes no requests or cannot finish this one."""


def draw_key(seed: int) -> Key[Array, ""]:
  """Returns the random key of a request, in the form that `sample_groups` takes.

  Sample i of the request is sample i of a group with this key.

  Args:
    seed: one of SEEDS. All 64 bits count, while JAX's own key would use only the low 32 bits.
  """
  return prompt_key(seed & _LOW, Purpose.SERVE, seed >> 32 & _LOW, "")


def fresh_seed() -> int:
  """Returns a random seed for a request without one."""
  return secrets.randbits(63)


class PromptReader:
  """Turns prompts into tokens. Several threads may call it.

  Args:
    renderer: makes the prompt of a question, as in training.
    vocabulary: the bytes of every token id of the model.
    max_prompt: largest number of tokens of a prompt.
    own_domains: domains of the user, which may have no instruction.
  """

  def __init__(
    self, renderer: PromptRenderer, vocabulary: Sequence[bytes], max_prompt: int, own_domains: Iterable[str] = ()
  ):
    self._domains = dict.fromkeys((*renderer.instructions, *own_domains))
    self._renderer, self._tokenizer = renderer, renderer.tokenizer
    self.vocabulary, self.max_prompt = vocabulary, max_prompt
    self._longest = max(map(len, vocabulary))
    self._lock = threading.Lock()  # each call of transformers sets the truncation of the shared tokenizer

  def read(self, prompt: str | Sequence[int]) -> Int[np.ndarray, " P"]:
    """Returns the tokens of a prompt. Text is tokenized without special tokens, and token ids are kept.

    Raises:
      BadRequestError: an empty prompt, one that is too long, an id that the model does not know, or text with a lone
        surrogate.
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

  def read_question(self, question: str, domain: str) -> Int[np.ndarray, " P"]:
    """Returns the tokens of a question's prompt, as `PromptRenderer` makes it.

    Raises:
      BadRequestError: an unknown domain, or one of the errors of `read`.
    """
    if domain not in self._domains:
      raise BadRequestError(f"domain: {domain[:60]!r}, expected one of {', '.join(self._domains)}", "domain")
    if not question.strip():
      raise BadRequestError("question: empty, expected text", "question")
    return self.read(self._renderer.text(question, domain))

  def _encode(self, text: str) -> list[int]:
    try:
      size = len(text.encode())
    except UnicodeEncodeError:
      raise BadRequestError("prompt: has a lone surrogate, expected Unicode text", "prompt") from None
    if size > _SHRINKS * self._longest * self.max_prompt:
      self._too_long(f"{size} bytes")  # saves the time of tokenizing a huge text
    with self._lock:
      return self._tokenizer(text, add_special_tokens=False)["input_ids"]

  def _too_long(self, found: str) -> None:
    message = f"prompt: {found}, this server takes at most {self.max_prompt} tokens"
    raise BadRequestError(message, "prompt", "context_length_exceeded")


@dataclasses.dataclass(frozen=True)
class Limits:
  """Limits and sampling settings that the server was started with.

  Attributes:
    slots: number of responses generated at a time.
    max_new: largest number of tokens of a response.
    queue: largest number of waiting requests.
    temperature: temperature of gRPC requests, whose messages have no such field. 0 is greedy.
    top_p: probability mass of nucleus sampling, for all requests.
  """

  slots: int
  max_new: int
  queue: int
  temperature: float
  top_p: float
