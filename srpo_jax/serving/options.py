"""Command line of `serve`."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from srpo_jax.cli import flags
from srpo_jax.cli.argument_types import number, whole
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.cli.policy_flags import add_policy, check_policy, policy_config
from srpo_jax.utils.errors import InputError

if TYPE_CHECKING:
  from srpo_jax.config import Config

# Config fields whose training values do not suit serving, with the flags of serve that replace them.
OWN = {
  "data.max_prompt_tokens": "--max-prompt-tokens",
  "rollout.slots": "--slots",
  "rollout.temperature": "--temperature",
}
PORT = whole(0, 65535)


def read_options(args: Sequence[str], doc: str) -> tuple[argparse.Namespace, list[str]]:
  """Returns the flags and the overrides of the config.

  Raises:
    InputError: a wrong flag, or an override of a config field that has its own flag.
  """
  parser = ArgumentParser("serve", doc)
  add_policy(parser)
  parser.add_argument("--port", type=PORT, default=8000, help="HTTP port (0: any free one).")
  parser.add_argument("--grpc-port", type=PORT, help="Port of JetStream's gRPC service. Default: --port + 1.")
  parser.add_argument("--host", default="127.0.0.1", help="Address to listen on (127.0.0.1: this machine only).")
  parser.add_argument("--name", help="Name of the model in the HTTP API. Default: name of its folder.")
  parser.add_argument("--slots", type=whole(1), default=64, help="Number of responses generated at a time.")
  parser.add_argument("--queue", type=whole(1), default=1024, help="Largest number of waiting requests.")
  flags.add(
    parser, "--max-prompt-tokens", default=2048, help="Length limit of a prompt in tokens. Longer ones are refused."
  )
  flags.add(parser, "--max-new-tokens")
  flags.add(parser, "--temperature", default=0.0, help="Sampling temperature of gRPC requests. 0 is greedy.")
  flags.add(parser, "--top-p", default=1.0)
  parser.add_argument("--drain-s", type=number(0), default=600.0, help="Seconds to finish requests after a signal.")
  options, overrides = parser.parse_known_args(args)
  check_policy(options, overrides)
  _check(options, overrides)
  return options, overrides


def _check(options: argparse.Namespace, overrides: Sequence[str]) -> None:
  """Raises InputError for flags that the parser cannot judge. Fills in the default gRPC port."""
  from srpo_jax.config import TEMPERATURES, is_temperature  # imported late, so that --help does not wait for JAX

  for field, option in OWN.items():
    if any(other.partition("=")[0] == f"--config.{field}" for other in overrides):
      raise InputError(f"--config.{field}: serve does not read this field, expected {option}")
  if not is_temperature(options.temperature):
    raise InputError(f"--temperature: expected {TEMPERATURES}, got {options.temperature}")
  if options.grpc_port is None:
    options.grpc_port = options.port + 1 if options.port else 0
  if options.grpc_port > 65535:
    raise InputError(f"--grpc-port: expected 0 to 65535, got {options.grpc_port}")
  if options.grpc_port == options.port and options.port:
    raise InputError(f"--grpc-port: expected a port other than --port, got {options.grpc_port}")


def serving_config(options: argparse.Namespace, overrides: Sequence[str]) -> "Config":
  """Returns the training config with the flags of serve in place."""
  config = policy_config(options, overrides)
  max_new = config.rollout.max_new_tokens if options.max_new_tokens is None else options.max_new_tokens
  return dataclasses.replace(
    config,
    data=dataclasses.replace(config.data, max_prompt_tokens=options.max_prompt_tokens),
    rollout=dataclasses.replace(config.rollout, backend="jetstream", slots=options.slots, max_new_tokens=max_new),
  )
