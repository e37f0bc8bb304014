"""Adapters for the rows of MBPP, HumanEval and LiveCodeBench, whose tests they convert to the form used here.

No question shows a test. Otherwise a policy could write down the expected values instead of solving the problem.
"""

import ast
import base64
import binascii
import contextlib
import io
import json
import pickle
import pickletools
import re
import reprlib
import warnings
import zlib
from collections.abc import Mapping
from typing import Any

from srpo_jax.data.row import Row
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

DEFINE, COMPLETE, START = "\nDefine:", "Complete this function:\n\n", "\n\nStart from:\n\n"
MAX_UNPACKED = 512 << 20  # bytes of the private cases of one LiveCodeBench row
MAX_STEPS = 1_000_000  # opcodes of a pickle; a pickled text takes five
# LiveCodeBench's own harness runs these imports before every program, in this order. `builtins` follows `math` so that
# `pow` is the built-in again. The imports are needed because the starter code uses List without importing it.
_MODULES = (
  *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools"),
  *("functools", "operator", "io", "sys", "json"),
)
PRELUDE = "\n".join(f"from {name} import *" for name in (*_MODULES, "builtins", "typing"))
PRELUDE += f"\nimport {', '.join(_MODULES)}"


def from_mbpp(row: Row, fallback_id: str) -> Problem:
  """Converts a row of MBPP: task_id, prompt (or text), code, test_list; test_imports and test_setup_code are optional.

  The question states the signature of the reference program. The program itself is not kept.

  Raises:
    InputError: names the malformed field.
  """
  code = _text(row, "code")
  cases = [*_texts(row, "test_imports"), *_texts(row, "test_list")]
  if isinstance(row.get("test_setup_code"), str) and row["test_setup_code"].strip():
    cases.insert(0, row["test_setup_code"])
  if not _texts(row, "test_list"):
    raise InputError("field test_list: expected a list of asserts, found none")
  names = _defined(code)
  called = [_signature(code, name) for name in names if any(f"{name}(" in case for case in cases)]
  header = "".join(f"\n    def {text}" for text in called if text)
  question = _text(row, "prompt" if "prompt" in row else "text")
  return Problem(
    id=f"mbpp-{row['task_id']}" if row.get("task_id") is not None else fallback_id,
    domain="code",
    question=f"{question}{DEFINE}{header}" if header else question,
    tests={"type": "assert", "cases": cases, "functions": names, "benchmark": "mbpp"},
    source="mbpp",
  )


def from_humaneval(row: Row, fallback_id: str) -> Problem:
  """Converts a row of HumanEval: task_id, prompt, entry_point, test (a function `check(candidate)`).

  The imports and helper functions of the prompt become `setup`, which runs before each program.

  Raises:
    InputError: names the malformed field.
  """
  entry_point, prompt, test = _text(row, "entry_point"), _text(row, "prompt"), _text(row, "test")
  tests = {"type": "assert", "cases": _check_body(test, entry_point), "functions": [entry_point]}
  tests |= {"setup": _setup(prompt, entry_point), "script": test, "entry_point": entry_point, "benchmark": "humaneval"}
  return Problem(
    id=_text(row, "task_id") if row.get("task_id") is not None else fallback_id,
    domain="code",
    question=f"{COMPLETE}{prompt}",
    tests=tests,
    source="humaneval",
  )


