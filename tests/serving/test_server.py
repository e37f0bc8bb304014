"""Tests that HTTP and gRPC give the responses of offline sampling, for one client and for many at once."""

import asyncio
import concurrent.futures
import random

import grpc
import jax
import numpy as np
import openai
import pytest
from jetstream.core.proto import jetstream_pb2, jetstream_pb2_grpc

from srpo_jax.data.prompts import DEFAULT_INSTRUCTIONS, format_prompt
from srpo_jax.serving.requests import SEEDS, draw_key
from srpo_jax.serving.server import Doors, bind
from srpo_jax.utils.errors import InputError
from tests.helpers.servers import (
  MAX_PROMPT,
  STOP,
  decode,
  ids,
  serving,
  shown,
  text_request,
  token_request,
)

PROMPTS = ("What is 3 + 4?", "naïve 你好", "A conversation between", "x", "the answer is 1 2 3 4 5 6 7 8")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_grpc_is_greedy_offline_generation(server, offline, prompt):
  tokens = server.tokenizer(prompt)["input_ids"]
  (expected,) = offline(tokens, temperature=0.0, budget=40)
  text, got = decode(server, text_request(prompt, 40))
  assert got == shown(expected) and text == server.tokenizer.decode(got)
  assert decode(server, token_request(tokens, 40)) == ("", got)


@pytest.mark.parametrize("seed", [0, 7, -1, 2**40, SEEDS.stop - 1])
def test_http_is_seeded_offline_generation(server, offline, seed):
  tokens = server.tokenizer(PROMPTS[1])["input_ids"]
  expected = offline(tokens, seed=seed, samples=11, budget=30, temperature=0.8)  # 11 samples need more than the 8 slots
  body = {"prompt": PROMPTS[1], "seed": seed, "n": 8, "max_tokens": 30, "temperature": 0.8, "logprobs": 0}
  status, got = server.post(body)
  assert status == 200 and [choice["index"] for choice in got["choices"]] == list(range(8))
  for choice, rollout in zip(got["choices"], expected, strict=False):
    assert ids(choice) == shown(rollout)
    assert choice["text"] == server.tokenizer.decode(shown(rollout))
    assert choice["finish_reason"] == ("length" if rollout.truncated else "stop")
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(rollout.logprobs[: len(shown(rollout))], abs=1e-4)
  generated = sum(len(rollout.tokens) for rollout in expected[:8])
  usage = {"prompt_tokens": len(tokens), "completion_tokens": generated, "total_tokens": len(tokens) + generated}
  assert got["usage"] == usage


def test_a_question_is_put_into_the_prompt_of_training(server):
  body = {"seed": 3, "max_tokens": 20, "logprobs": 0}
  prompt = format_prompt("What is 3 + 4?", DEFAULT_INSTRUCTIONS["code"])
  (_, asked), (_, expected) = (
    server.post(body | given) for given in ({"question": "What is 3 + 4?", "domain": "code"}, {"prompt": prompt})
  )
  assert asked["choices"] == expected["choices"] and asked["usage"] == expected["usage"]


def test_seeds_are_kept_apart(server):
  assert len({str(draw_key(seed)) for seed in (0, 1, -1, 2**32, 2**32 + 1, 2**62, SEEDS.start)}) == 7
  answers = [server.post({"prompt": "x", "max_tokens": 40})[1]["choices"][0]["text"] for _ in range(2)]
  assert answers[0] != answers[1]  # without a seed, each call gets a fresh one


def test_greedy_and_several_prompts(server, offline):
  status, got = server.post({"prompt": list(PROMPTS), "n": 2, "max_tokens": 20, "temperature": 0, "logprobs": 0})
  assert status == 200 and len(got["choices"]) == 2 * len(PROMPTS)
  for number, prompt in enumerate(PROMPTS):
    (expected,) = offline(server.tokenizer(prompt)["input_ids"], temperature=0.0, budget=20)
    for choice in got["choices"][2 * number : 2 * number + 2]:
      assert ids(choice) == shown(expected)
  tokens = [server.tokenizer(prompt)["input_ids"] for prompt in PROMPTS[:2]]
  again = server.post({"prompt": tokens, "max_tokens": 20, "temperature": 0})[1]
  assert [c["text"] for c in again["choices"]] == [c["text"] for c in got["choices"][:4:2]]


