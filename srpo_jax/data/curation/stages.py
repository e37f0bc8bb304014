"""Stages that look at one row at a time. Each is a pure function from a candidate to a candidate or a drop."""

import dataclasses
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from srpo_jax.data.curation import code_rules, math_rules
from srpo_jax.data.curation.candidate import Candidate, Drop, dropped, reference_program
from srpo_jax.data.curation.config import RulesConfig, SourceConfig
from srpo_jax.data.curation.normalise import normalise
from srpo_jax.data.generic_rows import generic
from srpo_jax.data.sources import ADAPTERS, detect_format
from srpo_jax.rewards.cases import turn
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.fields import names
from srpo_jax.utils.jsonl import is_text

COMPLETENESS = "completeness"
NORMALISATION = "normalisation"
MATH = "math_rules"
CODE = "code_rules"
CONTAMINATION = "decontamination"
DUPLICATES = "duplicates"
VERIFICATION = "verification"
STAGES = (COMPLETENESS, NORMALISATION, MATH, CODE, CONTAMINATION, DUPLICATES, VERIFICATION)

_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
Adapter = Callable[[Mapping[str, Any], str], Problem]


@dataclasses.dataclass(frozen=True)
class Reader:
  """Adapter and columns that turn the rows of a source into problems."""

  source: str
  format: str
  adapt: Adapter
  columns: Mapping[str, str]


def reader(name: str, config: SourceConfig, first_rows: Sequence[Mapping[str, Any]]) -> Reader:
  """Returns the reader for a source.

  Raises:
    InputError: the format is `auto` and no adapter knows the columns.
  """
  columns = {k: v for k, v in dataclasses.asdict(config.columns).items() if v}
  if config.format == "generic":
    adapt = generic({k: v for k, v in columns.items() if k != "reference"}, config.domain)
    return Reader(name, "generic", adapt, columns)
  format = detect_format(first_rows) if config.format == "auto" else config.format
  return Reader(name, format, ADAPTERS[format], columns)


def complete(reader: Reader, index: int, row: Mapping[str, Any] | InputError, line: str | None) -> Candidate | Drop:
  """Reads a row, and drops it unless it has a question and a gold answer or tests.

  Also drops rows with a replacement character (U+FFFD), which shows that a letter was lost earlier.
  """

  def drop(rule: str, matched: str) -> Drop:
    text = None if line is None else line.encode("latin-1").decode("utf-8", "backslashreplace")
    kept = text if isinstance(row, InputError) else dict(row)
    return Drop(COMPLETENESS, rule, matched, reader.source, index, None, kept)

  if isinstance(row, InputError):
    return drop("unreadable", str(row))
  try:
    problem = reader.adapt(row, f"{index:07d}")
  except InputError as error:
    return drop("incomplete", str(error))
  except Exception as error:  # values of unexpected types can break an adapter in any way
    return drop("unreadable", f"{type(error).__name__}: {error}")
  if problem.domain not in ("math", "code"):
    return drop("domain", f"expected math or code, found {problem.domain!r}")
  flaw = _unwritable(problem)
  if flaw is not None:
    return drop("unreadable", flaw)
  if "\ufffd" in problem.question or "\ufffd" in (problem.answer or ""):
    return drop("damaged", "a character was lost: U+FFFD")
  if not problem.id.startswith(reader.source):
    problem = dataclasses.replace(problem, id=f"{reader.source}/{problem.id}")
  if problem.source is None:
    problem = dataclasses.replace(problem, source=reader.source)
  return Candidate(reader.source, index, problem, reference_program(row, reader.format, reader.columns))


def _unwritable(problem: Problem) -> str | None:
  """Returns the reason why a problem cannot be written as JSON in UTF-8, or None if it can."""
  for name in ("id", "question", "answer", "difficulty", "source"):
    value = getattr(problem, name)
    if value is not None and not is_text(value):
      return f"field {name}: expected Unicode text"
  try:
    json.dumps(problem.tests, ensure_ascii=False, allow_nan=False).encode()
  except (TypeError, ValueError, RecursionError) as error:
    return f"field tests: expected JSON values: {error}"
  return None


def normalised(candidate: Candidate, max_question: int) -> tuple[Candidate | Drop, tuple[str, ...]]:
  """Removes noise from the question, and drops the row if the question is then empty or too long.

  Returns:
    The candidate or its drop, and the names of the changes.
  """
  question, changes = normalise(candidate.problem.question, candidate.problem.domain)
  if not _LETTER_OR_DIGIT.search(question):
    return dropped(candidate, NORMALISATION, "empty", candidate.problem.question), changes
  if len(question) > max_question:
    text = f"{len(question)} characters, expected at most {max_question}"
    return dropped(candidate, NORMALISATION, "long_question", text), changes
  if not changes:
    return candidate, changes
  return dataclasses.replace(candidate, problem=dataclasses.replace(candidate.problem, question=question)), changes


def screened(candidate: Candidate, rules: RulesConfig, min_tests: int) -> Candidate | Drop:
  """Applies the rules of the candidate's domain."""
  return _screened_math(candidate, rules) if candidate.problem.domain == "math" else _screened_code(
    candidate, rules, min_tests
  )  # fmt: skip


def _screened_math(candidate: Candidate, rules: RulesConfig) -> Candidate | Drop:
  found = math_rules.first_rule(candidate.problem.question, names(rules.math))
  if found is not None:
    return dropped(candidate, MATH, *found)
  answer = candidate.problem.answer or ""
  if len(answer) > rules.max_answer:
    text = f"{len(answer)} characters, expected at most {rules.max_answer}: {answer}"
    return dropped(candidate, MATH, "long_answer", text)
  return candidate


def _screened_code(candidate: Candidate, rules: RulesConfig, min_tests: int) -> Candidate | Drop:
  try:
    program = code_rules.parse(candidate.reference)
  except (SyntaxError, ValueError) as error:
    return dropped(candidate, CODE, "reference_syntax", str(error))
  found = code_rules.first_rule(candidate, names(rules.code), program)
  if found is not None:
    return dropped(candidate, CODE, *found)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      suite = turn(candidate.problem.tests)
  except InputError as error:
    return dropped(candidate, CODE, "tests", str(error))
  allowed = frozenset(names(rules.imports))
  for module in (*(program.imports if program else ()), *suite.modules):
    if module not in allowed:
      return dropped(candidate, CODE, "imports", f"import {module}")
  if len(suite) < min_tests:
    return dropped(candidate, CODE, "few_tests", f"{len(suite)} tests, expected at least {min_tests}")
  return candidate
