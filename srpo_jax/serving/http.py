"""The OpenAI-compatible HTTP API: /v1/completions (with streaming), /v1/models, /health, and Prometheus' /metrics."""

import asyncio
import concurrent.futures
import contextlib
import json
import logging
import queue
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from srpo_jax.serving.active_request import Piece, Request, new_channel
from srpo_jax.serving.completion import Completion, parse
from srpo_jax.serving.driver import ServingDriver
from srpo_jax.serving.requests import BadRequestError, UnavailableError, fresh_seed

MAX_BODY = 4 << 20  # bytes, gRPC's default limit; a body of this size holds the event loop for at most a second
HUNG_UP = 499  # nginx's status for a client that closed the connection; no client sees it
logger = logging.getLogger(__name__)


def make_app(driver: ServingDriver, name: str) -> Starlette:
  """Returns the web application. Its errors have OpenAI's form: {"error": {message, type, param, code}}.

  Args:
    name: name of the served model.
  """
  handlers = _Handlers(driver, name)
  routes = [
    Route("/v1/completions", handlers.completions, methods=["POST"]),
    Route("/v1/models", handlers.models),
    Route("/v1/models/{name:path}", handlers.model),
    Route("/health", handlers.health),
    Route("/metrics", handlers.metrics),
  ]
  return Starlette(routes=routes, exception_handlers={HTTPException: _http_error, Exception: _internal_error})