def from_livecodebench(row: Row, fallback_id: str) -> Problem:
  """Converts a row of LiveCodeBench: question_content, starter_code, public_test_cases, private_test_cases, metadata.

  The cases are JSON text. The private ones may be packed (base64, zlib, pickle of a str). All cases of a row have the
  same type. They are either texts on standard input or calls of `metadata.func_name`, which is a method of `Solution`
  if the starter code has that class. Programs run after the PRELUDE.

  Raises:
    InputError: names the malformed field.
  """
  cases = _cases(row, "public_test_cases") + _cases(row, "private_test_cases")
  if not cases:
    raise InputError("field public_test_cases: expected at least one case here or in private_test_cases")
  kinds = {str(case.get("testtype")) for case in cases}
  starter = row.get("starter_code") or ""
  if not isinstance(starter, str):
    raise InputError(f"field starter_code: expected text, found {_shown(starter)}")
  if kinds == {"stdin"}:
    tests: dict[str, Any] = {
      "type": "stdin",
      "cases": [{"input": _case_text(c, "input"), "output": _case_text(c, "output")} for c in cases],
    }
  elif kinds == {"functional"}:
    tests = {"type": "function", "entry_point": _entry_point(row, starter), "cases": [_call(c) for c in cases]}
  else:
    raise InputError(f"field public_test_cases: expected testtype stdin or functional only, found {_shown(kinds)}")
  question = _text(row, "question_content")
  return Problem(
    id=str(row.get("question_id") or fallback_id),
    domain="code",
    question=f"{question}{START}{starter}" if starter.strip() else question,
    tests=tests | {"prelude": PRELUDE, "benchmark": "livecodebench"},
    difficulty=row.get("difficulty") or None,
    source="livecodebench",
  )


# The text that the adapters put around a question.
_FRAMES = re.compile(rf"\A{re.escape(COMPLETE)}|{re.escape(DEFINE)}\n    def .*\Z|{re.escape(START)}.*\Z", re.DOTALL)


def bare_question(question: str) -> str:
  """Removes the text that an adapter added. Data sets are compared by their bare questions."""
  return _FRAMES.sub("", question)


def _parse(text: str) -> ast.Module:
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # warnings about the style of a data set's programs
    return ast.parse(text)


