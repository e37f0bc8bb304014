"""Tests of the serve command: its options, a port in use, and servers from the start to a signal."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time

import grpc
import numpy as np
import openai
import pytest
from jetstream.core.proto import jetstream_pb2_grpc

from srpo_jax.data.encoded import load_tokenizer, stop_tokens
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.serve import main
from srpo_jax.serving.requests import draw_key
from srpo_jax.training.export import load_policy
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT
from tests.helpers.runs import launch, toy
from tests.helpers.servers import text_request

TINY = "--config=configs/tiny.py"


@pytest.mark.parametrize(
  ("args", "words"),
  [
    ([], "--model"),
    (["--model", "a", "--workdir", "b"], "--model"),
    (["--model", "a", "--step", "3"], "--step"),
    (["--workdir", "a", TINY], "--config"),
    (["--model", "a", "--port", "x"], "--port"),
    (["--model", "a", "--port", "65536"], "--port"),
    (["--model", "a", "--port", "65535"], "--grpc-port"),
    (["--model", "a", "--slots", "0"], "--slots"),
    (["--model", "a", "--port", "8000", "--grpc-port", "8000"], "--grpc-port"),
    (["--model", "a", "--temperature", "-1"], "--temperature"),
    (["--model", "a", "--temperature", "1e-37"], "--temperature"),
    (["--model", "a", "--top-p", "0"], "--top-p"),
    (["--model", "a", "--prot", "3"], "--prot"),
    (["--model", "a", TINY, "--config.rollout.slot=3"], "slot"),
    (["--model", "a", TINY, "--config.rollout.slots=3"], "expected --slots"),
    (["--model", "/no/such", TINY, "--port", "0"], "/no/such"),
    (["--workdir", "/no/such"], "/no/such"),
    (["--model", "a", TINY, "--host", "192.0.2.1"], "192.0.2.1:8000"),
  ],
  ids=str,
)
def test_refused_in_one_line(args, words, monkeypatch):
  monkeypatch.chdir(ROOT)
  before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
  try:
    with pytest.raises((InputError, OSError)) as error:
      main(args)
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
  assert words in str(error.value) and "\n" not in str(error.value)


@contextlib.contextmanager
def running(log, *args):
  """Starts a server as a process. Gives (process, HTTP address, gRPC address)."""
  command = [sys.executable, "-m", "srpo_jax.serve", "--port=0", "--max-prompt-tokens=64", "--slots=4", *map(str, args)]
  with log.open("wb") as stderr:
    process = subprocess.Popen(command, cwd=ROOT, stderr=stderr, stdout=subprocess.DEVNULL, env=dict(os.environ))
  try:
    found, end = None, time.monotonic() + 300
    while found is None:
      assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
      time.sleep(0.05)
      found = re.search(r"HTTP at (\S+)/v1, gRPC at (\S+)", log.read_text())
    yield process, found[1], found[2]
  finally:
    process.kill()
    process.wait()


def offline(params, config, folder, text, *, budget, key, temperature):
  tokenizer = load_tokenizer(folder)
  stops = stop_tokens(folder, tokenizer)
  engine = InProcessEngine(config, slots=4, max_prompt=64, max_new=64, chunk=8, stop_tokens=stops, group=4)
  asked = GroupRequest("", np.asarray(tokenizer(text)["input_ids"], np.int32), 1, key, budget, temperature)
  (rollout,) = sample_groups(engine, params, [asked], stop_tokens=stops, prompt_bucket=16)
  tokens = rollout.tokens.tolist() if rollout.truncated else rollout.tokens[:-1].tolist()
  return tokens, tokenizer.decode(tokens)


def test_a_server_from_start_to_sigterm(model, checkpoint, tmp_path):
  """HTTP and gRPC give the responses of offline sampling. SIGTERM lets a request in flight end, with status 0."""
  text, long = "What is 3 + 4?", 4000
  args = ["--model", checkpoint, TINY, f"--max-new-tokens={long}"]
  with running(tmp_path / "log", *args) as (process, http, address), grpc.insecure_channel(address) as channel:
    stub = jetstream_pb2_grpc.OrchestratorStub(channel)
    got = [t for r in stub.Decode(text_request(text, 30)) for t in r.stream_content.samples[0].token_ids]
    config, params = model
    greedy = offline(params, config, checkpoint, text, budget=30, key=draw_key(0), temperature=0.0)
    assert got == greedy[0]
    client = openai.OpenAI(base_url=f"{http}/v1", api_key="none", max_retries=0)
    answer = client.completions.create(model=checkpoint.name, prompt=text, seed=5, max_tokens=30)
    drawn = offline(params, config, checkpoint, text, budget=30, key=draw_key(5), temperature=1.0)
    assert answer.choices[0].text == drawn[1]
    for port in (http, address):  # a second server cannot take either port
      number = port.rpartition(":")[2]
      other = ["--port", number] if port == http else ["--port=0", "--grpc-port", number]
      with pytest.raises(InputError, match=f"127.0.0.1:{number}: Address already in use"):
        main(["--model", str(checkpoint), f"--config={ROOT}/configs/tiny.py", *other])
    for port in (http, address):  # another address of this machine, to which the server is not bound
      with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", int(port.rpartition(":")[2])), 5)
    in_flight = stub.Decode(text_request(text, long))
    tokens = list(next(in_flight).stream_content.samples[0].token_ids)
    process.send_signal(signal.SIGTERM)
    tokens += [t for r in in_flight for t in r.stream_content.samples[0].token_ids]
    assert tokens[:30] == greedy[0] and len(tokens) > 200
    assert process.wait(300) == 0
  assert "ending: 1 requests in flight are finished first" in (tmp_path / "log").read_text()


@pytest.mark.slow  # ten seconds each
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_it_serves(checkpoint, tmp_path, number):
  command = [sys.executable, "-m", "srpo_jax.serve", "--model", str(checkpoint), TINY, "--port=0"]
  with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, cwd=ROOT, stderr=log) as process:
    while "loading" not in (tmp_path / "log").read_text():
      assert process.poll() is None
      time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(300) == 0
  assert (tmp_path / "log").read_text().endswith(f"loading {checkpoint}\n")


@pytest.mark.slow  # half a minute, since it trains a run and then serves its policy
def test_the_policy_of_a_run(talkative, tmp_path):
  workdir = launch(toy(talkative, train__steps=2, checkpoint__every=1), tmp_path / "run")
  with running(tmp_path / "log", "--workdir", workdir, "--step", 1, "--max-new-tokens=64") as (process, http, _):
    params, config, _ = load_policy(workdir, 1)
    _, expected = offline(
      params, config, workdir / "model", "What is 3 + 4?", budget=30, key=draw_key(5), temperature=1.0
    )
    client = openai.OpenAI(base_url=f"{http}/v1", api_key="none", max_retries=0)
    answer = client.completions.create(model="run", prompt="What is 3 + 4?", seed=5, max_tokens=30)
    assert answer.choices[0].text == expected
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 0