class _Handlers:
  """Handlers of the routes."""

  def __init__(self, driver: ServingDriver, name: str):
    self._driver, self._name, self._since = driver, name, int(time.time())

  async def completions(self, http: HttpRequest) -> Response:
    metrics = self._driver.metrics
    try:
      asked = parse(await _body(http))
      asked.check(self._driver.limits, self._name)
      requests = await asyncio.to_thread(self._requests, asked)
      for request in requests:
        request.return_channel = new_channel()
      self._driver.submit(requests)
    except BadRequestError as error:
      metrics.requests.labels("http", "invalid").inc()
      status = {"model_not_found": 404, "body_too_large": 413}.get(error.code or "", 400)
      return _error(status, str(error), "invalid_request_error", error.field, error.code)
    except queue.Full:
      message = f"{self._driver.limits.queue} requests wait already, try again later"
      return _error(429, message, "rate_limit_error", code="queue_full", headers={"Retry-After": "1"})
    except UnavailableError as error:
      return _error(503, str(error), "server_error", code="unavailable")
    except ClientDisconnect:
      return Response(status_code=HUNG_UP)
    answer = _Answer(asked, requests, self._name)
    if asked.stream:
      return StreamingResponse(answer.events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
    return await _unless_hung_up(http, answer.whole())

  def _requests(self, asked: Completion) -> list[Request]:
    """Returns one request for each prompt. All requests of a call without a seed share one fresh seed."""
    seed = fresh_seed() if asked.seed is None else asked.seed
    reader = self._driver.reader
    if asked.question is None:
      prompts = [reader.read(prompt) for prompt in asked.prompts]
    else:
      prompts = [reader.read_question(asked.question, asked.domain)]
    return [
      Request(
        max_tokens=asked.max_new_tokens,
        return_channel=None,
        tokens=tokens,
        seed=seed,
        temperature=1.0 if asked.temperature is None else asked.temperature,
        samples=asked.samples,
        stop=asked.stops,
      )
      for tokens in prompts
    ]

  async def models(self, http: HttpRequest) -> Response:
    return JSONResponse({"object": "list", "data": [self._card()]})

  async def model(self, http: HttpRequest) -> Response:
    if http.path_params["name"] != self._name:
      raise HTTPException(404, f"model {http.path_params['name']!r}: expected {self._name!r}")
    return JSONResponse(self._card())

  def _card(self) -> dict[str, Any]:
    limits, reader = self._driver.limits, self._driver.reader
    card = {"id": self._name, "object": "model", "created": self._since, "owned_by": "srpo_jax"}
    return card | {"max_prompt_tokens": reader.max_prompt, "max_tokens": limits.max_new}

  async def health(self, http: HttpRequest) -> Response:
    driver = self._driver
    status = "failed" if not driver.live else "draining" if driver.draining else "ok"
    return JSONResponse({"status": status}, 200 if status == "ok" else 503)

  async def metrics(self, http: HttpRequest) -> Response:
    return Response(self._driver.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


class _Answer:
  """The answer to one call, which makes one or several requests to the driver."""

  def __init__(self, asked: Completion, requests: Sequence[Request], name: str):
    self._asked, self._requests = asked, requests
    self._about = {
      "id": f"cmpl-{uuid.uuid4().hex}",
      "object": "text_completion",
      "created": int(time.time()),
      "model": name,
    }

  async def whole(self) -> Response:
    """Returns the answer in one piece, once every sample is finished."""
    many = len(self._requests) * self._asked.samples
    pieces: list[list[Piece]] = [[] for _ in range(many)]
    try:
      async for choice, piece in self._pieces():
        pieces[choice].append(piece)
    except UnavailableError as error:
      return _error(503, str(error), "server_error", code="unavailable")
    choices = [self._choice(index, of_one) for index, of_one in enumerate(pieces)]
    usage = self._usage(sum(piece.generated for of_one in pieces for piece in of_one))
    return JSONResponse(self._about | {"choices": choices, "usage": usage})

  async def events(self) -> AsyncIterator[bytes]:
    """Yields server-sent events: one for each piece, then [DONE]."""
    generated, offsets = 0, [0] * (len(self._requests) * self._asked.samples)
    options = self._asked.stream_options
    wants_usage = options is not None and options.include_usage
    try:
      async for choice, piece in self._pieces():
        generated += piece.generated
        text = "".join(piece.text)
        if text or piece.token_ids or piece.finish:
          body = self._about | {"choices": [self._choice(choice, [piece], offsets[choice])]}
          yield _event(body | {"usage": None} if wants_usage else body)
        offsets[choice] += len(text)
      if wants_usage:
        yield _event(self._about | {"choices": [], "usage": self._usage(generated)})
    except UnavailableError as error:
      yield _event(_error_body(str(error), "server_error", None, "unavailable"))
    yield b"data: [DONE]\n\n"

  def _choice(self, index: int, pieces: Sequence[Piece], offset: int = 0) -> dict[str, Any]:
    text = "".join(text for piece in pieces for text in piece.text)
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": pieces[-1].finish}
    if self._asked.logprobs is not None:
      choice["logprobs"] = {
        "tokens": [f"token_id:{token}" for piece in pieces for token in piece.token_ids],
        "token_logprobs": [logprob for piece in pieces for logprob in piece.logprobs],
        "top_logprobs": None,
        "text_offset": None,
      }
    return choice

  def _usage(self, generated: int) -> dict[str, int]:
    prompt = sum(len(request.tokens) for request in self._requests)
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}

  async def _pieces(self) -> AsyncIterator[tuple[int, Piece]]:
    """Yields (index of the choice, piece) as they arrive. Cancels the call's requests however it ends."""
    out: asyncio.Queue[tuple[int, Piece] | Exception | None] = asyncio.Queue()

    async def forward(first: int, request: Request) -> None:
      try:
        async for (piece,) in request.return_channel:
          out.put_nowait((first + piece.sample, piece))
        out.put_nowait(None)
      except Exception as error:
        out.put_nowait(error)

    tasks = [
      asyncio.create_task(forward(number * self._asked.samples, request))
      for number, request in enumerate(self._requests)
    ]
    left = len(tasks)
    try:
      while left:
        item = await out.get()
        if isinstance(item, concurrent.futures.CancelledError):
          return
        if isinstance(item, Exception):
          raise item
        if item is None:
          left -= 1
        else:
          yield item
    finally:
      for task, request in zip(tasks, self._requests, strict=True):
        request.return_channel.cancel()
        task.cancel()


async def _body(http: HttpRequest) -> bytes:
  body = bytearray()
  async for part in http.stream():
    body += part
    if len(body) > MAX_BODY:
      raise BadRequestError(f"the body is too large, expected at most {MAX_BODY} bytes", None, "body_too_large")
  return bytes(body)


async def _unless_hung_up(http: HttpRequest, answer: Any) -> Response:
  """Returns the answer, or gives it up if the client closes the connection first."""
  working, leaving = asyncio.create_task(answer), asyncio.create_task(_hung_up(http))
  try:
    await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
    return working.result() if working.done() else Response(status_code=HUNG_UP)
  finally:
    for task in (working, leaving):
      task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
      await working


async def _hung_up(http: HttpRequest) -> None:
  while (await http.receive())["type"] != "http.disconnect":
    pass


def _event(body: dict[str, Any]) -> bytes:
  return f"data: {json.dumps(body)}\n\n".encode()


def _error_body(message: str, kind: str, field: str | None, code: str | None) -> dict[str, Any]:
  return {"error": {"message": message, "type": kind, "param": field, "code": code}}


def _error(
  status: int, message: str, kind: str, field: str | None = None, code: str | None = None, headers: Any = None
) -> Response:
  return JSONResponse(_error_body(message, kind, field, code), status, headers=headers)


async def _http_error(http: HttpRequest, error: Any) -> Response:
  unknown = error.status_code == 404 and error.detail == "Not Found"
  message = f"{http.url.path}: unknown path" if unknown else error.detail
  return _error(error.status_code, message, "invalid_request_error", headers=error.headers)


async def _internal_error(http: HttpRequest, error: Exception) -> Response:
  return _error(500, f"{type(error).__name__}: {error}", "server_error")
