"""Wrappers that a test puts around a call, such as `len(_)` or `sorted(_)[0]`, where `_` is the value of the call.

The child evaluates them, so that the value itself need not be plain data. It uses the functions that are saved here
before the program runs, not the program's own `len`. No wrapper holds an expected value.
"""

import builtins
import collections
import decimal
import operator
from collections.abc import Callable, Mapping
from typing import Any

VALUE = "_"
_NAMES = (
  *("abs", "all", "any", "dict", "float", "frozenset", "int", "len", "list", "max", "min", "reversed", "round", "set"),
  *("sorted", "str", "sum", "tuple"),
)
_truth = operator.truth


def truth(value: Any) -> bool:
  """Returns the truth of a value. Raises ValueError for NaN, which passes no test."""
  if issubclass(type(value), (float, complex, decimal.Decimal)) and value != value:
    raise ValueError("NaN")
  return _truth(value)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
  **{name: getattr(builtins, name) for name in _NAMES},
  "bool": truth,
  "Counter": collections.Counter,
}
_compile, _eval = compile, eval


def wrapped(wrapper: str, value: Any) -> Any:
  """Returns the value of a wrapper around a call's value."""
  return _eval(_compile(wrapper, "<wrapper>", "eval"), {"__builtins__": {}, **FUNCTIONS, VALUE: value})
