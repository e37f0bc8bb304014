"""Serves a policy with JetStream's orchestrator, over gRPC and an OpenAI-compatible HTTP API.

    python -m srpo_jax.serve --model DIR --port 8000
    python -m srpo_jax.serve --workdir DIR [--step N] --port 8000

HTTP listens at --port and has POST /v1/completions (stream, seed, n, temperature, stop, logprobs=0), /v1/models,
/health, and /metrics for Prometheus. JetStream's gRPC service (Decode, HealthCheck) listens at --grpc-port, by default
the next port. Both accept connections only from this machine unless --host names another address. There is no password
and no encryption.

The policy continues a `prompt` as it is, without a template. A request may instead have a `question`, and a `domain`
(math by default). The server puts the question into the prompt of training, config.prompt. A response's tokens depend
only on its prompt, seed, temperature and number among `n`, not on other requests. `sample_groups` gives the same tokens
for the key `srpo_jax.serving.requests.draw_key(seed)`. A request without a seed gets a fresh one. Stop tokens are not
shown.

JetStream's gRPC messages have no seed and no temperature. The policy is greedy there, or samples at --temperature with
fresh seeds. A max_tokens above --max-new-tokens is cut to it over gRPC, as in JetStream, and refused over HTTP.

Once --queue requests are waiting, further ones are refused (429, RESOURCE_EXHAUSTED). A client that disconnects frees
its slot. On SIGTERM or Ctrl-C the server accepts no new requests, finishes those in flight within --drain-s seconds,
and exits with status 0. A second signal ends it at once. The server uses the devices of one host, laid out by
config.mesh. To change other fields of the run or of --config, use --config.section.field=value.
"""

import os
import signal
from collections.abc import Sequence
from types import FrameType

from srpo_jax.serving.options import read_options, serving_config
from srpo_jax.utils.errors import run_cli


def main(args: Sequence[str]) -> None:
  """Serves the policy until a signal ends the server."""
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, _end)  # until the server starts, no request is in flight
  options, overrides = read_options(args, __doc__ or "")
  config = serving_config(options, overrides)
  # Imported late, so that a wrong option is reported at once.
  from srpo_jax.serving.run import run_server
  from srpo_jax.serving.server import bind

  http_socket = bind(options.host, options.port, "--port")
  # gRPC binds its port itself, but only once the policy is loaded. This socket reserves the port until then.
  with http_socket, bind(options.host, options.grpc_port, "--grpc-port") as held:
    run_server(options, config, http_socket, held.getsockname()[1])


def _end(number: int, frame: FrameType | None) -> None:
  os._exit(0)  # an exception would be lost if it were raised inside a callback of an import


if __name__ == "__main__":
  run_cli(main)
