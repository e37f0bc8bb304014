"""Splits a problem's tests into questions for the candidate program and checks on its answers.

The child process that runs the candidate gets only the questions: calls with their arguments, or standard input. The
expected values stay in the trainer. An assert is split at the calls of the candidate's functions:

    assert math.isclose(area(circle(2)), 12.566)   asks   area(circle(2))   judges   math.isclose(HOLE, 12.566)
"""

import ast
import builtins
import copy
import dataclasses
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from srpo_jax.rewards import judgement
from srpo_jax.rewards.judgement import Hole, Refused
from srpo_jax.rewards.match import equal, has_nan
from srpo_jax.sandbox import plain
from srpo_jax.utils.errors import InputError

MAX_EXPECTED = 1 << 20  # characters; the sandbox would not let a candidate return a longer answer


@dataclasses.dataclass(frozen=True)
class Check:
  """One test on the values of the program's calls.

  Attributes:
    needs: the numbers of the calls that the test needs.
    expression: the condition on their values, with holes. None if `expected` is compared instead.
    expected: the expected value of the only call.
  """

  needs: tuple[int, ...]
  expression: ast.expr | None = None
  expected: Any = None

  def passes(self, values: Mapping[int, Any]) -> bool:
    """Returns True if the test passes. `values` maps call numbers to values and must hold all of `needs`."""
    if any(has_nan(values[index]) for index in self.needs):
      return False
    if self.expression is None:
      return equal(values[self.needs[0]], self.expected, loose=True)
    try:
      return bool(judgement.evaluate(self.expression, values))
    except Exception:  # for example None < 3, which would fail the assert too
      return False


@dataclasses.dataclass(frozen=True)
class Suite:
  """All tests of a problem.

  Attributes:
    mode: "calls" or "stdin".
    calls: the questions in mode "calls". Each is {"expression"}, or {"entry_point", "arguments"} with the arguments as
      `plain` text.
    checks: the tests on the values of the calls.
    imports: import statements that the expressions of the calls need.
    modules: the modules that the imports and the prelude name, by the first part of each name. "." stands for a
      relative import, which has no package here.
    inputs, outputs: standard input and expected output in mode "stdin", one pair for each test.
    prelude: import statements that run before each program, as in the data set's own harness.
  """

  mode: str
  calls: tuple[dict[str, Any], ...] = ()
  checks: tuple[Check, ...] = ()
  imports: tuple[str, ...] = ()
  modules: tuple[str, ...] = ()
  inputs: tuple[str, ...] = ()
  outputs: tuple[str, ...] = ()
  prelude: tuple[str, ...] = ()

  def __len__(self) -> int:
    return len(self.checks) if self.mode == "calls" else len(self.inputs)

  def job(self, program: str) -> dict[str, Any]:
    """Returns the job for the sandbox. It holds no expected value."""
    given = {"mode": self.mode, "program": program} | ({"prelude": self.prelude} if self.prelude else {})
    if self.mode == "stdin":
      return given | {"inputs": self.inputs}
    return given | {"calls": self.calls, "imports": self.imports}


def imported_modules(node: ast.Import | ast.ImportFrom) -> list[str]:
  """Returns the modules that a statement imports, by the first part of each name. "." stands for a relative import."""
  whole = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
  return [name.partition(".")[0] for name in whole]


def turn(tests: Mapping[str, Any] | None) -> Suite:
  """Returns the suite for the `tests` field of a problem.

  Raises:
    InputError: the tests are malformed or cannot be turned into a suite. The message names the case and the reason.
  """
  if not isinstance(tests, Mapping):
    raise InputError(f"field tests: expected an object with type and cases, found {_shown(tests)}")
  cases = tests.get("cases")
  if not isinstance(cases, Sequence) or isinstance(cases, str) or not cases:
    raise InputError(f"field tests.cases: expected a list of at least one case, found {_shown(cases)}")
  kinds = {"assert": _asserts, "function": _functions, "stdin": _scripts}
  if not isinstance(tests.get("type"), str) or tests["type"] not in kinds:
    raise InputError(f"field tests.type: expected one of {', '.join(kinds)}, found {_shown(tests.get('type'))}")
  suite = kinds[tests["type"]](tests)
  if tests.get("prelude") is None:
    return suite
  lines, modules = _prelude(tests["prelude"])
  return dataclasses.replace(suite, prelude=lines, modules=(*suite.modules, *modules))


