"""Compares `srpo_jax.serve` with transformers' generate and `transformers serve` on one model.

    python benchmarks/serve.py --model DIR [--requests 64] [--clients 16]

Prints one JSON line per contender. All get the same prompts (of at most --prompt-tokens) with the same token limits (of
at most --new-tokens) and decode greedily in fp32. The same OpenAI client sends --clients streaming calls at a time to
each server, and a gRPC client does the same to ours. `generate` gets padded batches of --clients prompts, and each
batch runs to its largest limit. Only tokens within each prompt's own limit count. The first token of a batch comes with
its first step. For servers, the seconds to the first token run from the request to the first text. `transformers serve`
needs fastapi and accelerate. If it does not start, its line gives the reason.
"""

import argparse
import asyncio
import contextlib
import functools
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from srpo_jax.cli.parser import ArgumentParser, check_positive
from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.model.folder import model_folder
from srpo_jax.utils.errors import run_cli

ROOT = Path(__file__).parent.parent
START_S = 300  # seconds that a server has to start
# Maps (prompt, token limit) to (seconds to the first token, number of tokens).
Ask = Callable[[str, int], Awaitable[tuple[float, int]]]


def main(args: Sequence[str]) -> None:
  parser = ArgumentParser(description=__doc__)
  parser.add_argument("--model", required=True, help="Hugging Face folder, or owner/name on the hub")
  parser.add_argument("--requests", type=int, default=64)
  parser.add_argument("--clients", type=int, default=16, help="concurrent calls, and slots of our server")
  parser.add_argument("--prompt-tokens", type=int, default=64)
  parser.add_argument("--new-tokens", type=int, default=128)
  options = parser.parse_args(args)
  options.model = model_folder(options.model)
  check_positive(options, "requests", "clients", "prompt_tokens", "new_tokens")
  tokenizer = load_tokenizer(options.model)
  asked = workload(options, tokenizer)
  for contender in (ours, transformers_generate, transformers_serve):
    for line in contender(options, tokenizer, asked):
      print(json.dumps(line), flush=True)


def workload(options: argparse.Namespace, tokenizer: Any) -> list[tuple[str, int]]:
  """Makes prompts of letters and spaces, each with its token limit."""
  rng = np.random.default_rng(0)
  asked = []
  for _ in range(options.requests):
    ids = tokenizer("".join(rng.choice(list("abcdefghij "), options.prompt_tokens)))["input_ids"]
    prompt = tokenizer.decode(ids[: rng.integers(1, options.prompt_tokens + 1)])
    asked.append((prompt, int(rng.integers(1, options.new_tokens + 1))))
  return asked


def figures(name: str, first_s: Sequence[float], tokens: int, seconds: float) -> dict[str, Any]:
  first = np.asarray(first_s)
  return {
    "contender": name,
    "tokens": tokens,
    "tokens_per_s": round(tokens / seconds, 1),
    "first_token_s_median": round(float(np.median(first)), 4),
    "first_token_s_p95": round(float(np.quantile(first, 0.95)), 4),
  }


async def timed(ask: Ask, asked: Sequence[tuple[str, int]], clients: int) -> tuple[list[float], int, float]:
  """Sends all prompts with `clients` concurrent calls, after an untimed first round of `clients` calls.

  Returns:
    Seconds to each first token, total tokens, and total seconds.
  """
  gate = asyncio.Semaphore(clients)

  async def one(prompt: str, limit: int) -> tuple[float, int]:
    async with gate:
      return await ask(prompt, limit)

  await asyncio.gather(*(one(*pair) for pair in asked[:clients]))
  started = time.perf_counter()
  got = await asyncio.gather(*(one(*pair) for pair in asked))
  seconds = time.perf_counter() - started
  return [first for first, _ in got], sum(tokens for _, tokens in got), seconds


async def by_http(url: str, model: str, asked: Sequence[tuple[str, int]], clients: int, **extra: Any) -> Any:
  import openai

  async with openai.AsyncOpenAI(base_url=url, api_key="none", timeout=600) as client:

    async def ask(prompt: str, limit: int) -> tuple[float, int]:
      started, first, tokens = time.perf_counter(), None, 0
      stream: AsyncIterator[Any] = await client.completions.create(
        model=model, prompt=prompt, max_tokens=limit, temperature=0, stream=True, **extra
      )
      async for event in stream:
        if first is None and event.choices:
          first = time.perf_counter() - started
        if event.usage:
          tokens = event.usage.completion_tokens
      assert first is not None
      return first, tokens

    return await timed(ask, asked, clients)


async def by_grpc(address: str, asked: Sequence[tuple[str, int]], clients: int) -> Any:
  import grpc
  from jetstream.core.proto import jetstream_pb2, jetstream_pb2_grpc

  async with grpc.aio.insecure_channel(address) as channel:
    stub = jetstream_pb2_grpc.OrchestratorStub(channel)

    async def ask(prompt: str, limit: int) -> tuple[float, int]:
      started, first, tokens = time.perf_counter(), None, 0
      text = jetstream_pb2.DecodeRequest.TextContent(text=prompt)
      async for response in stub.Decode(jetstream_pb2.DecodeRequest(text_content=text, max_tokens=limit)):
        first = time.perf_counter() - started if first is None else first
        tokens += len(response.stream_content.samples[0].token_ids)
      assert first is not None
      return first, tokens

    return await timed(ask, asked, clients)


