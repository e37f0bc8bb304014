"""Plugins: a user's callables that a config names as `module:function`."""

import importlib
import re
import types
from collections.abc import Callable
from typing import Any

from srpo_jax.utils.errors import InputError
from srpo_jax.utils.renamed import current_spec

_SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_callable_spec(spec: str) -> bool:
  """Returns True if a text has the form `module:function` (dots are allowed on both sides)."""
  return _SPEC.fullmatch(spec) is not None


def resolve_callable(spec: str) -> Callable[..., Any]:
  """Imports the callable that `module:function` names.

  Raises:
    InputError: the text has another form, the module is missing or fails to import, or the name is missing or not
      callable.
  """
  if not is_callable_spec(spec):
    raise InputError(f"{spec!r}: expected module:function, for example my_package.rewards:brevity")
  module_name, _, names = current_spec(spec).partition(":")
  try:
    found: Any = importlib.import_module(module_name)
  except Exception as error:  # a user's module may fail in any way while it is imported
    raise InputError(f"{spec}: importing {module_name} failed: {type(error).__name__}: {_one_line(error)}") from error
  for name in names.split("."):
    if not hasattr(found, name):
      raise InputError(f"{spec}: {module_name} has no {names}")
    found = getattr(found, name)
  if not callable(found):
    raise InputError(f"{spec}: expected a callable, got {type(found).__name__}")
  return found


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())


def reads(function: Callable[..., Any], attribute: str) -> bool:
  """Returns True if a function, or another one of its module that it names, reads an attribute of this name."""
  pending, seen = [getattr(function, "__code__", None)], set()
  while pending:
    code = pending.pop()
    if code is None or code in seen:
      continue
    seen.add(code)
    if attribute in code.co_names:
      return True
    names = getattr(function, "__globals__", {})
    pending += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    pending += [getattr(names.get(name), "__code__", None) for name in code.co_names]
  return False
