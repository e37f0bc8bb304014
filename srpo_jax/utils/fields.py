"""Frozen dataclasses out of the plain values of a config: each unknown, missing or mistyped field is named."""

import dataclasses
import functools
import math
import types
import typing
from typing import Any, TypeVar

from srpo_jax.utils.errors import InputError

T = TypeVar("T")


@functools.cache
def names(text: str) -> tuple[str, ...]:
  """The names of a comma-separated list."""
  return tuple(part.strip() for part in text.split(",") if part.strip())


def build(kind: type[T], raw: Any, where: str) -> T:
  """An instance of the dataclass `kind` with the fields of `raw`, nested sections and dicts of sections included.

  Raises:
    InputError: naming the field by its path from `where`.
  """
  if not isinstance(raw, dict):
    raise InputError(f"{where}: expected a section with fields, got {raw!r}")
  hints = typing.get_type_hints(kind)
  for name in raw:
    if name not in hints:
      raise InputError(f"{where}.{name}: unknown field, expected one of {', '.join(hints)}")
  for name in hints:
    if name not in raw:
      raise InputError(f"{where}.{name}: missing field")
  return kind(**{name: convert(hint, raw[name], f"{where}.{name}") for name, hint in hints.items()})


def convert(hint: Any, value: Any, where: str) -> Any:
  """A value as the type that a field is declared with. Raises InputError where it is of another."""
  if dataclasses.is_dataclass(hint):
    return build(typing.cast(type, hint), value, where)
  if isinstance(hint, types.UnionType):  # str | float; a flag gives either as text
    try:
      value, hint = float(value), float
    except (TypeError, ValueError):
      hint = str
  if typing.get_origin(hint) is dict:
    if not isinstance(value, dict):
      raise InputError(f"{where}: expected fields, got {value!r}")
    item = typing.get_args(hint)[1]
    plain = item is Any
    return {name: one if plain else convert(item, one, f"{where}.{name}") for name, one in value.items()}
  if hint is float and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  if type(value) is not hint:
    raise InputError(f"{where}: expected {hint.__name__}, got {value!r}")
  if hint is float and not math.isfinite(value):
    raise InputError(f"{where}: expected a finite number, got {value!r}")
  return value
