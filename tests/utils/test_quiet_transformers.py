"""A host without PyTorch sees no line that says so."""

import subprocess
import sys

from tests.conftest import ROOT


def test_transformers_does_not_say_that_pytorch_is_missing():
  program = (
    "import sys; sys.modules['torch'] = None\n{}import transformers, srpo_jax.data.encoded, srpo_jax.serving.text"
  )
  outputs = []
  for first in ("", "import srpo_jax\n"):
    command = [sys.executable, "-c", program.format(first)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    outputs.append(done.stdout + done.stderr)
  assert "PyTorch was not found" in outputs[0]  # without our package the line is there
  assert "PyTorch" not in outputs[1]