@pytest.mark.parametrize("budget", range(1, 20))
def test_budgets_are_exact(server, offline, budget):
  """Holds even if a `generate` call emits more tokens than are left."""
  (expected,) = offline([5, 6, 7], temperature=0.0, budget=budget)
  assert len(decode(server, token_request([5, 6, 7], budget))[1]) == len(shown(expected))
  status, got = server.post({"prompt": [5, 6, 7], "max_tokens": budget, "temperature": 0})
  assert status == 200 and got["usage"]["completion_tokens"] == len(expected.tokens)


def test_grpc_budgets_end_where_the_server_does(server):
  assert decode(server, token_request([5, 6, 7], 10**6)) == decode(server, token_request([5, 6, 7], 64))


def test_stop_strings_end_a_response_and_free_its_slot(server):
  body = {"prompt": "x", "seed": 3, "max_tokens": 60, "n": 4}
  whole = [choice["text"] for choice in server.post(body)[1]["choices"]]
  stop = whole[0][4:6]
  got = server.post(body | {"stop": [stop, "never to be seen"]})[1]["choices"]
  assert [c["text"] for c in got] == [text.partition(stop)[0] for text in whole]
  assert got[0]["finish_reason"] == "stop" and server.idle()


def test_the_openai_client(server):
  client = openai.OpenAI(base_url=f"{server.http}/v1", api_key="none", max_retries=0)
  assert [model.id for model in client.models.list()] == ["policy"] and client.models.retrieve("policy").id == "policy"
  asked = {"model": "policy", "prompt": "naïve 你好", "max_tokens": 50, "seed": 5, "temperature": 1.0, "n": 2}
  whole = client.completions.create(**asked)
  assert len(whole.choices) == 2 and whole.choices[0].text
  texts, finish, usage = ["", ""], [None, None], None
  for event in client.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
    usage = event.usage
    for choice in event.choices:
      texts[choice.index] += choice.text
      finish[choice.index] = choice.finish_reason or finish[choice.index]
  assert texts == [choice.text for choice in whole.choices] and usage == whole.usage
  assert finish == [choice.finish_reason for choice in whole.choices]
  with pytest.raises(openai.BadRequestError, match="best_of"):
    client.completions.create(**asked, best_of=5)
  with pytest.raises(openai.NotFoundError, match="expected 'policy'"):
    client.completions.create(**(asked | {"model": "other"}))


def test_the_asyncio_openai_client(server):
  async def ask():
    async with openai.AsyncOpenAI(base_url=f"{server.http}/v1", api_key="none") as client:
      asked = [client.completions.create(model="policy", prompt="x", seed=i, max_tokens=30) for i in range(20)]
      return [answer.choices[0].text for answer in await asyncio.gather(*asked)]

  assert asyncio.run(ask()) == [
    server.post({"prompt": "x", "seed": i, "max_tokens": 30})[1]["choices"][0]["text"] for i in range(20)
  ]


def test_an_asyncio_grpc_client_like_jetstreams_benchmark(server):
  async def ask():
    async with grpc.aio.insecure_channel(server.channel._channel.target().decode()) as channel:
      stub = jetstream_pb2_grpc.OrchestratorStub(channel)
      tokens = []
      async for response in stub.Decode(token_request([5, 6, 7], 30)):
        tokens.extend(response.stream_content.samples[0].token_ids)
      return tokens

  assert asyncio.run(ask()) == decode(server, token_request([5, 6, 7], 30))[1]
  assert server.stub.HealthCheck(jetstream_pb2.HealthCheckRequest()).is_live


