"""Adapters that convert the rows of public data sets to a `Problem`. Formats and their columns:

    native  domain, question, and answer (math) or tests (code); id, difficulty, pass_rate, source optional; in a
            user-defined domain every other field is kept for its judge
    plain   native rows of math without the field domain
    gsm8k   question, answer: reasoning that ends in `#### n`
    math    problem, and answer or solution (its last \\boxed{}); id or unique_id, level, type or subject optional
    deepscaler  problem, answer, solution, as math
    mbpp, humaneval, livecodebench    see `code_rows`
    chat    prompt (chat messages) and reward_model: DAPO-Math-17k, Eurus-2-RL-Data; see `chat_rows`

An adapter is a pure function `adapter(row, fallback_id) -> Problem`. It raises an InputError that names the field. The
caller adds the file and the line. A null counts as a missing field, since parquet has no other way to omit one.
"""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from srpo_jax.data.chat_rows import from_chat
from srpo_jax.data.code_rows import from_humaneval, from_livecodebench, from_mbpp
from srpo_jax.data.row import Row
from srpo_jax.types import BUILT_IN_DOMAINS, Problem
from srpo_jax.utils.errors import InputError

Adapter = Callable[[Row, str], Problem]

NAMED_FIELDS = frozenset(field.name for field in dataclasses.fields(Problem)) - {"extra"}
FIRST_ROWS = 16  # rows of a file that decide its format
TEST_TYPES = ("assert", "function", "stdin")
_BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+(?P<bare>-?[0-9]+|[A-Za-z])(?![0-9A-Za-z]))")
_NUMBER = re.compile(r"-?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)?(\.[0-9]+)?(?<=[0-9])")


def from_native(row: Row, fallback_id: str) -> Problem:
  """Converts a row of this project's native schema."""
  domain = _text(row, "domain")
  own = domain not in BUILT_IN_DOMAINS
  return Problem(
    id=_id(row, fallback_id),
    domain=domain,
    question=_text(row, "question"),
    answer=_answer(row, "answer") if domain == "math" or _has(row, "answer") else None,
    tests=(_plain_tests if own else _tests)(row) if domain == "code" or _has(row, "tests") else None,
    difficulty=_optional_text(row, "difficulty"),
    pass_rate=_pass_rate(row),
    source=_optional_text(row, "source"),
    extra=_extra(row) if own else {},
  )


def from_plain(row: Row, fallback_id: str) -> Problem:
  """Converts a native row that may lack its domain, which is then math."""
  if _is_reasoning(row):
    raise InputError("field answer: expected an answer only, as in the first rows, got reasoning with GSM8K's '####'")
  return from_native(row if _has(row, "domain") else {**row, "domain": "math"}, fallback_id)


def as_row(problem: Problem) -> dict[str, Any]:
  """Returns the native row of a problem, with its named fields and its extra fields."""
  return {**problem.extra, **{name: value for name, value in vars(problem).items() if name != "extra"}}


def own_fields(problem: Problem) -> list[str]:
  """Returns the part of a row that only a user's judge reads, for digests. It is empty for the built-in domains."""
  return [] if problem.domain in BUILT_IN_DOMAINS else [json.dumps(problem.extra, sort_keys=True)]


def from_gsm8k(row: Row, fallback_id: str) -> Problem:
  """Converts a row of grade-school-math. The gold answer is the number after `####` without thousands commas."""
  _, marker, tail = _answer(row, "answer").rpartition("####")
  if not marker:
    raise InputError("field answer: expected GSM8K's '#### n' at the end (a native row has a field domain)")
  number = tail.strip()
  if not _NUMBER.fullmatch(number):
    raise InputError(f"field answer: expected one number after '####', got {_shown(number)}")
  return Problem(
    id=_id(row, fallback_id),
    domain="math",
    question=_text(row, "question"),
    answer=number.replace(",", ""),
    source="gsm8k",
  )


