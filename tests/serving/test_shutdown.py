"""Tests of servers that end: after a drain, out of time, or because a thread has failed."""

import concurrent.futures
import threading

import grpc
import numpy as np
import pytest
from jetstream.core.proto import jetstream_pb2

from srpo_jax.serving.active_request import Request
from srpo_jax.serving.requests import UnavailableError
from tests.helpers.servers import (
  LONG,
  NEVER,
  decode,
  raw_post,
  serving,
  text_request,
)


def test_draining(model, checkpoint):
  """Finishes running and waiting requests, refuses new ones, then closes HTTP and gRPC."""
  with serving(model, checkpoint, slots=2, max_new=300, stops=NEVER) as server:
    go, generate = threading.Event(), server.driver.engine.generate
    server.driver.engine.generate = lambda *args: go.wait(600) and generate(*args)
    calls = [server.stub.Decode(text_request("x", 300)) for _ in range(8)]
    stream = raw_post(server, {"prompt": "x", "max_tokens": 200, "stream": True})
    whole = raw_post(server, {"prompt": "x", "max_tokens": 200})
    assert server.settles(lambda: server.driver.unfinished == 10)
    with concurrent.futures.ThreadPoolExecutor() as pool:
      closing = pool.submit(server.close)
      assert server.settles(lambda: server.driver.draining)
      for _ in range(20):  # the gRPC port stays open and gives the reason
        with pytest.raises(grpc.RpcError) as failed:
          decode(server, text_request("x", 3))
        assert failed.value.code() == grpc.StatusCode.UNAVAILABLE and "is ending" in failed.value.details()
      assert not server.stub.HealthCheck(jetstream_pb2.HealthCheckRequest()).is_live
      with pytest.raises(UnavailableError, match="ending"):  # as on a connection that is still open
        server.driver.submit([Request(max_tokens=3, return_channel=None, tokens=np.ones(1, np.int32))])
      assert server.settles(lambda: refuses(server))
      assert server.driver.unfinished == 10 and not closing.done()
      go.set()
      for call in calls:
        assert sum(len(r.stream_content.samples[0].token_ids) for r in call) == 300
      assert closing.result(300) is True
    assert b"[DONE]" in everything(stream) and b'"completion_tokens":200' in everything(whole)


def refuses(server):
  try:
    assert server.get("/health")[0] == 503
    return False
  except OSError:
    return True


def everything(connection):
  return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_a_drain_that_takes_too_long_ends_with_errors(model, checkpoint):
  with serving(model, checkpoint, slots=2, max_new=LONG, stops=NEVER) as server:
    call = server.stub.Decode(text_request("x", LONG))
    next(call)
    stream = raw_post(server, {"prompt": "x", "max_tokens": LONG, "stream": True})
    assert stream.recv(100)
    assert server.close(0.2) is False
    with pytest.raises(grpc.RpcError) as failed:
      list(call)
    assert failed.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert b'"the server has ended"' in everything(stream)


@pytest.mark.parametrize("stage", ["prefill", "generate"])
def test_a_failing_thread_ends_with_an_error(model, checkpoint, stage):
  with serving(model, checkpoint, slots=2, max_new=LONG, stops=NEVER) as server:
    call = server.stub.Decode(text_request("x", LONG))
    next(call)
    ended = []
    server.driver.failed = lambda: ended.append(stage)

    def fail(*args, **kwargs):
      assert server.settles(lambda: server.driver.unfinished == 2)  # else the post might come too late
      raise RuntimeError("the device is lost")

    setattr(server.driver.engine, stage, fail)
    status, answer = server.post({"prompt": "x", "max_tokens": LONG})
    assert status == 503 and "the device is lost" in answer["error"]["message"]
    with pytest.raises(grpc.RpcError) as failed:
      list(call)
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE and "the device is lost" in failed.value.details()
    assert server.settles(lambda: ended == [stage]) and server.get("/health")[0] == 503
    assert not server.stub.HealthCheck(jetstream_pb2.HealthCheckRequest()).is_live
    assert server.post({"prompt": "x"})[0] == 503
