"""A request that the driver works on, and the pieces of its responses, as JetStream's types."""

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
  """What one `generate` call adds to a response.

  Attributes:
    text: at most one string, of whole characters.
    token_ids: without the stop token, as JetStream has it.
    logprobs: of those tokens, at the request's temperature.
    generated: tokens, the stop token included.
    finish: at the last piece "stop" (a stop token or string) or "length".
  """

  sample: int = 0
  logprobs: list[float] = dataclasses.field(default_factory=list)
  generated: int = 0
  finish: str | None = None


@dataclasses.dataclass(eq=False)
class Request(orchestrator.ActiveRequest):
  """A prompt and what is asked for it. The return channel gives [Piece] until every sample is finished.

  `max_tokens` (of JetStream) is the budget of each sample.
  """

  tokens: Any = None  # int32 [P]
  seed: int = 0
  temperature: float = 1.0
  samples: int = 1
  stop: tuple[str, ...] = ()
  door: str = "http"
  admitted: float = 0.0  # time.monotonic()
  begun: bool = False
  stopped: set[int] = dataclasses.field(default_factory=set)  # samples that met a stop string
  texts: dict[int, TextStream] = dataclasses.field(default_factory=dict)

  __eq__, __hash__ = object.__eq__, object.__hash__  # two requests for the same are two

  def __post_init__(self) -> None:
    self.samples_left = set(range(self.samples))

  @property
  def cancelled(self) -> bool:
    return self.return_channel.cancelled()


def new_channel() -> AsyncMultifuture[Any]:
  """Where a request's pieces come out; made in the event loop that reads it."""
  return AsyncMultifuture()
