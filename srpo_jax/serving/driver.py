"""A subclass of JetStream's Driver that serves our engine and replaces the parts of JetStream that do not work for it.

The queues, the stages (prefill, transfer, generate, detokenize), the return channels (`active_request`) and the gRPC
servicer with its protobufs (`servicer`) are JetStream's. `ServingDriver` overrides the bodies of three stages, because
google-jetstream 0.2.2 has these faults:

- It never frees the slot of a client that hangs up. It deletes inserted prefixes with `jax.tree_map`, which JAX no
  longer has. Here the generate thread drops cancelled requests between two chunks and deactivates their slots.
- Its prefill queue is unbounded. Here `submit` refuses requests beyond `Limits.queue`, and cancelled requests do not
  count.
- It sets `complete` before it hands out the tokens of a chunk. With K > 1 tokens a call, the last tokens within the
  length limit are lost. Here the engine counts, and every valid token is handed out.
- It decodes text token by token, which breaks characters of several bytes. Here the detokenize thread keeps one
  TextStream for each response.
- It prefills a request once for each sample, without key, length limit or temperature. Here each request is prefilled
  once, with its own.
- A failing thread kills its process with SIGKILL. Here every open request gets the error, and the server ends with it.
- Its detokenize thread frees the slots, several chunks after the generate thread could. Here the generate thread owns
  the slots and reads each chunk before it starts the next.
"""

import collections
import contextlib
import dataclasses
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from srpo_jax.utils.quiet import quiet_imports

with quiet_imports():
  from jetstream.core import orchestrator

from srpo_jax.model.decode import DecodeState
from srpo_jax.model.sharding import on_mesh
from srpo_jax.model.transformer import Params
from srpo_jax.rollout.jetstream_engine import JetStreamEngine
from srpo_jax.serving.active_request import Piece, Request
from srpo_jax.serving.metrics import Metrics
from srpo_jax.serving.requests import BadRequestError, Limits, PromptReader, UnavailableError, draw_key, fresh_seed
from srpo_jax.serving.text import TextStream
from srpo_jax.utils.rounding import round_up

_INSERT_WAIT_S = 0.05  # longest wait for a running prefill before the other responses go on
logger = logging.getLogger(__name__)


@dataclasses.dataclass
class _Open:
  """A response in a slot."""

  request: Request
  sample: int

  @property
  def unwanted(self) -> bool:
    """True if nobody waits for more of this response."""
    return self.request.cancelled or self.sample in self.request.stopped


class _Tokens(collections.namedtuple("_Tokens", "open tokens logprobs finish")):
  """Tokens that one `generate` call emitted in a slot, before they become text."""


