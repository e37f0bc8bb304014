"""Splits a problem's tests into questions for the candidate program and checks on its answers.

The child process that runs the candidate gets only the questions: calls with their arguments, or standard input. The
expected values stay in the trainer. An assert is split at the calls of the candidate's functions:

    assert math.isclose(area(circle(2)), 12.566)   asks   area(circle(2))    judges   math.isclose(HOLE, 12.566)
    assert len(parts(2)) == 3                      asks   len of parts(2)    judges   HOLE == 3
    assert not found(2)                            asks   bool of found(2)   judges   not HOLE
"""

import ast
import builtins
import copy
import dataclasses
import functools
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from srpo_jax.rewards import judgement
from srpo_jax.rewards.benchmark_rules import RULES, Rules
from srpo_jax.rewards.judgement import Hole, Refused
from srpo_jax.rewards.match import equal, has_nan
from srpo_jax.rewards.script_tests import TestScript, is_test_script
from srpo_jax.sandbox import plain, wrappers
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

  def passes(self, values: Mapping[int, Any], same: judgement.Same | None = None) -> bool:
    """Returns True if the test passes.

    Args:
      values: call numbers -> values, for at least the calls in `needs`.
      same: a benchmark's own comparison. None: the one of training, in which NaN fails every test.
    """
    if same is None and any(has_nan(values[index]) for index in self.needs):
      return False
    try:
      if self.expression is None:
        compare = same or functools.partial(equal, loose=True)
        return compare(values[self.needs[0]], self.expected)
      return bool(judgement.evaluate(self.expression, values, same or equal))
    except Exception:  # for example None < 3, which would fail the assert too
      return False


@dataclasses.dataclass(frozen=True)
class Suite:
  """All tests of a problem.

  Attributes:
    mode: "calls" or "stdin".
    calls: the questions in mode "calls". Each is {"expression"}, if needed with the "wrapper" that the test puts around
      its value, or {"entry_point", "arguments"} with the arguments as `plain` text.
    checks: the tests on the values of the calls.
    imports: import statements that the expressions of the calls need.
    modules: the modules that the imports and the prelude name, by the first part of each name. "." stands for a
      relative import, which has no package here.
    inputs, outputs: standard input and expected output in mode "stdin", one pair for each test.
    prelude: import statements that run before each program, as in the data set's own harness.
    setup: text that runs before each program, such as the helper functions of its prompt.
    script: the test in mode "script", which is a single one.
    rules: the rules of a benchmark that replace those of training.
  """

  mode: str
  calls: tuple[dict[str, Any], ...] = ()
  checks: tuple[Check, ...] = ()
  imports: tuple[str, ...] = ()
  modules: tuple[str, ...] = ()
  inputs: tuple[str, ...] = ()
  outputs: tuple[str, ...] = ()
  prelude: tuple[str, ...] = ()
  setup: str = ""
  script: TestScript | None = None
  rules: Rules | None = None

  def __len__(self) -> int:
    return 1 if self.script is not None else len(self.checks) if self.mode == "calls" else len(self.inputs)

  def only(self, index: int) -> "Suite":
    """Returns the suite in mode "stdin" with one of its tests."""
    return dataclasses.replace(self, inputs=(self.inputs[index],), outputs=(self.outputs[index],))

  def job(self, program: str) -> dict[str, Any]:
    """Returns the job for the sandbox. It holds no expected value. A suite of mode "script" has other jobs."""
    given: dict[str, Any] = {"mode": self.mode, "program": program}
    given |= {name: value for name, value in (("prelude", self.prelude), ("setup", self.setup)) if value}
    calls = self.calls
    if self.rules is not None:
      given |= self.rules.job()
      calls = tuple(self.rules.asked(call, program) for call in calls)
    if self.mode == "stdin":
      return given | {"inputs": self.inputs}
    return given | {"calls": calls, "imports": self.imports}


