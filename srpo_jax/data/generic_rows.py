"""Adapter for a data set of any layout. The config names the column of each field of the native schema."""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from srpo_jax.data import chat_rows, sources
from srpo_jax.data.row import Row
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

FIELDS = ("id", "domain", "question", "answer", "tests", "difficulty", "pass_rate", "source")


def generic(columns: Mapping[str, str], domain: str) -> Callable[[Row, str], Problem]:
  """Returns an adapter that reads each field of the native schema from its column in `columns`.

  Args:
    columns: field -> column. A dot selects a field of an object, as in `reward_model.ground_truth`. The column of the
      tests may hold JSON text. The tests may be in the native form or be {inputs, outputs[, fn_name]}.
    domain: domain of every row if no column has it.

  Raises:
    InputError: an unknown field, or no column for the question.
  """
  for field in columns:
    if field not in FIELDS:
      raise InputError(f"columns.{field}: unknown field, expected one of {', '.join(FIELDS)}")
  if not columns.get("question"):
    raise InputError("columns.question: missing, expected the column that holds the question")
  return functools.partial(_adapt, {k: v for k, v in columns.items() if v}, domain)


def _adapt(columns: Mapping[str, str], domain: str, row: Row, fallback_id: str) -> Problem:
  native = {field: lookup(row, column) for field, column in columns.items()}
  if "domain" not in columns:
    native["domain"] = domain
  if isinstance(native.get("tests"), str):
    native["tests"] = _parsed(native["tests"], columns["tests"])
  if isinstance(native.get("tests"), Mapping) and "inputs" in native["tests"]:
    native["tests"] = chat_rows.io_tests(native["tests"], columns["tests"])
  return sources.from_native(native, fallback_id)


def lookup(row: Row, column: str) -> Any:
  """Returns the value of a column, or None if it is absent. A column with dots in its name takes precedence."""
  if column in row:
    return row[column]
  value: Any = row
  for part in column.split("."):
    if not isinstance(value, Mapping):
      return None
    value = value.get(part)
  return value


def _parsed(text: str, column: str) -> Any:
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise InputError(f"field {column}: expected tests as JSON: {str(error)[:80]}") from None
