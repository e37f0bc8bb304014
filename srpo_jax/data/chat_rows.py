r"""Adapter for rows whose prompt is a list of chat messages: DAPO-Math-17k, Eurus-2-RL-Data and similar sets.

Columns: data_source, prompt ([{role, content}]), ability, reward_model ({ground_truth, style}), extra_info ({index}).

The last user message is the question, wrapped in instructions about the form of the answer. The adapter removes these
instructions because the project's own prompt gives them. In code rows, ground_truth is the JSON text of an object:
{inputs, outputs} for programs on standard input, {inputs, outputs, fn_name} for function calls.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from srpo_jax.data.row import Row
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import is_text

# The instructions that the two sets put around their questions. Blanks vary between copies.
_BEFORE = re.compile(
  r"\A\s*Solve the following math problem step by step\. The last line of your response should be of the form\s+"
  r"Answer: \$?Answer \(without quotes\) where \$?Answer is the answer to the problem\.\s*",
  re.IGNORECASE,
)
_AFTER = re.compile(
  r"\s*(?:Remember to put your answer on its own line after \"Answer:\"\.?"
  r"|Present the answer in LaTex format: \\boxed\{Your answer\}"
  r"|Write Python code to solve the problem\. Present the code in\s*```python\s*Your code\s*```\s*at the end\.?"
  r"(?:\s*You need to think first then write the Python code\.)?)\s*\Z",
  re.IGNORECASE,
)
MAX_TRUTH = 64 << 20  # characters of one row's tests


def from_chat(row: Row, fallback_id: str) -> Problem:
  """Converts a row to a math problem with its answer or, if `ability` begins with "code", to a code problem with tests.

  `data_source` becomes the problem's source.

  Raises:
    InputError: names the malformed field.
  """
  question = _AFTER.sub("", _BEFORE.sub("", _last_user_message(row.get("prompt"))))
  if not question.strip():
    raise InputError("field prompt: expected a question, found nothing but instructions about the answer's form")
  truth = _ground_truth(row)
  code = str(row.get("ability") or "").casefold().startswith(("code", "coding"))
  return Problem(
    id=_id(row, fallback_id),
    domain="code" if code else "math",
    question=question.strip(),
    answer=None if code else _answer(truth),
    tests=io_tests(truth, "reward_model.ground_truth") if code else None,
    source=_text(row.get("data_source")) or "chat",
  )


def io_tests(truth: Any, field: str) -> dict[str, Any]:
  """Converts {inputs, outputs[, fn_name]}, given as JSON text or as an object, to the tests of a problem.

  With fn_name, an input is a list of arguments and an output is a value. Some sets wrap each value in a list of one
  element. If every output of a row is such a list, the lists are unwrapped. Without fn_name, an input or output may be
  a list of lines, which are joined.

  Args:
    field: name of the field for error messages.

  Raises:
    InputError: names the malformed field.
  """
  data = _parsed(truth, field)
  if not isinstance(data, Mapping):
    raise InputError(f"field {field}: expected an object with inputs and outputs, found {_shown(data)}")
  inputs, outputs = data.get("inputs"), data.get("outputs")
  for name, value in (("inputs", inputs), ("outputs", outputs)):
    if not isinstance(value, list):
      raise InputError(f"field {field}.{name}: expected a list, found {_shown(value)}")
  assert isinstance(inputs, list) and isinstance(outputs, list)
  if not inputs or len(inputs) != len(outputs):
    raise InputError(f"field {field}: expected as many outputs as inputs, found {len(outputs)} for {len(inputs)}")
  function = data.get("fn_name")
  if function:
    if not isinstance(function, str):
      raise InputError(f"field {field}.fn_name: expected the name of a function, found {_shown(function)}")
    if not all(isinstance(arguments, list) for arguments in inputs):
      raise InputError(f"field {field}.inputs: expected a list of arguments for each case")
    wrapped = all(isinstance(output, list) and len(output) == 1 for output in outputs)
    cases = [
      {"args": arguments, "expected": output[0] if wrapped else output}
      for arguments, output in zip(inputs, outputs, strict=True)
    ]
    return {"type": "function", "entry_point": function, "cases": cases}
  lines = [{"input": _lines(i, field), "output": _lines(o, field)} for i, o in zip(inputs, outputs, strict=True)]
  return {"type": "stdin", "cases": lines}


def _last_user_message(prompt: Any) -> str:
  if not isinstance(prompt, Sequence) or isinstance(prompt, (str, bytes)):
    raise InputError(f"field prompt: expected a list of chat messages, found {_shown(prompt)}")
  user_messages = [m for m in prompt if isinstance(m, Mapping) and m.get("role") == "user"]
  if not user_messages or not is_text(user_messages[-1].get("content")) or not user_messages[-1]["content"].strip():
    raise InputError(f"field prompt: expected a user message with text, found {_shown(prompt)}")
  return user_messages[-1]["content"]


def _ground_truth(row: Row) -> Any:
  model = row.get("reward_model")
  if not isinstance(model, Mapping):
    raise InputError(f"field reward_model: expected an object with ground_truth, found {_shown(model)}")
  truth = model.get("ground_truth")
  if truth is None or (isinstance(truth, str) and not truth.strip()):
    raise InputError("field reward_model.ground_truth is missing")
  return truth


def _answer(truth: Any) -> str:
  if isinstance(truth, (int, float)) and not isinstance(truth, bool):
    truth = f"{truth:g}" if isinstance(truth, float) and truth == int(truth) and abs(truth) < 1e6 else str(truth)
  if not is_text(truth):
    raise InputError(f"field reward_model.ground_truth: expected the answer as text, found {_shown(truth)}")
  return str(truth).strip()


def _id(row: Row, fallback_id: str) -> str:
  """Returns `extra_info.index` if it is a unique name (a UUID in DAPO). A bare number recurs in other splits."""
  index = row["extra_info"].get("index") if isinstance(row.get("extra_info"), Mapping) else None
  name = _text(index)
  return name if name and not name.isdigit() else fallback_id


def _text(value: Any) -> str:
  return value.strip() if isinstance(value, str) and is_text(value) else ""


def _parsed(truth: Any, field: str) -> Any:
  if not isinstance(truth, str):
    return truth
  if len(truth) > MAX_TRUTH:
    raise InputError(f"field {field}: expected at most {MAX_TRUTH >> 20} Mi characters of tests")
  try:
    return json.loads(truth)
  except (ValueError, RecursionError) as error:
    raise InputError(f"field {field}: expected JSON: {str(error)[:80]}") from None


def _lines(value: Any, field: str) -> str:
  if isinstance(value, list) and all(isinstance(line, str) for line in value):
    value = "\n".join(value)
  if not isinstance(value, str):
    raise InputError(f"field {field}: expected text on standard input and output, found {_shown(value)}")
  return value


def _shown(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= 60 else text[:57] + "..."
