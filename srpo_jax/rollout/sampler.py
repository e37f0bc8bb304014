"""Samples groups of responses, scheduled over the engine's slots by continuous batching.

Each prompt is prefilled once, when its first sample gets a slot, and inserted into the free slots. A slot that finishes
takes the next sample at once. A response's tokens depend only on its key, not on the schedule.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Int, Key

from srpo_jax.model.decode import Prefix
from srpo_jax.model.transformer import Params
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.types import Rollout
from srpo_jax.utils.arrays import Array
from srpo_jax.utils.rounding import round_up


@dataclasses.dataclass(frozen=True)
class GroupRequest:
  """Request for a number of responses to a prompt."""

  prompt_id: str
  tokens: Int[np.ndarray, " P"]
  samples: int
  key: Key[Array, ""]
  max_new_tokens: int  # length limit of each response
  temperature: float = 1.0


@dataclasses.dataclass
class _Open:
  """An unfinished response in a slot."""

  request: GroupRequest
  sample: int
  tokens: list[np.ndarray] = dataclasses.field(default_factory=list)
  logprobs: list[np.ndarray] = dataclasses.field(default_factory=list)


def sample_groups(
  engine: InProcessEngine,
  params: Params,
  requests: Sequence[GroupRequest],
  *,
  stop_tokens: Sequence[int],
  prompt_bucket: int,
  between: Callable[[], bool | None] | None = None,
) -> Iterator[Rollout]:
  """Yields every requested response as soon as it is finished.

  Args:
    between: called before each decode call. If it raises, sampling ends. If it returns True, sampling ends with the
      responses that have begun, as truncated ones.
  """
  waiting = collections.deque((request, sample) for request in requests for sample in range(request.samples))
  prefix: tuple[GroupRequest, Prefix] | None = None  # the group being inserted
  slots: list[_Open | None] = [None] * engine.slots
  state = engine.init_decode_state()
  stop = np.asarray(stop_tokens, np.int32)

  while waiting or any(slots):
    if between is not None and between():
      yield from (_rollout(open_, truncated=True) for open_ in slots if open_ is not None)
      return
    free = [i for i, open_ in enumerate(slots) if open_ is None]
    while free and waiting:
      request = waiting[0][0]
      if prefix is None or prefix[0] is not request:
        prefix = request, _prefill(engine, params, request, prompt_bucket)
      samples: list[int] = []
      while waiting and waiting[0][0] is request and len(samples) < min(len(free), engine.group):
        samples.append(waiting.popleft()[1])
      taken, free = free[: len(samples)], free[len(samples) :]
      state = engine.insert_group(prefix[1], state, taken, samples)
      for slot, sample in zip(taken, samples, strict=True):
        slots[slot] = _Open(request, sample)

    state, result = engine.generate(params, state)
    data, logprobs = jax.device_get((result.data, state.logprobs))
    tokens, valid = data[:, slice(*result.tokens_idx)], data[:, slice(*result.valid_idx)]
    lengths = data[:, slice(*result.length_idx)][:, 0]
    for slot, open_ in enumerate(slots):
      if open_ is None:
        continue
      n = int(valid[slot].sum())
      open_.tokens.append(tokens[slot, :n])
      open_.logprobs.append(logprobs[slot, :n])
      ended = bool(np.isin(tokens[slot, n - 1], stop))
      if ended or lengths[slot] >= open_.request.max_new_tokens:
        slots[slot] = None
        yield _rollout(open_, truncated=not ended)


def _rollout(open_: _Open, *, truncated: bool) -> Rollout:
  return Rollout(
    prompt_id=open_.request.prompt_id,
    sample=open_.sample,
    prompt_tokens=open_.request.tokens,
    tokens=np.concatenate(open_.tokens),
    logprobs=np.concatenate(open_.logprobs),
    truncated=truncated,
  )


def _prefill(engine: InProcessEngine, params: Params, request: GroupRequest, bucket: int) -> Prefix:
  n = len(request.tokens)
  padded = np.zeros(min(round_up(n, bucket), engine.max_prompt), np.int32)
  padded[:n] = request.tokens
  return engine.prefill(
    params=params,
    padded_tokens=padded,
    true_length=n,
    key=request.key,
    max_new_tokens=request.max_new_tokens,
    temperature=request.temperature,
  )