def from_math(row: Row, fallback_id: str) -> Problem:
  """Converts a row of MATH or of a contest set.

  `level` becomes the difficulty and `type` the second half of the source. The published MATH-500 differs in three
  columns: its id is `unique_id`, its type is `subject`, and its `level` is a number.
  """
  kind = _optional_text(row, "type" if _has(row, "type") else "subject")
  level = row.get("level")
  numbered = isinstance(level, (int, float)) and not isinstance(level, bool) and float(level).is_integer()
  return Problem(
    id=_id(row, fallback_id) if _has(row, "id") else _optional_text(row, "unique_id") or fallback_id,
    domain="math",
    question=_text(row, "problem"),
    answer=_answer(row, "answer") if _has(row, "answer") else _solution_answer(row),
    difficulty=f"Level {level:g}" if numbered else _optional_text(row, "level"),
    source=f"math/{kind}" if kind else "math",
  )


def from_deepscaler(row: Row, fallback_id: str) -> Problem:
  """Converts a row of DeepScaleR, which has the columns of MATH."""
  return dataclasses.replace(from_math(row, fallback_id), source="deepscaler")


ADAPTERS: Mapping[str, Adapter] = {
  "native": from_native,
  "plain": from_plain,
  "gsm8k": from_gsm8k,
  "math": from_math,
  "mbpp": from_mbpp,
  "humaneval": from_humaneval,
  "livecodebench": from_livecodebench,
  "chat": from_chat,
  "deepscaler": from_deepscaler,
}


def detect_format(rows: Sequence[Row]) -> str:
  """Returns the name of the adapter for a file with the given first rows. The columns of the first one decide.

  Rows with question and answer are GSM8K's if any answer has its `####`, and plain if none has. A list or an object in
  a row may hold choices, of which a plain answer would be the number, so such rows are not plain.

  Raises:
    InputError: no adapter for the columns.
  """
  names = set(rows[0])
  if {"domain", "question"} <= names:
    return "native"
  if {"question", "answer"} <= names:
    return "gsm8k" if any(_is_reasoning(row) or _may_hold_choices(row) for row in rows) else "plain"
  if "problem" in names and names & {"answer", "solution"}:
    return "math"
  if {"code", "test_list"} <= names:
    return "mbpp"
  if {"entry_point", "prompt", "test"} <= names:
    return "humaneval"
  if {"question_content", "public_test_cases"} <= names:
    return "livecodebench"
  if {"prompt", "reward_model"} <= names:
    return "chat"
  raise InputError(
    f"fields {', '.join(sorted(names)) or '(none)'}: expected domain and question (native), question and answer "
    "(plain or gsm8k), problem and answer or solution (math), code and test_list (mbpp), entry_point, prompt and test "
    "(humaneval), question_content and public_test_cases (livecodebench), or prompt and reward_model (chat)"
  )


def _is_reasoning(row: Row) -> bool:
  """Returns True if the answer of a row has the mark of GSM8K."""
  return "####" in str(row.get("answer"))


def _may_hold_choices(row: Row) -> bool:
  return any(isinstance(value, (list, tuple, Mapping)) for name, value in row.items() if name != "tests")


def last_boxed(text: str) -> str | None:
  """Returns the contents of the last `\\boxed{...}`, up to its matching brace, or None if there is none.

  It also reads two other forms found in MATH: `\\fbox{...}`, and a number or a letter without braces (`\\boxed 3`).
  """
  found = [*_BOX.finditer(text)]
  if not found:
    return None
  if found[-1]["bare"]:
    return found[-1]["bare"]
  start = found[-1].end()
  depth = 1
  # An escaped brace, as in the set \{1, 2\}, is a character of the answer and does not group.
  for token in re.finditer(r"\\.|[{}]", text[start:], re.DOTALL):
    depth += {"{": 1, "}": -1}.get(token.group(), 0)
    if depth == 0:
      return text[start : start + token.start()]
  return None


def _has(row: Row, field: str) -> bool:
  return row.get(field) is not None