class ServingDriver(orchestrator.Driver):
  """Drives one engine that prefills and generates in turn (JetStream's interleaved mode).

  Args:
    stop_tokens: ids of the tokens that end a response.
    bucket: prompts are padded to this many tokens, or to two, four, ... times as many.
    mesh: the mesh that holds the parameters. None is a single device.
    failed: called from a driver thread that has failed. Nothing is served after that.
  """

  def __init__(
    self,
    engine: JetStreamEngine,
    params: Params,
    reader: PromptReader,
    limits: Limits,
    stop_tokens: Sequence[int],
    *,
    bucket: int,
    mesh: Any = None,
    metrics: Metrics | None = None,
    failed: Callable[[], None] = lambda: None,
  ):
    self.engine, self.reader, self.limits, self.metrics = engine, reader, limits, metrics or Metrics()
    self.error: BaseException | None = None
    self.draining = False
    self._stop_tokens, self._bucket, self._mesh, self.failed = np.asarray(stop_tokens), bucket, mesh, failed
    self._admission = threading.Lock()
    self._open: set[Request] = set()
    self._taken = 0  # number of occupied slots
    # If two threads interleaved their programs on the devices of a mesh, each would wait for the other forever.
    self._dispatch = threading.Lock()
    self._rest = jax.jit(lambda state, keep: state._replace(active=state.active & keep), donate_argnums=0)
    self.metrics.open.set_function(lambda: len(self._open))
    self.metrics.free.set_function(lambda: 1 - self._taken / self.engine.slots)
    self._warm_up(params)
    super().__init__([engine], [engine], [params], [params], interleaved_mode=True)
    self.metrics.waiting.set_function(self._prefill_backlog.qsize)

  @property
  def unfinished(self) -> int:
    """Number of requests that have been admitted and have not ended."""
    return len(self._open)

  @property
  def slots_taken(self) -> int:
    """Number of slots that hold a response."""
    return self._taken

  def place_request_on_prefill_queue(self, request: orchestrator.ActiveRequest) -> None:
    """Admits a request of JetStream's servicer, which knows neither seed nor temperature.

    As in JetStream, a `max_tokens` beyond the server's limit is reduced to that limit.

    Raises:
      BadRequestError: `max_tokens` below 1, or a prompt that the reader refuses.
      queue.Full: too many requests are waiting.
      UnavailableError: the server is ending or has failed.
    """
    if request.max_tokens < 1:
      raise BadRequestError(f"max_tokens: {request.max_tokens}, expected at least 1", "max_tokens")
    asked = Request(
      max_tokens=min(request.max_tokens, self.limits.max_new),
      return_channel=request.return_channel,
      is_client_side_tokenization=request.is_client_side_tokenization,
      tokens=self.reader.read(request.prefill_content),
      seed=fresh_seed(),
      temperature=self.limits.temperature,
      door="grpc",
    )
    self.submit([asked])

  def submit(self, requests: Sequence[Request]) -> None:
    """Admits either all of these requests or none.

    Raises:
      queue.Full: the queue has no room for them. A later retry may succeed.
      UnavailableError: the server is ending or has failed.
    """
    with self._admission:
      door = requests[0].door
      if self.error is not None or not self.live:
        raise UnavailableError("the server has failed")
      if self.draining:
        raise UnavailableError("the server is ending: it finishes the requests in flight and takes no new ones")
      if self._prefill_backlog.qsize() + len(requests) > self.limits.queue:
        self._drop_cancelled()
      if self._prefill_backlog.qsize() + len(requests) > self.limits.queue:
        self.metrics.requests.labels(door, "refused").inc(len(requests))
        raise queue.Full
      for request in requests:
        request.admitted = time.monotonic()
        self._open.add(request)
        self._prefill_backlog.put_nowait(request)

  def raise_if_failed(self) -> None:
    """Raises UnavailableError if a thread has failed."""
    if self.error is not None:
      raise UnavailableError(f"serving has failed: {type(self.error).__name__}: {self.error}") from self.error

  def end_open(self) -> None:
    """Ends serving at once. Every open request gets an error."""
    self._end_all(UnavailableError("the server has ended"))

  def stop(self) -> None:
    """Ends the threads. Every open request gets an error."""
    self.end_open()
    super().stop()

  def _drop_cancelled(self) -> None:
    with self._prefill_backlog.mutex:
      waiting = list(self._prefill_backlog.queue)
      self._prefill_backlog.queue.clear()
      for request in waiting:
        if request is not None and request.cancelled:
          self._forget(request, "cancelled")
        else:
          self._prefill_backlog.queue.append(request)

  def _forget(self, request: Request, outcome: str) -> None:
    with contextlib.suppress(KeyError):  # another thread has removed it already
      self._open.remove(request)
      self.metrics.requests.labels(request.door, outcome).inc()
      if outcome == "finished":
        self.metrics.request_s.observe(time.monotonic() - request.admitted)

  def _end_all(self, error: Exception) -> None:
    with self._admission:
      self.live = False
      for request in list(self._open):
        self._forget(request, "failed")
        with contextlib.suppress(RuntimeError):  # the client's event loop has ended
          request.return_channel.set_exception(error)

  @contextlib.contextmanager
  def _guarded(self, stage: str) -> Iterator[None]:
    """Runs the body of a thread. An exception in it ends every open request and, through `failed`, the server."""
    try:
      with on_mesh(self._mesh):
        yield
    except BaseException as error:
      logger.exception("the %s thread has failed", stage)
      self.error = error
      self._end_all(UnavailableError(f"the server has failed: {type(error).__name__}: {error}"))
      self.failed()

  def _warm_up(self, params: Params) -> None:
    """Compiles every program, so that no request waits for a compilation.

    Where the cache grows with the responses, only the programs of its first size are compiled. The others would take
    minutes, and the compilation cache keeps them once they have been needed.
    """
    engine = self.engine
    with on_mesh(self._mesh):
      state, length = engine.init_decode_state(), 1
      while length <= engine.max_prompt:
        padded = self._padded(np.zeros(length, np.int32))
        prefix = engine.prefill(params=params, padded_tokens=padded, true_length=1, key=draw_key(0), max_new_tokens=1)
        # Runs twice: jit compiles again for a state that lies where the parameters do, unlike the initial state.
        for _ in range(2):
          state = engine.insert_group(prefix, state, [0], [0])
        length = len(padded) + 1
      state, _ = engine.generate(params, state)
      self._ready = self._rest(state, np.zeros(engine.slots, bool))

  def _padded(self, tokens: np.ndarray) -> np.ndarray:
    length = round_up(len(tokens), self._bucket) // self._bucket
    padded = np.zeros(min(self._bucket << (length - 1).bit_length(), self.engine.max_prompt), np.int32)
    padded[: len(tokens)] = tokens
    return padded

  # --- the threads of the stages ---

  def _prefill_thread(self, idx: int) -> None:
    """Prefills prompts in the order of their admission."""
    with self._guarded("prefill"):
      while self.live:
        request = self._prefill_backlog.get()
        if request is None:
          return
        if request.cancelled:
          self._forget(request, "cancelled")
          continue
        with self._dispatch:
          request.prefill_result = self.engine.prefill(
            params=self._prefill_params[idx],
            padded_tokens=self._padded(request.tokens),
            true_length=len(request.tokens),
            key=draw_key(request.seed),
            max_new_tokens=request.max_tokens,
            temperature=request.temperature,
          )
        self.metrics.prompt_tokens.inc(len(request.tokens))
        self._transfer_backlogs[idx].put(request)

  def _transfer_thread(self, idx: int) -> None:
    with self._guarded("transfer"):
      super()._transfer_thread(idx)

  def _generate_thread(self, idx: int) -> None:
    """Fills free slots with samples of prefilled requests, then generates a chunk for all slots, again and again."""
    with self._guarded("generate"):
      engine, params, texts = self.engine, self._generate_params[idx], self._detokenize_backlogs[idx]
      state, step = self._ready, 0
      del self._ready  # its buffers are donated
      slots: list[_Open | None] = [None] * engine.slots
      left: collections.deque[_Open] = collections.deque()  # samples of the last prefix that still need a slot
      while self.live:
        state = self._release_unwanted(state, slots)
        self._taken = sum(open_ is not None for open_ in slots)  # `_fill` may block, so update the count before it
        state = self._fill(state, slots, left, idx)
        self._taken = sum(open_ is not None for open_ in slots)
        if not self._taken:
          continue  # every prefilled request was cancelled, or the driver is ending
        with self._dispatch:
          state, result = engine.generate(params, state)
        data, logprobs = jax.device_get((result.data, state.logprobs))
        step += 1
        texts.put((step, self._read(data, logprobs, result, slots)))  # a pair, as JetStream's `stop` expects

  def _release_unwanted(self, state: DecodeState, slots: list[_Open | None]) -> DecodeState:
    """Frees and deactivates the slots of responses that were cancelled or have met a stop string."""
    keep = np.ones(len(slots), bool)
    for slot, open_ in enumerate(slots):
      if open_ is not None and open_.unwanted:
        slots[slot], keep[slot] = None, False
        if open_.request.cancelled:
          self._forget(open_.request, "cancelled")
    if keep.all():
      return state
    with self._dispatch:
      return self._rest(state, keep)

  def _fill(
    self, state: DecodeState, slots: list[_Open | None], left: collections.deque[_Open], idx: int
  ) -> DecodeState:
    """Inserts samples of prefilled requests into free slots. Waits for a request if all slots are free."""
    free = collections.deque(slot for slot, open_ in enumerate(slots) if open_ is None)
    while free:
      if left and left[0].request.cancelled:
        self._forget(left[0].request, "cancelled")
        left.clear()
      if not left:
        request = self._next_prefilled(idx, idle=len(free) == len(slots))
        if request is None:
          break
        left.extend(_Open(request, sample) for sample in range(request.samples))
        continue
      many = min(len(free), len(left), self.engine.group)
      opens, at = [left.popleft() for _ in range(many)], [free.popleft() for _ in range(many)]
      request = opens[0].request
      with self._dispatch:
        state = self.engine.insert_group(request.prefill_result, state, at, [open_.sample for open_ in opens])
      for slot, open_ in zip(at, opens, strict=True):
        slots[slot] = open_
      if not left:
        request.prefill_result = None  # frees its memory once the insert has run
    return state

  def _next_prefilled(self, idx: int, *, idle: bool) -> Request | None:
    """Returns the next prefilled request.

    Returns None if the driver ends, or if none is ready while other responses wait for their tokens.

    Args:
      idle: True if all slots are free, so that it may wait for as long as it takes.
    """
    backlog = self._generate_backlogs[idx]
    while self.live:
      coming = not (self._prefill_backlog.empty() and self._transfer_backlogs[idx].empty())
      try:
        return backlog.get(timeout=None if idle else _INSERT_WAIT_S) if idle or coming else backlog.get_nowait()
      except queue.Empty:
        return None
    return None

  def _read(self, data: np.ndarray, logprobs: np.ndarray, result: Any, slots: list[_Open | None]) -> list[_Tokens]:
    """Returns the tokens that each slot has emitted, and frees the slots of finished responses."""
    tokens, valid = data[:, slice(*result.tokens_idx)], data[:, slice(*result.valid_idx)]
    lengths = data[:, slice(*result.length_idx)][:, 0]
    out = []
    for slot, open_ in enumerate(slots):
      if open_ is None:
        continue
      n = int(valid[slot].sum())
      stopped = bool(np.isin(tokens[slot, n - 1], self._stop_tokens))
      finish = "stop" if stopped else "length" if lengths[slot] >= open_.request.max_tokens else None
      out.append(_Tokens(open_, tokens[slot, :n].tolist(), logprobs[slot, :n].tolist(), finish))
      if finish:
        slots[slot] = None
    return out

  def _detokenize_thread(self, idx: int) -> None:
    """Sends each request its tokens and their text."""
    with self._guarded("detokenize"):
      while self.live:
        item = self._detokenize_backlogs[idx].get()
        if item is None:
          return
        for emitted in item[1]:
          self._send(emitted)

  def _send(self, emitted: _Tokens) -> None:
    (request, sample), tokens, finish = (emitted.open.request, emitted.open.sample), emitted.tokens, emitted.finish
    if emitted.open.unwanted:
      if request.cancelled:
        self._forget(request, "cancelled")
      return
    if not all(map(math.isfinite, emitted.logprobs)):
      self._forget(request, "failed")
      request.return_channel.set_exception(UnavailableError("log-probabilities of the policy are not numbers"))
      request.return_channel.cancel()
      return
    shown = len(tokens) - (finish == "stop")
    text = request.texts.setdefault(sample, TextStream(self.reader.vocabulary, request.stop))
    added = text.push(tokens[:shown], last=finish is not None)
    if text.stopped:
      finish = "stop"
      request.stopped.add(sample)
    if not request.begun:
      request.begun = True
      self.metrics.first_token_s.observe(time.monotonic() - request.admitted)
    self.metrics.tokens.inc(len(tokens))
    piece = Piece([added] if added else [], tokens[:shown], sample, emitted.logprobs[:shown], len(tokens), finish)
    request.enqueue_samples([piece])
    if finish:
      request.samples_left.discard(sample)
      if not request.samples_left:
        self._forget(request, "finished")
        request.return_channel.close()
