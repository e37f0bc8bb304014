"""Typed reader of the fields of a Hugging Face config.json."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from srpo_jax.utils.errors import InputError


@dataclasses.dataclass(frozen=True)
class ConfigFile:
  """A config.json as stored, with the file's path for messages. A field that is null counts as missing."""

  file: Path
  fields: Mapping[str, Any]

  def refuse(self, name: str, expected: str, value: Any = None) -> NoReturn:
    """Raises InputError for a field, by default with its stored value."""
    value = self.fields.get(name) if value is None else value
    raise InputError(f"{self.file}: field {name} is {value!r}, expected {expected}")

  def integer(self, name: str, default: int | None = None) -> int:
    """Returns a positive integer, or `default` if the field is missing.

    Raises:
      InputError: the value is another one, or it is missing without a default.
    """
    value: Any = self.fields.get(name)
    if value is None and default is not None:
      return default
    if not is_positive(value) or int(value) != value:
      self.refuse(name, "a positive integer")
    return int(value)

  def number(self, name: str, default: float | None = None) -> float:
    """Returns a positive number, or `default` if the field is missing. Raises InputError like `integer`."""
    value: Any = self.fields.get(name)
    if value is None and default is not None:
      return default
    if not is_positive(value):
      self.refuse(name, "a positive number")
    return float(value)

  def flag(self, name: str, default: bool) -> bool:
    """Returns true or false, or `default` if the field is missing. Raises InputError for another value."""
    value: Any = self.fields.get(name)
    if value is not None and not isinstance(value, bool):
      self.refuse(name, "true or false")
    return default if value is None else value

  def section(self, name: str) -> dict[str, Any]:
    """Returns the fields of an object that are not null. Raises InputError if the field is no object."""
    value: Any = self.fields.get(name)
    if value is not None and not isinstance(value, dict):
      self.refuse(name, "an object")
    return {key: item for key, item in (value or {}).items() if item is not None}


def is_positive(value: Any) -> bool:
  """Returns True for a finite number above 0."""
  return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
