"""Runs a server from loading the policy to the end of its driver."""

import argparse
import asyncio
import logging
import os
import socket
import sys

from srpo_jax.cli.policy_flags import find_policy
from srpo_jax.config import Config
from srpo_jax.model.folder import model_name
from srpo_jax.serving.load import load_driver
from srpo_jax.serving.requests import Limits, UnavailableError
from srpo_jax.serving.server import Doors, serve
from srpo_jax.utils.cache import enable_compilation_cache
from srpo_jax.utils.logs import start_logging


def run_server(options: argparse.Namespace, config: Config, http_socket: socket.socket, grpc_port: int) -> None:
  """Loads the policy and serves it until a signal. Exits with 1 if a thread of the driver fails.

  Args:
    options: flags as `options.read_options` returns them.
    http_socket: a bound socket that does not listen yet.
    grpc_port: port of the gRPC service.
  """
  start_logging()
  _quieten()
  enable_compilation_cache()
  policy = find_policy(options)
  name = options.name or model_name(str(options.workdir) if options.model is None else options.model)
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


def _quieten() -> None:
  """Hides the INFO lines of JetStream, which logs each request and each step on the root logger."""
  here = os.path.join("jetstream", "core")
  for handler in logging.getLogger().handlers:
    handler.addFilter(lambda record: record.levelno > logging.INFO or here not in record.pathname)
  logging.getLogger("uvicorn").setLevel(logging.WARNING)
