"""Tests of the slots and their queue: a hang-up frees a slot, and a full queue refuses requests."""

import threading

import grpc
import openai
import pytest

from tests.helpers.servers import LONG, NEVER, decode, raw_post, serving, text_request


@pytest.fixture(scope="module")
def narrow(model, checkpoint):
  """A server with two slots and a queue of three. Its responses end only when their client hangs up."""
  with serving(model, checkpoint, slots=2, max_new=LONG, queue=3, stops=NEVER) as server:
    yield server


def test_hanging_up_frees_the_slot(narrow):
  whole = raw_post(narrow, {"prompt": "x", "max_tokens": LONG})
  stream = raw_post(narrow, {"prompt": "x", "max_tokens": LONG, "stream": True})
  assert narrow.settles(lambda: narrow.driver.slots_taken == 2)
  assert stream.recv(1 << 16).startswith(b"HTTP/1.1 200")
  waiting = narrow.stub.Decode(text_request("x", LONG))
  assert narrow.settles(lambda: narrow.driver.unfinished == 3)
  whole.close()
  assert next(waiting).stream_content.samples[0].token_ids  # it has the slot now
  stream.close()
  assert narrow.settles(lambda: narrow.driver.slots_taken == 1)
  waiting.cancel()
  assert narrow.idle() and narrow.metric("srpo_requests_open") == 0
  assert narrow.metric("jetstream_slots_available_percentage") == 1


def test_a_group_is_given_up_as_a_whole(narrow):
  """Asks for n = 2 while one slot is taken, so that one sample has a slot and the other waits for one."""
  first = narrow.stub.Decode(text_request("x", LONG))
  next(first)
  both = raw_post(narrow, {"prompt": "x", "max_tokens": LONG, "n": 2, "stream": True})
  assert both.recv(1 << 16) and narrow.settles(lambda: narrow.driver.slots_taken == 2)
  both.close()
  assert narrow.settles(lambda: narrow.driver.slots_taken == 1)
  assert narrow.post({"prompt": "x", "max_tokens": 10})[1]["usage"]["completion_tokens"] == 10
  first.cancel()
  assert narrow.idle()


def test_a_full_queue(narrow, monkeypatch):
  """One request is held in prefill and three wait. The next one is refused until one of the three leaves."""
  held, go, prefill = threading.Event(), threading.Event(), narrow.driver.engine.prefill

  def hold(**args):
    held.set()
    assert go.wait(600)
    return prefill(**args)

  def given_up():
    return [request for request in list(narrow.driver._open) if request.cancelled]

  monkeypatch.setattr(narrow.driver.engine, "prefill", hold)
  calls = [narrow.stub.Decode(text_request("x", LONG))]
  assert held.wait(600)
  calls += [narrow.stub.Decode(text_request("x", LONG)) for _ in range(3)]
  assert narrow.settles(lambda: narrow.metric("jetstream_prefill_backlog_size") == 3)
  with pytest.raises(grpc.RpcError) as failed:
    decode(narrow, text_request("x", 3))
  assert failed.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
  status, answer = narrow.post({"prompt": "x"})
  assert status == 429 and "3 requests wait already" in answer["error"]["message"]
  client = openai.OpenAI(base_url=f"{narrow.http}/v1", api_key="none", max_retries=0)
  with pytest.raises(openai.RateLimitError):
    client.completions.create(model="policy", prompt="x")
  calls[2].cancel()
  assert narrow.settles(given_up)
  later = narrow.stub.Decode(text_request("x", 3))
  assert narrow.settles(lambda: not given_up())  # the new request takes the free place at once
  go.set()
  for call in calls:
    call.cancel()
  assert sum(len(r.stream_content.samples[0].token_ids) for r in later) == 3
  assert narrow.idle()
