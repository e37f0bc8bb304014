"""Output of imports on standard error, each in a separate process."""

import subprocess
import sys

import pytest

from srpo_jax.utils.quiet import hidden

PROGRAM = """
import logging, os, sys
from srpo_jax.utils.quiet import quiet_imports
with quiet_imports():
  os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n")
  os.write(2, b"I0000 00:00:1.5 1 cudart_stub.cc:31] Could not find cuda drivers, GPU will not be used.\\n")
  print("a real warning", file=sys.stderr)
  os.write(2, b"E0000 00:00:1.5 1 file.cc:1] an error\\n")
  logging.basicConfig(level=logging.DEBUG)
print("after", logging.getLogger().level, logging.getLogger().handlers, file=sys.stderr)
"""


def said(program: str) -> list[str]:
  return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr.splitlines()


def test_only_notices_are_left_out():
  assert said(PROGRAM) == ["a real warning", "E0000 00:00:1.5 1 file.cc:1] an error", "after 30 []"]


def test_an_import_that_fails_says_so():
  program = "import sys\nfrom srpo_jax.utils.quiet import quiet_imports\ntry:\n  with quiet_imports():\n    1 / 0\n"
  assert said(program + "except ZeroDivisionError:\n  print('told', file=sys.stderr)") == ["told"]


def test_jetstream_is_imported_without_a_word():
  assert said("import jax; from srpo_jax.rollout import jetstream_engine") == []


def test_a_hidden_package_is_importable_afterwards(tmp_path, monkeypatch):
  (tmp_path / "rare_package.py").touch()
  monkeypatch.syspath_prepend(tmp_path)
  with hidden("rare_package"), pytest.raises(ImportError):
    import rare_package
  import rare_package

  with hidden("rare_package"):  # imported already, so it stays
    assert sys.modules["rare_package"] is rare_package
