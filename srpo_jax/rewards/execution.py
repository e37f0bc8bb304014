"""Reads what the sandbox returned of one execution. All of it may come from the program and is not trusted."""

from typing import Any

from srpo_jax.sandbox import plain
from srpo_jax.sandbox.client import Execution


def call_values(results: bytes, count: int) -> tuple[dict[int, Any], dict[int, str]]:
  """Parses the child's results into values and errors by call number. The first result of a call counts."""
  values: dict[int, Any] = {}
  errors: dict[int, str] = {}
  for line in results.splitlines()[: count + 1]:
    try:
      index, kind, data = plain.parse(line)
      value = plain.decode(data)
    except (ValueError, TypeError, RecursionError, plain.Unplain):
      continue
    if type(index) is not int or not -1 <= index < count or index in values or index in errors:
      continue
    if kind == "value":
      values[index] = value
    else:
      errors[index] = value[:120] if isinstance(value, str) else "error"
  return values, errors


def ending_of(execution: Execution) -> str:
  """Returns how a program ended, or an empty text if it exited with status 0."""
  if execution.end == "exit":
    return f"exit status {execution.code}" if execution.code else ""
  if execution.end == "signal":
    return f"killed by signal {execution.code}"
  return {"timeout": "took too long", "output": "too much output"}.get(execution.end, execution.end)
