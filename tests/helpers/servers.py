"""Servers of a small random policy in this process, and their clients."""

import asyncio
import contextlib
import dataclasses
import json
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import grpc
from jetstream.core.proto import jetstream_pb2, jetstream_pb2_grpc

from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.data.prompt_renderer import PromptRenderer
from srpo_jax.rollout.jetstream_engine import JetStreamEngine
from srpo_jax.serving.driver import ServingDriver
from srpo_jax.serving.requests import Limits, PromptReader
from srpo_jax.serving.server import Doors, bind
from srpo_jax.serving.text import token_bytes

STOP = tuple(range(120, 135))  # many stop tokens, so that a random policy ends many of its responses
BUCKET, MAX_PROMPT, CHUNK = 16, 48, 8
NEVER = (10**6,)  # a stop token that the model does not have
LONG = 100_000  # tokens, which take minutes to generate


@dataclasses.dataclass
class Server:
  driver: ServingDriver
  tokenizer: Any
  http: str
  channel: grpc.Channel

  @property
  def stub(self):
    return jetstream_pb2_grpc.OrchestratorStub(self.channel)

  def post(self, body, path="/v1/completions", timeout=600):
    """Posts a body (bytes or JSON data) and returns (status, parsed answer)."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(self.http + path, data, {"Content-Type": "application/json"})
    try:
      with urllib.request.urlopen(request, timeout=timeout) as response:
        return response.status, json.load(response)
    except urllib.error.HTTPError as error:
      return error.code, json.load(error)

  def get(self, path):
    try:
      with urllib.request.urlopen(self.http + path, timeout=600) as response:
        return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
      return error.code, error.read().decode()

  def metric(self, name):
    lines = [line for line in self.get("/metrics")[1].splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].split()[-1])

  def settles(self, condition, seconds=600):
    """Waits for a condition. Returns True if it holds within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
      if time.monotonic() > end:
        return False
      time.sleep(0.01)
    return True

  def idle(self):
    return self.settles(lambda: self.driver.slots_taken == 0 and self.driver.unfinished == 0)


def text_request(text, max_tokens):
  return jetstream_pb2.DecodeRequest(
    text_content=jetstream_pb2.DecodeRequest.TextContent(text=text), max_tokens=max_tokens
  )


def token_request(tokens, max_tokens):
  return jetstream_pb2.DecodeRequest(
    token_content=jetstream_pb2.DecodeRequest.TokenContent(token_ids=tokens), max_tokens=max_tokens
  )


@contextlib.contextmanager
def serving(model, checkpoint, *, slots=8, max_new=64, queue=1024, temperature=0.0, stops=STOP, drain_s=300.0):
  config, params = model
  tokenizer = load_tokenizer(checkpoint)
  engine = JetStreamEngine(
    config, slots=slots, max_prompt=MAX_PROMPT, max_new=max_new, chunk=CHUNK, stop_tokens=stops, group=min(4, slots)
  )
  reader = PromptReader(PromptRenderer(tokenizer), token_bytes(tokenizer, config.vocab_size), MAX_PROMPT)
  driver = ServingDriver(engine, params, reader, Limits(slots, max_new, queue, temperature, 1.0), stops, bucket=BUCKET)
  sock = bind("127.0.0.1", 0, "--port")
  loop = asyncio.new_event_loop()
  thread = threading.Thread(target=loop.run_forever)
  thread.start()

  def on_loop(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(600)

  doors = Doors(driver, "policy", sock, "127.0.0.1:0")
  on_loop(doors.open())
  channel = grpc.insecure_channel(f"127.0.0.1:{doors.grpc_port}")
  server = Server(driver, tokenizer, f"http://127.0.0.1:{sock.getsockname()[1]}", channel)
  server.close = lambda seconds=drain_s: on_loop(doors.close(seconds, asyncio.Event()))
  try:
    yield server
  finally:
    channel.close()
    if not driver.draining:
      server.close()
    driver.stop()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def shown(rollout):
  """Returns the tokens of a response without its stop token."""
  return rollout.tokens.tolist() if rollout.truncated else rollout.tokens[:-1].tolist()


def decode(server, request):
  samples = [r.stream_content.samples[0] for r in server.stub.Decode(request)]
  return "".join(s.text for s in samples), [token for s in samples for token in s.token_ids]


def ids(choice):
  return [int(token.removeprefix("token_id:")) for token in choice["logprobs"]["tokens"]]


def raw_post(server, body):
  """Sends a request and returns the open connection without reading the answer."""
  address = urllib.parse.urlparse(server.http)
  connection = socket.create_connection((address.hostname, address.port))
  data = json.dumps(body).encode()
  head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
  connection.sendall(head.encode() + data)
  return connection