def _prelude(text: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Returns the import statements of a text and the modules that they import."""
  try:
    nodes = parse(text).body if isinstance(text, str) else [None]
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    nodes = [None]
  lines, modules = [], []
  for node in nodes:
    if not isinstance(node, (ast.Import, ast.ImportFrom)):
      raise InputError(f"field tests.prelude: expected the text of import statements, found {_shown(text)}")
    lines.append(ast.unparse(node))
    modules += imported_modules(node)
  return tuple(lines), tuple(modules)


def _asserts(tests: Mapping[str, Any]) -> Suite:
  functions = tests.get("functions") or ()
  if not isinstance(functions, (list, tuple)) or not all(isinstance(name, str) for name in functions):
    raise InputError(f"field tests.functions: expected a list of names, found {_shown(functions)}")
  turner = _Turner(frozenset(functions))
  for number, case in enumerate(tests["cases"]):
    where = f"field tests.cases[{number}]"
    if not isinstance(case, str):
      raise InputError(f"{where}: expected the text of an assert, found {_shown(case)}")
    try:
      for statement in parse(case.strip()).body:
        turner.statement(statement)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
      raise InputError(f"{where}: expected Python, found {_shown(case)}") from None
    except Refused as reason:
      raise InputError(f"{where}: cannot be turned into calls: {reason}: {_shown(case)}") from None
  if not turner.checks:
    raise InputError("field tests.cases: expected an assert on a call of the program")
  calls = tuple({"expression": expression} for expression in turner.calls)
  return Suite("calls", calls, tuple(turner.checks), tuple(turner.imports), tuple(turner.modules))


def parse(text: str) -> ast.Module:
  """Parses Python from a data set. Hides warnings about its style, because the text is not ours to fix."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    return ast.parse(text)


# A call like `np.sum(...)` on one of these names is never a call of the program, even if the tests do not import it.
_LIBRARIES = sys.stdlib_module_names | {"np", "numpy", "pd", "pandas", "scipy", "sympy", "torch", "pytest", "unittest"}


class _Turner:
  """Collects the calls and checks of one problem's asserts."""

  def __init__(self, functions: frozenset[str]):
    self._functions = functions  # the candidate's functions, even if one shares its name with a built-in
    self._constants: dict[str, ast.expr] = {}
    self._modules: set[str] = set(judgement.MODULES)
    self.calls: list[str] = []
    self.checks: list[Check] = []
    self.imports: list[str] = []
    self.modules: list[str] = []

  def statement(self, node: ast.stmt) -> None:
    match node:
      case ast.Import() | ast.ImportFrom():
        self.imports.append(ast.unparse(node))
        self.modules += imported_modules(node)
        self._modules.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
      case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_literal(value):
        self._constants[name] = value
      case ast.Expr(value=ast.Constant()) | ast.Pass():
        pass
      case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=args)) if all(map(_is_literal, args)):
        pass
      case ast.Assert(test=ast.Constant(value=True)):
        pass
      case ast.Assert(test=ast.BoolOp(op=ast.And(), values=parts)):
        for part in parts:
          self.statement(ast.Assert(test=part, msg=None))
      case ast.Assert(test=test):
        self._check(test)
      case _:
        raise Refused(f"has a {type(node).__name__} statement")

  def _check(self, test: ast.expr) -> None:
    first = len(self.calls)
    hidden = {inner.id for inner in ast.walk(test) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}
    hidden |= {inner.arg for inner in ast.walk(test) if isinstance(inner, ast.arg)}
    if hidden & self._constants.keys():
      raise Refused(f"rebinds {', '.join(sorted(hidden & self._constants.keys()))}")
    if not self._functions and self._may_judge_itself(test):
      raise Refused("may pass the answer to the program, list the program's functions in tests.functions")
    expression = self._split(_Substitute(self._constants).visit(test))
    if len(self.calls) == first:
      raise Refused("asserts nothing about the program")
    judgement.check(expression)
    self.checks.append(Check(tuple(range(first, len(self.calls))), expression))

  def _split(self, node: Any) -> Any:
    """Replaces each outermost call of the candidate's functions by a hole."""
    if isinstance(node, ast.Call) and self._is_candidates(node):
      self.calls.append(ast.unparse(node))
      return Hole(len(self.calls) - 1)
    if isinstance(node, ast.AST):
      for field, value in ast.iter_fields(node):
        setattr(node, field, [self._split(item) for item in value] if isinstance(value, list) else self._split(value))
    return node

  def _is_candidates(self, call: ast.Call) -> bool:
    root: ast.expr = call
    while isinstance(root, (ast.Call, ast.Attribute, ast.Subscript)):
      root = root.func if isinstance(root, ast.Call) else root.value
    if not isinstance(root, ast.Name):
      return False
    if self._functions:
      return root.id in self._functions
    if isinstance(call.func, ast.Attribute) and call.func.value is root and root.id in _LIBRARIES:
      return False
    return not hasattr(builtins, root.id) and root.id not in self._modules and root.id not in judgement.FUNCTIONS

  def _may_judge_itself(self, test: ast.expr) -> bool:
    """Returns True for asserts like `close(f(1), 0.5)` or `not close(f(1), 0.5)`.

    `close` may be a function of the program, which would then see the answer 0.5 and judge itself.
    """
    match test:
      case ast.UnaryOp(op=ast.Not(), operand=call) | ast.Compare(left=call, comparators=[ast.Constant(value=bool())]):
        return self._may_judge_itself(call)
      case ast.Call(func=ast.Name()) if self._is_candidates(test):
        parts = [*test.args, *(keyword.value for keyword in test.keywords)]
        asks = [any(isinstance(n, ast.Call) and self._is_candidates(n) for n in ast.walk(part)) for part in parts]
        return any(asks) and not all(asks)
    return False