def _defined(code: str) -> list[str]:
  try:
    body = _parse(code).body
  except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
    raise InputError(f"field code: expected a Python program: {error}") from None
  return [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def _signature(program: str, name: str) -> str | None:
  """Returns the function's `name(parameters)` as defined in a program, or None if the program does not define it."""
  try:
    body = _parse(program).body
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return None
  for node in body:
    if isinstance(node, ast.FunctionDef) and node.name == name:
      with contextlib.suppress(RecursionError):
        return f"{name}({ast.unparse(node.args)})"
  return None


def _check_body(test: str, entry_point: str) -> list[str]:
  """Returns the imports and the statements of `check`, with its parameter renamed to the entry point."""
  try:
    body = _parse(test).body
  except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
    raise InputError(f"field test: expected Python: {error}") from None
  imports = [ast.unparse(node) for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
  for node in body:
    if isinstance(node, ast.FunctionDef) and node.name == "check" and len(node.args.args) == 1:
      renamed = _Rename(node.args.args[0].arg, entry_point)
      try:
        return imports + [ast.unparse(renamed.visit(statement)) for statement in node.body]
      except RecursionError:
        raise InputError("field test: expected expressions that are not nested too deeply") from None
  raise InputError("field test: expected a function check(candidate)")


def _setup(prompt: str, entry_point: str) -> str:
  """Returns the imports and definitions of a prompt without the function that the program must complete."""
  try:
    body = _parse(f"{prompt}\n    pass\n").body
  except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
    raise InputError(f"field prompt: expected the beginning of a Python program: {error}") from None
  kept = [node for node in body if not (isinstance(node, ast.FunctionDef) and node.name == entry_point)]
  return "\n".join(map(ast.unparse, kept))


class _Rename(ast.NodeTransformer):
  def __init__(self, old: str, new: str):
    self._old, self._new = old, new

  def visit_Name(self, node: ast.Name) -> ast.Name:
    return ast.Name(self._new, node.ctx) if node.id == self._old else node


def _cases(row: Row, field: str) -> list[dict[str, Any]]:
  value = row.get(field)
  if value is None or value == "":
    return []
  if isinstance(value, str):
    try:
      value = _json(value)
    except ValueError:
      value = _unpacked(value, field)
  if not isinstance(value, list) or not all(isinstance(case, dict) for case in value):
    raise InputError(f"field {field}: expected a list of objects, found {_shown(value)}")
  return value


def _unpacked(text: str, field: str) -> Any:
  """Unpacks JSON from base64, zlib and pickle. The pickle may hold only plain values.

  Raises:
    InputError: text that is not packed this way, a pickle that is not plain, or more than MAX_UNPACKED bytes.
  """
  try:
    unzip = zlib.decompressobj()
    data = unzip.decompress(base64.b64decode(text, validate=True), MAX_UNPACKED)
    if unzip.unconsumed_tail:
      raise InputError(f"field {field}: expected at most {MAX_UNPACKED >> 20} MiB unpacked")
    _check_pickle(data)
    value = _StrUnpickler(io.BytesIO(data)).load()
    return _json(value) if isinstance(value, (str, bytes)) else value
  except InputError:
    raise
  except (binascii.Error, zlib.error, pickle.UnpicklingError, ValueError, EOFError, MemoryError) as error:
    raise InputError(f"field {field}: expected JSON, or it packed by pickle, zlib and base64: {error}") from None
  except Exception as error:  # a damaged pickle can raise anything
    raise InputError(f"field {field}: expected a pickle of a str, found {type(error).__name__}") from None


def _json(text: str | bytes) -> Any:
  """Parses JSON. Raises ValueError for text that is not JSON or is nested too deeply to be read."""
  try:
    return json.loads(text)
  except RecursionError:
    raise ValueError("nested too deeply") from None


def _check_pickle(data: bytes) -> None:
  """Raises UnpicklingError for a pickle that would take far more memory or time than its size.

  An unpickler's memo table is as long as the largest memo number in the pickle, so ten bytes can ask for 32 GiB.
  """
  for count, (step, argument, _) in enumerate(pickletools.genops(data)):
    if count > MAX_STEPS:
      raise pickle.UnpicklingError(f"it has more than {MAX_STEPS} steps")
    if step.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= count:
      raise pickle.UnpicklingError(f"it stores a value as memo number {argument} at step {count}")


class _StrUnpickler(pickle.Unpickler):
  """Reads plain values. It refuses a pickle that names a class or a function before it calls any."""

  def find_class(self, module: str, name: str) -> Any:
    raise pickle.UnpicklingError(f"it names {module}.{name}")

  def persistent_load(self, pid: Any) -> Any:
    raise pickle.UnpicklingError("it refers to another file")


def _entry_point(row: Row, starter: str) -> str:
  metadata = row.get("metadata")
  if isinstance(metadata, str):
    try:
      metadata = _json(metadata)
    except ValueError:
      raise InputError(f"field metadata: expected a JSON object, found {_shown(metadata)}") from None
  name = metadata.get("func_name") if isinstance(metadata, Mapping) else None
  if not isinstance(name, str) or not name.isidentifier():
    raise InputError(f"field metadata.func_name: expected the name of a function, found {_shown(name)}")
  return f"Solution.{name}" if "class Solution" in starter else name


def _call(case: Mapping[str, Any]) -> dict[str, Any]:
  """Converts a case of a function. Each line of the input is an argument in JSON. The output is the value in JSON."""
  try:
    arguments = [_json(line) for line in _case_text(case, "input").split("\n") if line.strip()]
    return {"args": arguments, "expected": _json(_case_text(case, "output"))}
  except ValueError as error:
    raise InputError(f"field public_test_cases: expected JSON in every line of a functional case: {error}") from None


def _case_text(case: Mapping[str, Any], field: str) -> str:
  value = case.get(field)
  if not isinstance(value, str):
    raise InputError(f"field public_test_cases: expected cases with the text {field}, found {_shown(value)}")
  return value


def _text(row: Row, field: str) -> str:
  value = row.get(field)
  if not isinstance(value, str) or not value.strip():
    raise InputError(f"field {field}: expected text, found {_shown(value)}")
  return value.strip("\n")


def _texts(row: Row, field: str) -> list[str]:
  value = row.get(field) or []
  if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
    raise InputError(f"field {field}: expected a list of texts, found {_shown(value)}")
  return list(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def _shown(value: Any) -> str:
  text = _SHORT.repr(value)  # bounded, since nested lists that share elements can be huge when printed
  return text if len(text) <= 60 else text[:57] + "..."