@contextlib.contextmanager
def process(command: Sequence[str], ready: Callable[[str], Any]) -> Iterator[Any]:
  """Runs a command until the end of the block and yields the value that `ready` finds in its log.

  If the command does not become ready within START_S seconds, yields a string with the reason.
  """
  with tempfile.NamedTemporaryFile("w+") as log:
    running = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | {"TQDM_DISABLE": "1"})
    try:
      end, found = time.monotonic() + START_S, None
      while not found and time.monotonic() < end and running.poll() is None:
        time.sleep(0.1)
        found = ready(Path(log.name).read_text())
      yield found or f"did not start: {' '.join(Path(log.name).read_text().split())[-300:]}"
    finally:
      running.terminate()
      with contextlib.suppress(subprocess.TimeoutExpired):
        running.wait(30)
      running.kill()
      running.wait()


def ours(options: argparse.Namespace, tokenizer: Any, asked: Sequence[tuple[str, int]]) -> Iterator[dict[str, Any]]:
  command = [sys.executable, "-m", "srpo_jax.serve", "--model", str(options.model.resolve()), "--name", "policy"]
  command += ["--config=configs/tiny.py", "--port=0", f"--slots={options.clients}"]
  command += [f"--max-prompt-tokens={options.prompt_tokens}", f"--max-new-tokens={options.new_tokens}"]
  with process(command, lambda log: re.search(r"HTTP at (\S+), gRPC at (\S+)", log)) as found:
    if isinstance(found, str):
      raise RuntimeError(f"srpo_jax.serve: {found}")
    usage = {"include_usage": True}
    http = asyncio.run(by_http(found[1], "policy", asked, options.clients, stream_options=usage))
    yield figures("srpo_jax.serve, HTTP", *http)
    yield figures("srpo_jax.serve, gRPC", *asyncio.run(by_grpc(found[2], asked, options.clients)))


def transformers_generate(
  options: argparse.Namespace, tokenizer: Any, asked: Sequence[tuple[str, int]]
) -> Iterator[dict[str, Any]]:
  import torch
  import transformers

  model = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
  tokenizer.padding_side = "left"
  stops = model.generation_config.eos_token_id
  stops = [] if stops is None else stops if isinstance(stops, list) else [stops]

  class Clock(transformers.StoppingCriteria):
    first: float | None = None

    def __call__(self, ids: Any, scores: Any, **_: Any) -> Any:
      self.first = time.perf_counter() if self.first is None else self.first
      return torch.zeros(len(ids), dtype=torch.bool)

  def batch(pairs: Sequence[tuple[str, int]]) -> tuple[float, int]:
    inputs, clock, started = tokenizer([p for p, _ in pairs], return_tensors="pt", padding=True), Clock(), 0.0
    started = time.perf_counter()
    with torch.inference_mode():
      out = model.generate(
        **inputs, do_sample=False, max_new_tokens=max(b for _, b in pairs), stopping_criteria=[clock],
        pad_token_id=tokenizer.pad_token_id,
      )  # fmt: skip
    rows = out[:, inputs["input_ids"].shape[1] :].tolist()
    tokens = 0
    for row, (_, limit) in zip(rows, pairs, strict=True):
      ended = next((at + 1 for at, token in enumerate(row) if token in stops), len(row))
      tokens += min(limit, ended)
    assert clock.first is not None
    return clock.first - started, tokens

  batches = [asked[at : at + options.clients] for at in range(0, len(asked), options.clients)]
  batch(batches[0])  # untimed first round, which the servers get too
  started, firsts, tokens = time.perf_counter(), [], 0
  for pairs in batches:
    first, generated = batch(pairs)
    firsts += [first] * len(pairs)
    tokens += generated
  yield figures("transformers generate", firsts, tokens, time.perf_counter() - started)


def transformers_serve(
  options: argparse.Namespace, tokenizer: Any, asked: Sequence[tuple[str, int]]
) -> Iterator[dict[str, Any]]:
  missing = [name for name in ("fastapi", "uvicorn", "openai", "accelerate") if importlib.util.find_spec(name) is None]
  for flags in ([], ["--continuous-batching"]):
    name = " ".join(["transformers serve", *flags])
    if missing:
      yield {"contender": name, "left_out": f"not installed: {', '.join(missing)}"}
      continue
    with socket.socket() as free:
      free.bind(("127.0.0.1", 0))
      port = free.getsockname()[1]
    model = str(options.model.resolve())
    run = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
    command = [sys.executable, "-c", run, "serve", model, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--device", "cpu", "--dtype", "float32", *flags]
    url = f"http://127.0.0.1:{port}"
    with process(command, functools.partial(answers, f"{url}/health")) as found:
      if isinstance(found, str):
        yield {"contender": name, "left_out": found}
        continue
      try:
        got = asyncio.run(by_http(f"{url}/v1", model, asked, options.clients))
      except Exception as error:  # the client may fail in any way on this server's answers
        yield {"contender": name, "left_out": f"{type(error).__name__}: {error}"[:300]}
      else:
        yield figures(name, *got)


def answers(url: str, log: str) -> bool:
  try:
    with urllib.request.urlopen(url, timeout=5) as response:
      return bool(response.status == 200)
  except OSError:
    return False


if __name__ == "__main__":
  run_cli(main)