def imported_modules(node: ast.Import | ast.ImportFrom) -> list[str]:
  """Returns the modules that a statement imports, by the first part of each name. "." stands for a relative import."""
  whole = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
  return [name.partition(".")[0] for name in whole]


def turn(tests: Mapping[str, Any] | None, *, by_benchmark: bool = False) -> Suite:
  """Returns the suite for the `tests` field of a problem.

  Args:
    tests: the field.
    by_benchmark: judge by the rules of the benchmark in `tests["benchmark"]`, if there is one.

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
  if by_benchmark and tests.get("benchmark") in RULES:
    suite = dataclasses.replace(suite, rules=RULES[tests["benchmark"]])
  setup, imported = _setup(tests.get("setup") or "")
  suite = dataclasses.replace(suite, setup=setup, modules=(*suite.modules, *imported))
  if tests.get("prelude") is None:
    return suite
  lines, modules = _prelude(tests["prelude"])
  return dataclasses.replace(suite, prelude=lines, modules=(*suite.modules, *modules))


def _setup(text: Any) -> tuple[str, list[str]]:
  """Returns the text that runs before each program and the modules that it imports."""
  try:
    nodes = list(ast.walk(parse(text)))
  except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
    raise InputError(f"field tests.setup: expected Python, found {_shown(text)}") from None
  imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
  return text, [module for node in imports for module in imported_modules(node)]


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
  """Returns the suite of asserts. If they cannot be split into calls, `tests.script` is run as a whole."""
  try:
    return _split_asserts(tests)
  except InputError:
    if tests.get("script") is None:
      raise
  setup, entry_point = tests.get("setup") or "", tests.get("entry_point")
  if not isinstance(entry_point, str) or not isinstance(setup, str) or not is_test_script(tests["script"]):
    raise InputError("field tests.script: expected Python that defines check(candidate), with tests.entry_point")
  return Suite("script", script=TestScript(setup, tests["script"], entry_point))


def _split_asserts(tests: Mapping[str, Any]) -> Suite:
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
  return Suite("calls", tuple(turner.calls), tuple(turner.checks), tuple(turner.imports), tuple(turner.modules))


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
    self.calls: list[dict[str, Any]] = []
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
    if not self._functions and (self._may_judge_itself(test) or self._may_build_the_answer(test)):
      raise Refused("may pass the answer to the program, list the program's functions in tests.functions")
    expression = self._truth(_Substitute(self._constants).visit(test))
    if len(self.calls) == first:
      raise Refused("asserts nothing about the program")
    judgement.check(expression)
    self.checks.append(Check(tuple(range(first, len(self.calls))), expression))

  def _truth(self, node: Any) -> Any:
    """Replaces the calls of a condition by holes. Of a call that is itself the condition, only the truth is asked."""
    match node:
      case ast.UnaryOp(op=ast.Not()):
        node.operand = self._truth(node.operand)
      case ast.BoolOp():
        node.values = [self._truth(value) for value in node.values]
      case _:
        found = self._wrapped(node)
        return self._split(node) if found is None else self._hole(found[0], _called("bool", found[1]))
    return node

  def _split(self, node: Any) -> Any:
    """Replaces each outermost call of the candidate's functions, with its wrappers, by a hole."""
    if isinstance(node, ast.expr) and (found := self._wrapped(node)) is not None:
      return self._hole(*found)
    if isinstance(node, ast.AST):
      for field, value in ast.iter_fields(node):
        setattr(node, field, [self._split(item) for item in value] if isinstance(value, list) else self._split(value))
    return node

  def _hole(self, call: ast.expr, wrapper: ast.expr) -> Hole:
    around = {} if isinstance(wrapper, ast.Name) else {"wrapper": ast.unparse(wrapper)}
    self.calls.append({"expression": ast.unparse(call)} | around)
    return Hole(len(self.calls) - 1)

  def _wrapped(self, node: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """Returns a call of the candidate's functions and the wrapper around it, or None for any other expression."""
    match node:
      case ast.Call() if self._is_candidates(node):
        return node, ast.Name(wrappers.VALUE)
      case ast.Call(args=[inner, *others]) if _is_wrapper(node, others):
        found = self._wrapped(inner)
        name = _WRAPPERS[judgement.dotted(node.func)]
        return found and (found[0], _called(name, found[1], *others, keywords=node.keywords))
      case ast.Subscript() if all(map(_is_literal, _bounds(node.slice))):
        found = self._wrapped(node.value)
        return found and (found[0], ast.Subscript(found[1], node.slice))
      case ast.Attribute():
        found = self._wrapped(node.value)
        return found and (found[0], ast.Attribute(found[1], node.attr))
    return None

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
    return not hasattr(builtins, root.id) and root.id not in self._modules and root.id not in judgement.NAMES

  def _asked(self, node: ast.expr) -> list[ast.Call]:
    return [part for part in ast.walk(node) if isinstance(part, ast.Call) and self._is_candidates(part)]

  def _may_judge_itself(self, test: ast.expr) -> bool:
    """Returns True for asserts like `close(f(1), 0.5)` or `not close(f(1), 0.5)`.

    `close` may be a function of the program, which would then see the answer 0.5 and judge itself.
    """
    match test:
      case ast.UnaryOp(op=ast.Not(), operand=call) | ast.Compare(left=call, comparators=[ast.Constant(value=bool())]):
        return self._may_judge_itself(call)
      case ast.Call(func=ast.Name()) if self._is_candidates(test):
        parts = [*test.args, *(keyword.value for keyword in test.keywords)]
        asks = [bool(self._asked(part)) for part in parts]
        return any(asks) and not all(asks)
    return False

  def _may_build_the_answer(self, test: ast.expr) -> bool:
    """Returns True for asserts like `f(1) == Point(2, 3)`.

    `Point` may be a class of the program, which would then see the answer.
    """
    for node in ast.walk(test):
      if isinstance(node, ast.Compare):
        sides = [[_names_a_class(call) for call in self._asked(side)] for side in (node.left, *node.comparators)]
        if any(side and all(side) for side in sides) and not all(map(all, sides)):
          return True
    return False


class _Substitute(ast.NodeTransformer):
  """Replaces names by the literals assigned to them."""

  def __init__(self, constants: Mapping[str, ast.expr]):
    self._constants = constants

  def visit_Name(self, node: ast.Name) -> ast.expr:
    return copy.deepcopy(self._constants[node.id]) if node.id in self._constants else node


_WRAPPERS = {name: name for name in wrappers.FUNCTIONS} | {"collections.Counter": "Counter"}
_OPTIONS = {"round": "ndigits", "sorted": "reverse"}


def _is_wrapper(call: ast.Call, others: list[ast.expr]) -> bool:
  """Returns True if a call takes one value and at most an option, as `round(_, 2)` does.

  Any other argument may be an expected value, as in `max(_, 3)`.
  """
  name = judgement.dotted(call.func)
  given = [("ndigits", item) for item in others] + [(keyword.arg, keyword.value) for keyword in call.keywords]
  allowed = all(option == _OPTIONS.get(name) and _is_literal(value) for option, value in given)
  return name in _WRAPPERS and allowed


def _names_a_class(call: ast.Call) -> bool:
  return isinstance(call.func, ast.Name) and call.func.id[:1].isupper()


def _called(name: str, *arguments: ast.expr, keywords: Sequence[ast.keyword] = ()) -> ast.Call:
  return ast.Call(ast.Name(name), list(arguments), list(keywords))


def _bounds(index: ast.expr) -> list[ast.expr]:
  """Returns the parts of an index or of a slice."""
  parts = [index.lower, index.upper, index.step] if isinstance(index, ast.Slice) else [index]
  return [part for part in parts if part is not None]


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