def test_200_concurrent_requests(server, offline):
  """Each of many requests of mixed lengths, by HTTP and by gRPC, gets the response that it would get alone."""
  random_ = random.Random(0)
  asked = [
    ([random_.randrange(0, 100) for _ in range(random_.randint(1, MAX_PROMPT))], random_.randint(1, 64))
    for _ in range(200)
  ]

  def ask(number):
    tokens, budget = asked[number]
    if number % 2:
      return decode(server, token_request(tokens, budget))[1]
    return ids(server.post({"prompt": tokens, "max_tokens": budget, "temperature": 0, "logprobs": 0})[1]["choices"][0])

  with concurrent.futures.ThreadPoolExecutor(200) as pool:
    got = list(pool.map(ask, range(200)))
  assert len({len(tokens) for tokens in got}) > 20
  for tokens, (prompt, budget) in list(zip(got, asked, strict=True))[::10]:
    assert tokens == shown(offline(prompt, temperature=0.0, budget=budget)[0])
  for tokens, (_, budget) in zip(got, asked, strict=True):
    assert len(tokens) <= budget
  assert server.idle()


def test_metrics(server):
  before = server.metric("srpo_generated_tokens_total"), server.metric("srpo_prompt_tokens_total")
  got = server.post({"prompt": "x", "n": 2, "max_tokens": 9})[1]["usage"]
  assert server.metric("srpo_generated_tokens_total") - before[0] == got["completion_tokens"]
  assert server.metric("srpo_prompt_tokens_total") - before[1] == 1  # the prompt of a group is prefilled once
  assert server.metric('srpo_requests_total{door="http",outcome="finished"}') > 0
  assert server.metric("srpo_time_to_first_token_seconds_count") > 0


def test_probabilities_that_are_not_numbers_end_only_their_request(model, checkpoint):
  """JSON has no NaN, and a token drawn from NaN may be outside the vocabulary."""
  with serving(model, checkpoint, slots=2) as server:
    generate = server.driver.engine.generate

    def broken(*args):
      state, result = generate(*args)
      return state._replace(logprobs=state.logprobs * np.nan), result

    server.driver.engine.generate = broken
    status, answer = server.post({"prompt": "x", "n": 2})
    assert status == 503 and "not numbers" in answer["error"]["message"]
    with pytest.raises(grpc.RpcError) as failed:
      decode(server, text_request("x", 30))
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
    server.driver.engine.generate = generate
    assert server.idle() and server.post({"prompt": "x"})[0] == 200
    assert server.metric('srpo_requests_total{door="http",outcome="failed"}') == 1


def test_no_request_waits_for_a_compilation(model, checkpoint):
  config, params = model
  with serving((config, jax.device_put(params, jax.devices()[0])), checkpoint) as server:
    engine = server.driver.engine
    programs = (engine._prefill, engine._insert, engine._generate, server.driver._rest)
    before = [program._cache_size() for program in programs]
    for length in (MAX_PROMPT, 1, 20, MAX_PROMPT, 40):
      assert server.post({"prompt": [5] * length, "n": 7, "max_tokens": 20, "stop": ["a"]})[0] == 200
    assert [program._cache_size() for program in programs] == before and before[1] >= 3


def test_an_address_that_two_servers_have_bound(server):
  """If two servers start at the same time, the one that listens first gets the address."""
  with bind("127.0.0.1", 0, "--port") as first, bind(*first.getsockname(), "--port") as second:
    first.listen()
    doors = Doors(server.driver, "policy", second, "127.0.0.1:0")
    with pytest.raises(InputError, match=r"--port: 127\.0\.0\.1:.* in use"):
      asyncio.run(doors.open())


def test_responses_end_at_stop_tokens(server):
  """Checks that the tests above see responses that end by themselves."""
  got = server.post({"prompt": "x", "n": 8, "max_tokens": 64, "seed": 1, "logprobs": 0})[1]["choices"]
  assert {choice["finish_reason"] for choice in got} == {"stop", "length"}
  assert not any(set(ids(choice)) & set(STOP) for choice in got)