class _Substitute(ast.NodeTransformer):
  """Replaces names by the literals assigned to them."""

  def __init__(self, constants: Mapping[str, ast.expr]):
    self._constants = constants

  def visit_Name(self, node: ast.Name) -> ast.expr:
    return copy.deepcopy(self._constants[node.id]) if node.id in self._constants else node


def _is_literal(node: ast.expr) -> bool:
  try:
    ast.literal_eval(node)
  except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
    return False
  return True


def _functions(tests: Mapping[str, Any]) -> Suite:
  entry_point = tests.get("entry_point")
  if not isinstance(entry_point, str) or not all(part.isidentifier() for part in entry_point.split(".")):
    raise InputError(f"field tests.entry_point: expected the name of a function, found {_shown(entry_point)}")
  calls, checks = [], []
  for number, case in enumerate(tests["cases"]):
    where = f"field tests.cases[{number}]"
    if not isinstance(case, Mapping) or not isinstance(case.get("args"), (list, tuple)) or "expected" not in case:
      raise InputError(f"{where}: expected an object with args and expected, found {_shown(case)}")
    try:
      arguments = [plain.dumps(argument) for argument in case["args"]]
      size = len(plain.dumps(case["expected"]))
    except plain.Unplain as error:
      raise InputError(f"{where}: expected plain data: {error}") from None
    _check_size(size, where)
    if has_nan(case["expected"]):
      raise InputError(f"{where}: expected a value that can be compared, found NaN")
    calls.append({"entry_point": entry_point, "arguments": arguments})
    checks.append(Check((number,), None, case["expected"]))
  return Suite("calls", tuple(calls), tuple(checks))


def _scripts(tests: Mapping[str, Any]) -> Suite:
  inputs, outputs = [], []
  for number, case in enumerate(tests["cases"]):
    where = f"field tests.cases[{number}]"
    if not isinstance(case, Mapping) or not all(isinstance(case.get(name), str) for name in ("input", "output")):
      raise InputError(f"{where}: expected an object with input and output, both text, found {_shown(case)}")
    _check_size(len(case["output"]), where)
    for name in ("input", "output"):
      try:
        case[name].encode()
      except UnicodeEncodeError as error:  # JSON can escape half of a surrogate pair, but standard input is bytes
        raise InputError(f"{where}.{name}: expected Unicode text, found a lone surrogate at {error.start}") from None
    inputs.append(case["input"])
    outputs.append(case["output"])
  return Suite("stdin", inputs=tuple(inputs), outputs=tuple(outputs))


def _check_size(size: int, where: str) -> None:
  if size >= MAX_EXPECTED:
    raise InputError(f"{where}: expected an answer below {MAX_EXPECTED} characters, found {size}")


def _shown(value: Any) -> str:
  text = " ".join(repr(value).split())
  return text if len(text) <= 80 else text[:77] + "..."
