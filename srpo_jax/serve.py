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

import argparse
import asyncio
import dataclasses
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

from srpo_jax.cli.policy_flags import add_policy, check_policy, find_policy, policy_config
from srpo_jax.config import TEMPERATURES, Config, is_temperature
from srpo_jax.serving.requests import Limits, UnavailableError
from srpo_jax.utils.errors import ArgumentParser, InputError, run_cli
from srpo_jax.utils.logs import start_logging
from srpo_jax.utils.paths import is_local

# Serving's own options for fields of the config, whose values are training's.
OWN = {
  "data.max_prompt_tokens": "--max-prompt-tokens",
  "rollout.slots": "--slots",
  "rollout.temperature": "--temperature",
}


def main(args: Sequence[str]) -> None:
  """Serves as the command line says, until a signal."""
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, _end)  # nothing is in flight yet
  options, overrides = _options(args)
  config = _config(options, overrides)
  # Imported late: a wrong option is told at once.
  from srpo_jax.serving.server import bind

  http_socket = bind(options.host, options.port, "--port")
  # gRPC binds by itself, once the policy is loaded: until then nobody else is given its port.
  with http_socket, bind(options.host, options.grpc_port, "--grpc-port") as held:
    _serve(options, config, http_socket, held.getsockname()[1])


def _serve(options: argparse.Namespace, config: Config, http_socket: socket.socket, grpc_port: int) -> None:
  start_logging()
  from srpo_jax.serving.load import load_driver
  from srpo_jax.serving.server import Doors, serve
  from srpo_jax.utils.cache import enable_compilation_cache

  _quieten()
  enable_compilation_cache()
  policy = find_policy(options)
  place = options.model or options.workdir
  name = options.name or (place.resolve() if is_local(place) else place).name
  rollout = config.rollout
  limits = Limits(rollout.slots, rollout.max_new_tokens, options.queue, options.temperature, options.top_p)
  logging.info("loading %s", policy.run or policy.folder)
  driver = load_driver(config, policy, limits)
  address = f"[{options.host}]:{grpc_port}" if ":" in options.host else f"{options.host}:{grpc_port}"
  try:
    asyncio.run(serve(driver, Doors(driver, name, http_socket, address), options.drain_s))
  except UnavailableError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
  finally:
    driver.stop()


def _options(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
  parser = ArgumentParser(
    prog="python -m srpo_jax.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )  # fmt: skip
  add_policy(parser)
  parser.add_argument("--port", type=int, default=8000, help="of the HTTP door (8000; 0: any that is free)")
  parser.add_argument("--grpc-port", type=int, help="of JetStream's service; default --port + 1")
  parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine alone)")
  parser.add_argument("--name", help="of the model in the HTTP door; default the folder's")
  parser.add_argument("--slots", type=int, default=64, help="responses generated at a time (64)")
  parser.add_argument("--queue", type=int, default=1024, help="requests that wait at most (1024)")
  parser.add_argument("--max-prompt-tokens", type=int, default=2048, help="longer prompts are refused (2048)")
  parser.add_argument("--max-new-tokens", type=int, help="of a response at most; default the config's")
  parser.add_argument("--temperature", type=float, default=0.0, help="of requests by gRPC (0: greedy)")
  parser.add_argument(
    "--top-p", type=float, default=1.0, help="of all requests: the likeliest tokens that hold this share"
  )
  parser.add_argument("--drain-s", type=float, default=600.0, help="seconds that requests in flight have at the end")
  options, overrides = parser.parse_known_args(args)
  check_policy(options, overrides)
  for field, option in OWN.items():
    if any(other.partition("=")[0] == f"--config.{field}" for other in overrides):
      raise InputError(f"--config.{field}: expected {option}, which serving reads instead")
  for option in ("slots", "queue", "max_prompt_tokens", "max_new_tokens"):
    value = getattr(options, option)
    _check(f"--{option.replace('_', '-')}", value, value is None or value >= 1, "at least 1")
  _check("--temperature", options.temperature, is_temperature(options.temperature), TEMPERATURES)
  _check("--top-p", options.top_p, 0 < options.top_p <= 1, "a number above 0, at most 1")
  _check("--drain-s", options.drain_s, 0 <= options.drain_s < math.inf, "a number from 0 on")
  _check("--port", options.port, 0 <= options.port < 65536, "0 to 65535")
  if options.grpc_port is None:
    options.grpc_port = options.port + 1 if options.port else 0
  _check("--grpc-port", options.grpc_port, 0 <= options.grpc_port < 65536, "0 to 65535")
  _check("--grpc-port", options.grpc_port, options.grpc_port != options.port or not options.port, "another than --port")
  return options, overrides


def _check(option: str, value: Any, good: bool, expected: str) -> None:
  if not good:
    raise InputError(f"{option}: expected {expected}, got {value}")


def _config(options: argparse.Namespace, overrides: Sequence[str]) -> Config:
  """The settings of training with the server's own in place."""
  config = policy_config(options, overrides)
  max_new = config.rollout.max_new_tokens if options.max_new_tokens is None else options.max_new_tokens
  return dataclasses.replace(
    config,
    data=dataclasses.replace(config.data, max_prompt_tokens=options.max_prompt_tokens),
    rollout=dataclasses.replace(config.rollout, backend="jetstream", slots=options.slots, max_new_tokens=max_new),
  )


def _quieten() -> None:
  """JetStream logs each request and each step on the root logger."""
  here = os.path.join("jetstream", "core")
  for handler in logging.getLogger().handlers:
    handler.addFilter(lambda record: record.levelno > logging.INFO or here not in record.pathname)
  logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _end(number: int, frame: FrameType | None) -> None:
  os._exit(0)  # an exception would be lost where it is raised in a callback of an import


if __name__ == "__main__":
  run_cli(main)