def _text(row: Row, field: str) -> str:
  if not _has(row, field):
    raise InputError(f"field {field} is missing")
  return _checked_text(row[field], field)


def _optional_text(row: Row, field: str) -> str | None:
  return _text(row, field) if _has(row, field) else None


def _checked_text(value: Any, field: str) -> str:
  if not isinstance(value, str):
    raise InputError(f"field {field}: expected text, got {_shown(value)}")
  if not value.strip():
    raise InputError(f"field {field} is empty")
  try:
    value.encode("utf-8")
  except UnicodeEncodeError as error:  # JSON can escape half of a surrogate pair, which no tokenizer accepts
    raise InputError(f"field {field}: expected Unicode text, got a lone surrogate at {error.start}") from error
  return value.strip()


def _id(row: Row, fallback_id: str) -> str:
  value = row.get("id")
  if value is None:
    return fallback_id
  if isinstance(value, int) and not isinstance(value, bool):
    return str(value)
  return _checked_text(value, "id")


def _answer(row: Row, field: str) -> str:
  """Returns an answer as text. Text stays unchanged, and a number is written as people write it (27 for 27.0)."""
  value = row.get(field)
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    return _text(row, field)
  if not math.isfinite(value):
    raise InputError(f"field {field}: expected a finite number, got {value}")
  # Adding zero turns -0.0 into 0.0; an integer keeps all its digits.
  return str(value) if isinstance(value, int) else np.format_float_positional(value + 0.0, trim="-")


def _solution_answer(row: Row) -> str:
  if not _has(row, "solution"):
    raise InputError("field answer is missing, and so is solution")
  boxed = last_boxed(_text(row, "solution"))
  if boxed is None or not boxed.strip():
    raise InputError("field solution: expected a \\boxed{} with the answer")
  return boxed.strip()


def _tests(row: Row) -> Mapping[str, Any]:
  if not _has(row, "tests"):
    raise InputError("field tests is missing")
  tests = row["tests"]
  if not isinstance(tests, Mapping):
    raise InputError(f"field tests: expected an object, got {_shown(tests)}")
  if tests.get("type") not in TEST_TYPES:
    raise InputError(f"field tests.type: expected one of {', '.join(TEST_TYPES)}, got {_shown(tests.get('type'))}")
  cases = tests.get("cases")
  if not isinstance(cases, (list, tuple)) or not cases:
    raise InputError(f"field tests.cases: expected a list of at least one case, got {_shown(cases)}")
  if tests["type"] == "function":
    _checked_text(tests.get("entry_point"), "tests.entry_point")
  return tests


def _plain_tests(row: Row) -> Mapping[str, Any]:
  """Returns the tests of a user-defined domain. Any object is valid, since only the user's judge reads it."""
  if not isinstance(row["tests"], Mapping):
    raise InputError(f"field tests: expected an object, got {_shown(row['tests'])}")
  return _json_value("tests", row["tests"])


def _extra(row: Row) -> dict[str, Any]:
  """Returns the fields that are not fields of `Problem`, without nulls."""
  extra = {}
  for field, value in row.items():
    if field not in NAMED_FIELDS and value is not None:
      if not isinstance(field, str):
        raise InputError(f"field {_shown(field)}: expected a name")
      extra[field] = _json_value(field, value)
  return extra


def _json_value(field: str, value: Any) -> Any:
  """Returns a value as a judge in another process receives it, after a round trip through JSON."""
  try:
    return json.loads(json.dumps(value))
  except (TypeError, ValueError, RecursionError) as error:
    raise InputError(f"field {field}: expected a JSON value: {' '.join(str(error).split())[:200]}") from None


def _pass_rate(row: Row) -> float | None:
  value = row.get("pass_rate")
  if value is None:
    return None
  if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
    raise InputError(f"field pass_rate: expected a number from 0 to 1, got {_shown(value)}")
  return float(value)


def _shown(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= 60 else text[:57] + "..."
