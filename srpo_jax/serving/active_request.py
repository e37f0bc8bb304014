"""The driver's request and the pieces of its responses, as subclasses of JetStream's types."""

import dataclasses
from typing import Any

from srpo_jax.utils.quiet import quiet_imports

with quiet_imports():
  from jetstream.core import orchestrator
  from jetstream.core.utils.async_multifuture import AsyncMultifuture
  from jetstream.core.utils.return_sample import ReturnSample

from srpo_jax.serving.text import TextStream


@dataclasses.dataclass
class Piece(ReturnSample):
  """The part of a response that one `generate` call adds.

  Attributes:
    text: at most one string, made of whole characters.
    token_ids: the new tokens without the stop token, which JetStream leaves out as well.
    logprobs: log-probabilities of `token_ids` at the request's temperature.
    generated: number of new tokens, including the stop token.
    finish: "stop" (a stop token or string) or "length" in the last piece, else None.
  """

  sample: int = 0
  logprobs: list[float] = dataclasses.field(default_factory=list)
  generated: int = 0
  finish: str | None = None


@dataclasses.dataclass(eq=False)
class Request(orchestrator.ActiveRequest):
  """A prompt and its sampling settings. The return channel yields lists of one Piece until every sample is finished.

  `max_tokens`, a field of JetStream's class, is the largest number of new tokens of each sample.
  """

  tokens: Any = None  # int32 [P]
  seed: int = 0
  temperature: float = 1.0
  samples: int = 1
  stop: tuple[str, ...] = ()
  door: str = "http"
  admitted: float = 0.0  # time.monotonic()
  begun: bool = False
  stopped: set[int] = dataclasses.field(default_factory=set)  # samples that ended at a stop string
  texts: dict[int, TextStream] = dataclasses.field(default_factory=dict)

  __eq__, __hash__ = object.__eq__, object.__hash__  # requests with equal fields stay distinct

  def __post_init__(self) -> None:
    self.samples_left = set(range(self.samples))

  @property
  def cancelled(self) -> bool:
    return self.return_channel.cancelled()


def new_channel() -> AsyncMultifuture[Any]:
  """Returns a channel for a request's pieces. Call it in the event loop that reads them."""
  return AsyncMultifuture()
