"""Tests that are a script rather than single asserts, such as a loop over random inputs.

A script calls the program at places that only running it finds. It runs in sandbox children of its own, where the
program is absent and can therefore neither rebind a name nor see an expected value:

    1. The script runs with a stand-in for the program, which records the arguments of each call. Asserts are skipped.
    2. The program is asked for the value of each recorded call, in a child of its own.
    3. The script runs again. Its calls return the program's values, as plain data, and its asserts decide.

Both runs draw the same random numbers, from a seed that the program does not get. A script whose calls depend on the
values that it received cannot be judged in this way.
"""

import ast
import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

from srpo_jax.sandbox import plain

MAX_CALLS = 10_000

_HARNESS = '''
import random as _random
from srpo_jax.sandbox import plain as _plain


class _Differs(Exception):
  pass


def _nothing(*_, **__):
  return _StandIn()


class _StandIn:
  """Takes part in any expression."""

  def __getattr__(self, name):
    return _StandIn()

  def __iter__(self):
    return iter(())

  def __float__(self):
    return 1.0

  def __int__(self):
    return 1

  __index__ = __int__
  __complex__ = __float__
  __len__ = lambda self: 0
  __bool__ = lambda self: True
  __hash__ = lambda self: 0
  __str__ = __repr__ = lambda self: ""


for _name in ("add sub mul truediv floordiv mod pow and or xor lshift rshift matmul radd rsub rmul rtruediv rfloordiv "
              "rmod rpow rand ror rxor neg pos abs invert round call getitem contains eq ne lt le gt ge").split():
  setattr(_StandIn, "__" + _name + "__", _nothing)


def _packed(arguments):
  return [_plain.dumps(argument) for argument in arguments]


def _recorded():
  _random.seed(_SEED)
  calls = []

  def candidate(*arguments):
    if len(calls) == _MOST:
      raise _Differs("more than %d calls" % _MOST)
    calls.append(_packed(arguments))
    return _StandIn()

  globals()[_ENTRY_POINT] = candidate
  _recording(candidate)
  return calls


def _judged(calls, answers):
  _random.seed(_SEED)
  left = list(zip(calls, answers))

  def candidate(*arguments):
    if not left or left[0][0] != _packed(arguments):
      raise _Differs("its calls depend on the values of the program")
    answer = left.pop(0)[1]
    if answer is None:
      raise RuntimeError("the call failed")
    return _plain.loads(answer)

  globals()[_ENTRY_POINT] = candidate  # some scripts call it by its own name
  try:
    _judging(candidate)
  except _Differs:
    raise
  except BaseException as error:
    return type(error).__name__
  return ""
'''


@dataclasses.dataclass(frozen=True)
class TestScript:
  """A test script.

  Attributes:
    setup: text that runs before the script and before each program: imports and helper functions.
    script: text that defines `check(candidate)`.
    entry_point: the program's function that `check` is called with.
  """

  __test__ = False  # not a class of tests for pytest

  setup: str
  script: str
  entry_point: str

  def recording_job(self) -> dict[str, Any]:
    """Returns the job whose only value is a list of calls. Each is a list of arguments as `plain` text."""
    return self._job("_recorded()")

  def program_job(self, program: str, calls: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Returns the job that asks a program for the value of each recorded call."""
    asked = [{"entry_point": self.entry_point, "arguments": call} for call in calls]
    return {"mode": "calls", "program": program, "setup": self.setup, "calls": asked, "imports": []}

  def judging_job(self, calls: Sequence[Sequence[str]], values: Sequence[Any]) -> dict[str, Any]:
    """Returns the job whose only value is empty if the script passes, or else the name of its error.

    Args:
      calls: the recorded calls.
      values: the program's value of each call. `Failed` stands for a call without a value.
    """
    answers = [None if value is Failed else plain.dumps(value) for value in values]
    return self._job(f"_judged({list(calls)!r}, {answers!r})")

  def _job(self, expression: str) -> dict[str, Any]:
    seed = int.from_bytes(hashlib.sha256(f"judge {self.script}".encode()).digest()[:8], "big")
    constants = f"_SEED, _MOST, _ENTRY_POINT = {seed}, {MAX_CALLS}, {self.entry_point!r}\n"
    program = "\n".join([self.setup, _renamed(self.script), constants, _HARNESS])
    return {"mode": "calls", "program": program, "calls": [{"expression": expression}], "imports": []}


class Failed:
  """Stands for the value of a call that raised an error or did not return."""


def _renamed(script: str) -> str:
  """Returns the script with two versions of `check`: `_recording`, which skips asserts, and `_judging`.

  Raises:
    SyntaxError, RecursionError: the script is not Python, or nested too deeply.
    ValueError: the script does not define `check(candidate)`.
  """
  module = ast.parse(script)
  (place,) = [n for n, node in enumerate(module.body) if isinstance(node, ast.FunctionDef) and node.name == "check"]
  check = module.body[place]
  assert isinstance(check, ast.FunctionDef)
  texts = [ast.unparse(node) for node in module.body[:place]]
  check.name = "_judging"
  texts.append(ast.unparse(check))
  check.name = "_recording"
  texts.append(ast.unparse(ast.fix_missing_locations(_WithoutAsserts().visit(check))))
  return "\n".join(texts)


def is_test_script(text: object) -> bool:
  """Returns True for the text of a script that defines `check(candidate)`."""
  try:
    return isinstance(text, str) and bool(_renamed(text))
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return False


class _WithoutAsserts(ast.NodeTransformer):
  """Replaces each assert by its condition, whose errors are ignored."""

  def visit_Assert(self, node: ast.Assert) -> ast.stmt:
    handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
    return ast.Try([ast.Expr(node.test)], [handler], [], [])
