"""Scripts of programming contests give the same output and exit status in the sandbox as in plain CPython."""

import functools
import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from srpo_jax.sandbox.client import Execution, Sandbox
from srpo_jax.sandbox.limits import Limits
from tests.helpers.sandboxes import ask, submit, value
from tests.helpers.scripts import Script, scripts

WEAK = ("landlock", "unsafe")  # there a program under another uid may find no library to read
BEYOND = ("asyncio", "doctest", "unittest")  # scripts that import more than a zygote has loaded


@pytest.fixture(
  scope="module", params=["namespaces", "bubblewrap", *(pytest.param(t, marks=pytest.mark.slow) for t in WEAK)]
)
def sandbox(request):
  with Sandbox(slots=2, tier=request.param, min_tier=request.param, limits=Limits(test_s=30)) as running:
    yield running


@functools.cache
def by_python(script: Script) -> tuple[bytes, int]:
  """Returns the standard output and the exit status of a script that CPython runs from a file."""
  with tempfile.TemporaryDirectory() as folder:
    place = Path(folder)
    (place / "program.py").write_bytes(script.program.encode())
    (place / "given").write_bytes(script.given.encode())
    with (place / "given").open("rb") as given:
      command = [sys.executable, "-I", "program.py"]
      done = subprocess.run(
        command, cwd=folder, stdin=given, capture_output=True, env={"PATH": os.defpath}, timeout=60, check=False
      )
  return done.stdout, done.returncode


def status(execution: Execution, tier: str) -> int | str:
  if tier == "bubblewrap" and execution.end == "signal":
    return 128 + execution.code  # bwrap reports signals so, and a status above 128 cannot be told from one
  return execution.code if execution.end == "exit" else execution.end


@pytest.fixture
def interruptible():
  """Lets SIGINT interrupt the scripts. They would inherit that a job in the background ignores it."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


def test_scripts_run_as_in_python(sandbox, interruptible):
  chosen = [script for script in scripts() if sandbox.tier not in WEAK or script.name not in BEYOND]
  assert len(chosen) > 130
  jobs = [{"mode": "stdin", "program": script.program, "inputs": [script.given]} for script in chosen]
  waits = [submit(sandbox, job)[0] for job in jobs]
  with ThreadPool(2) as pool:
    expected = pool.map(by_python, chosen)
  differing = {}
  for script, wait, wanted in zip(chosen, waits, expected, strict=True):
    (found,) = wait().executions
    if (found.stdout, status(found, sandbox.tier)) != wanted:
      differing[script.name] = (found.stdout, status(found, sandbox.tier), found.results), wanted
  assert differing == {}


def test_integers_have_up_to_50_000_digits(sandbox):
  script = {"mode": "stdin", "program": "n = int(input())\nprint(10 * n)", "inputs": ["9" * 49_999, "9" * 50_001]}
  longest, longer = ask(sandbox, script)
  assert longest.stdout == b"9" * 49_999 + b"0\n"
  assert (longer.stdout, longer.code) == (b"", 1) and b"ValueError" in longer.results
  assert value(sandbox, "def f(): return len(str(7 ** 50_000))", "f()") == 42_255


OWN_TEXT = """
import inspect, linecache, sys, traceback

def shown(thing):
  try:
    return [inspect.getsource(thing)]
  except (OSError, TypeError):
    return []

class Box:
  def texts(self):
    found, frame = [], inspect.currentframe()
    found += [line for entry in traceback.format_stack() for line in entry.splitlines()[1:]]
    while frame is not None:
      found += shown(frame) + shown(frame.f_code)
      found += linecache.getlines(frame.f_code.co_filename, frame.f_globals)
      frame = frame.f_back
    for name, module in sys.modules.items():
      if name.startswith(("srpo_jax", "tests")) or name in ("__main__", "solution"):
        found += shown(module)
    return found + shown(Box) + shown(type(self).texts)
"""


@pytest.mark.parametrize("start", ["", "\ufeff", "\n"])
def test_a_program_finds_no_text_but_its_own(sandbox, start):
  """Looks in tracebacks, in all frames below it, in every module of this package, and in `__file__`."""
  wrong = "print(*(text for text in Box().texts() if text.strip() not in own), sep='\\n')"
  script = f"{OWN_TEXT}\nown = inspect.getsource(sys.modules['__main__'])\n{wrong}\n"
  script += "print(len(own), own == open(__file__).read(), len(Box().texts()) > 9)\n"
  (found,) = ask(sandbox, {"mode": "stdin", "program": start + script, "inputs": [""]})
  own = (start + script).lstrip("\ufeff")
  assert found.stdout.decode().split() == [str(len(own)), "True", "True"], found
  texts = value(sandbox, start + OWN_TEXT, "Box().texts()")
  assert len(texts) > 9 and all(text.strip() in OWN_TEXT for text in texts), texts


def test_called_programs_find_streams_and_their_module(sandbox):
  program = "import os, sys, __main__\nx = 10 ** 5000\nprint(x)\n"
  program += "def f(): return [len(str(x)), __main__.x == x, sys.stdin.read(), sys.stdout.mode, 'PATH' in os.environ]"
  assert value(sandbox, program, "f()") == [5001, True, "", "w", True]
