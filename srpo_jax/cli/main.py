"""Dispatcher of the commands: srpo-jax COMMAND [FLAG ...]"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from srpo_jax.utils.errors import InputError, run_cli

COMMANDS = {
  "launch": "Trains a policy, or resumes a run.",
  "doctor": "Checks a config before a run: tokenizer, data, rewards, sandbox, disk, memory, sampler.",
  "plan": "Compiles a training step for a machine and estimates its memory and time.",
  "evaluate": "Evaluates a policy on sets of problems.",
  "replay": "Recomputes a recorded step of a run and compares the results.",
  "report": "Writes a run as one HTML file.",
  "export": "Writes a run's policy as a Hugging Face folder.",
  "score": "Scores a file of responses with the rewards of training.",
  "logprobs": "Writes token ids and log-probabilities of texts.",
  "serve": "Serves a policy over HTTP and gRPC.",
  "curate": "Makes one data set out of raw ones, or labels a data set (curate label).",
}


def usage() -> str:
  """Returns the list of the commands."""
  width = max(map(len, COMMANDS))
  lines = [f"  {name:{width}}  {line}" for name, line in COMMANDS.items()]
  head = ["usage: srpo-jax COMMAND [FLAG ...]", "", "SRPO (arXiv 2504.14286) in JAX.", "", "commands:"]
  return "\n".join([*head, *lines, "", "srpo-jax COMMAND --help lists the flags of a command."])


def dispatch(args: Sequence[str]) -> None:
  """Runs the command that the first argument names on the other arguments.

  Raises:
    InputError: no command, or an unknown one.
  """
  if not args:
    raise InputError("srpo-jax: expected a command (see srpo-jax --help)")
  command, *rest = args
  if command in ("-h", "--help"):
    print(usage())
    return
  if command not in COMMANDS:
    raise InputError(f"srpo-jax: {command}: unknown command, expected one of {', '.join(COMMANDS)}")
  importlib.import_module(f"srpo_jax.{command}").main(rest)


def main() -> NoReturn:
  """Entry point of `srpo-jax`: dispatches the command line and exits."""
  if os.getcwd() not in sys.path:  # as for `python -m`, so that a config can name a module in the working folder
    sys.path.insert(0, os.getcwd())
  run_cli(dispatch, sys.argv[1:])


if __name__ == "__main__":
  main()
