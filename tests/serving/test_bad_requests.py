"""Tests that HTTP and gRPC refuse bad requests and give the reason."""

import re

import grpc
import pytest
from jetstream.core.proto import jetstream_pb2

from srpo_jax.serving.http import MAX_BODY
from tests.helpers.servers import decode, text_request, token_request

BAD = {
  b"{": ("not JSON", 400),
  b"[]": ("expected an object|valid dictionary|an object", 400),
  b'{"prompt": "a", "prompts": 1}': ("prompts: unknown field", 400),
  b'{"prompt": "a", "stream": true, "stream_options": {"x": 1}}': ("stream_options.x: unknown field", 400),
  b'{"max_tokens": 3}': ("prompt: Field required", 400),
  b'{"prompt": "a", "question": "b"}': ("question: 'b', expected none beside a prompt", 400),
  b'{"question": "a", "domain": "maths"}': ("domain: 'maths', expected one of math, code", 400),
  b'{"question": ""}': ("question: empty", 400),
  b'{"prompt": ""}': ("prompt: empty", 400),
  b'{"prompt": ["a", ""]}': ("prompt: empty", 400),
  b'{"prompt": []}': ("prompt", 400),
  b'{"prompt": ["a", 3]}': ("prompt: expected text", 400),
  b'{"prompt": [384]}': ("token id 384, expected 0 to 383", 400),
  b'{"prompt": [-1]}': ("token id -1", 400),
  b'{"prompt": "\\ud800"}': ("surrogate|prompt|not JSON", 400),
  b'{"prompt": "a", "max_tokens": 65}': ("max_tokens: 65, expected at most 64", 400),
  b'{"prompt": "a", "max_tokens": 0}': ("max_tokens", 400),
  b'{"prompt": "a", "max_tokens": "3"}': ("max_tokens", 400),
  b'{"prompt": "a", "n": 9}': ("n: 9, expected at most 8", 400),
  b'{"prompt": "a", "temperature": -0.1}': ("temperature", 400),
  b'{"prompt": "a", "temperature": NaN}': ("temperature|not JSON", 400),
  b'{"prompt": "a", "temperature": 1e-37}': (r"temperature: 1e-37, expected 0 \(greedy\) or 0.001 to 1000", 400),
  b'{"prompt": "a", "temperature": 1e308}': (r"temperature: 1e\+308, expected", 400),
  b'{"prompt": [' + b"[1]," * 1024 + b"[1]]}": ("prompt: 1025 prompts, expected 1 to 1024", 400),
  b'{"prompt": "a", "model": "' + b"b" * 10_000 + b'"}': ("^model: '.{,200}', expected 'policy'$", 404),
  b'{"prompt": "a", "top_p": 0.5}': ("top_p: 0.5, expected 1", 400),
  b'{"prompt": "a", "seed": 9223372036854775808}': ("seed", 400),
  b'{"prompt": "a", "logprobs": 5}': ("logprobs: 5, expected 0", 400),
  b'{"prompt": "a", "echo": true}': ("echo", 400),
  b'{"prompt": "a", "suffix": "b"}': ("suffix", 400),
  b'{"prompt": "a", "presence_penalty": 1}': ("presence_penalty", 400),
  b'{"prompt": "a", "stop": ["a", "b", "c", "d", "e"]}': ("stop", 400),
  b'{"prompt": "a", "stop": ""}': ("stop", 400),
  b'{"prompt": "a", "stream_options": {}}': ("stream_options", 400),
  b'{"prompt": "a", "model": "b"}': ("model: 'b', expected 'policy'", 404),
  b'{"prompt": "' + b"a" * 49 + b'"}': ("prompt: 49 tokens, this server takes at most 48 tokens", 400),
  b'{"prompt": "' + b"a" * 100_000 + b'"}': ("prompt: 100000 (tokens|bytes), this server takes at most 48", 400),
  b" " * (MAX_BODY + 1): ("bytes", 413),
}


@pytest.mark.parametrize("body", BAD, ids=lambda body: body[:60].decode())
def test_bad_requests(server, body):
  expected, status = BAD[body]
  got, answer = server.post(body)
  assert got == status and re.search(expected, answer["error"]["message"]) and "\n" not in answer["error"]["message"]
  assert answer["error"]["type"] == "invalid_request_error" and server.driver.unfinished == 0


def test_other_paths(server):
  assert server.get("/v1/nothing")[0] == 404 and server.get("/v1/completions")[0] == 405
  assert server.get("/v1/models/other")[0] == 404 and server.get("/health") == (200, '{"status":"ok"}')


@pytest.mark.parametrize(
  ("request_", "message"),
  [
    (jetstream_pb2.DecodeRequest(max_tokens=3), "content: missing"),
    (text_request("a", 0), "max_tokens: 0"),
    (text_request("", 3), "empty"),
    (token_request([], 3), "empty"),
    (token_request([384], 3), "token id 384"),
    (token_request([1] * 49, 3), "49 tokens, this server takes at most 48"),
  ],
  ids=str,
)
def test_bad_grpc_requests(server, request_, message):
  with pytest.raises(grpc.RpcError) as failed:
    decode(server, request_)
  assert failed.value.code() == grpc.StatusCode.INVALID_ARGUMENT and message in failed.value.details()
