"""Imports on a host without PyTorch, which print no line about it."""

import os
import subprocess
import sys

from tests.helpers.paths import ROOT

PROGRAM = """
import sys
sys.modules["torch"] = None
import {first}
import transformers
import srpo_jax.data.encoded
"""


def output_of(first: str) -> str:
  """Returns the output of a process without PyTorch that imports `first` and then transformers."""
  environment = {name: value for name, value in os.environ.items() if not name.startswith("TRANSFORMERS_")}
  command = [sys.executable, "-c", PROGRAM.format(first=first)]
  done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
  return done.stdout + done.stderr


def test_transformers_does_not_say_that_pytorch_is_missing():
  assert "PyTorch was not found" in output_of("transformers")  # without srpo_jax the line is printed
  assert "PyTorch" not in output_of("srpo_jax")
