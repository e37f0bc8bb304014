"""Serves a policy behind JetStream's orchestrator, by gRPC and by an OpenAI-compatible HTTP door.

    python -m srpo_jax.serve --model DIR --port 8000
    python -m srpo_jax.serve --workdir DIR [--step N] --port 8000

HTTP at --port: POST /v1/completions (stream, seed, n, temperature, stop, logprobs=0), /v1/models, /health, and
/metrics for Prometheus. JetStream's gRPC service (Decode, HealthCheck) at --grpc-port, by default the next one. Both
listen on this machine alone unless --host names another address; there is no password and no encryption.

A prompt is continued as it is: no template is put around it. A response's tokens depend on its prompt, its seed, its
temperature and its number among `n`, not on what else is served: `sample_groups` draws the same with the key
`srpo_jax.serving.requests.draw_key(seed)`. Without a seed it is a fresh one. JetStream's messages have neither seed nor
temperature: by gRPC the policy is greedy, or drawn from at --temperature with fresh seeds; and a max_tokens beyond
--max-new-tokens ends there, as in JetStream (HTTP refuses it). Stop tokens are not shown.

Where more than --queue requests wait, more are refused (429, RESOURCE_EXHAUSTED). A client that hangs up frees its
slot. At SIGTERM or Ctrl-C no new requests are taken, those in flight are finished within --drain-s seconds, and the
exit status is 0; a second signal ends it at once. It runs on the devices of one host, laid out by config.mesh; other
fields of the run, or of --config, are set by --config.section.field=value.
"""

import os
import signal
from collections.abc import Sequence
from types import FrameType

from srpo_jax.serving.options import read_options, serving_config
from srpo_jax.utils.errors import run_cli


def main(args: Sequence[str]) -> None:
  """Serves as the command line says, until a signal."""
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, _end)  # nothing is in flight yet
  options, overrides = read_options(args, __doc__ or "")
  config = serving_config(options, overrides)
  # Imported late: a wrong option is told at once.
  from srpo_jax.serving.run import run_server
  from srpo_jax.serving.server import bind

  http_socket = bind(options.host, options.port, "--port")
  # gRPC binds by itself, once the policy is loaded: until then nobody else is given its port.
  with http_socket, bind(options.host, options.grpc_port, "--grpc-port") as held:
    run_server(options, config, http_socket, held.getsockname()[1])


def _end(number: int, frame: FrameType | None) -> None:
  os._exit(0)  # an exception would be lost where it is raised in a callback of an import


if __name__ == "__main__":
  run_cli(main)
