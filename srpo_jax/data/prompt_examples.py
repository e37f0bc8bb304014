"""Few-shot examples of the prompt: questions with worked responses in the required form."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from srpo_jax.rewards.format import THINK, format_ok
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import is_text, json_rows
from srpo_jax.utils.plugins import is_callable_spec, resolve_callable

WHERE = "config.prompt.examples"
FORMS = {  # body of the answer that the validator `tags` requires
  "math": "\\boxed{...}",
  "code": "```python ... ```",
}


@dataclasses.dataclass(frozen=True)
class Example:
  """A question with a worked response, which begins after `<think>` and has no EOS."""

  question: str
  response: str
  domain: str


def read_examples(spec: str, validator: str = "tags") -> dict[str, tuple[Example, ...]]:
  """Reads the examples of `prompt.examples` and returns them by domain, in their order.

  A row has the fields `question`, `response` and optionally `domain` (by default math). A response may begin with
  `<think>` or after it.

  Args:
    spec: a JSON Lines file, or module:function() -> rows. Empty: no examples.
    validator: form that an answer must have.

  Raises:
    InputError: the examples cannot be read, or a row is malformed. The message names the row.
  """
  examples: dict[str, list[Example]] = {}
  for place, row in _rows(spec) if spec else ():
    try:
      example = _example(row, validator)
    except InputError as error:
      raise InputError(f"{WHERE}: {place}: {error}") from None
    examples.setdefault(example.domain, []).append(example)
  if spec and not examples:
    raise InputError(f"{WHERE}: {spec}: no row, expected at least one example")
  return {domain: tuple(found) for domain, found in examples.items()}


def examples_digest(examples: Mapping[str, Iterable[Example]]) -> str:
  """Returns a hash of the examples."""
  rows = {domain: [dataclasses.astuple(example) for example in found] for domain, found in examples.items()}
  return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def _rows(spec: str) -> Iterator[tuple[str, Any]]:
  """Yields the rows of a file or of a callable, each with its place."""
  if not is_callable_spec(spec):
    try:
      yield from json_rows(Path(spec))
    except InputError as error:
      raise InputError(f"{WHERE}: {error}") from None
    return
  try:
    rows = list(resolve_callable(spec)())
  except InputError as error:
    raise InputError(f"{WHERE}: {error}") from None
  except Exception as error:  # a user's function may raise anything
    raise InputError(f"{WHERE}: {spec} failed: {type(error).__name__}: {error}") from error
  yield from ((f"{spec}: row {index}", row) for index, row in enumerate(rows))


def _example(row: Any, validator: str) -> Example:
  if not isinstance(row, dict):
    raise InputError("expected an object with question and response")
  domain = row.get("domain", "math")
  texts = {"question": row.get("question"), "response": row.get("response"), "domain": domain}
  for field, text in texts.items():
    if not is_text(text) or not text.strip():
      raise InputError(f"field {field}: expected text")
  if unknown := sorted(set(row) - set(texts)):
    raise InputError(f"field {unknown[0]}: unknown field, expected question, response or domain")
  response = row["response"].removeprefix(THINK)
  if not format_ok(response, ended=True, domain=domain, validator=validator):
    raise InputError(f"field response: expected the form '{_form(domain, validator)}' of domain {domain}")
  return Example(row["question"], response, domain)


def _form(domain: str, validator: str) -> str:
  body = '{"answer": ...}' if validator == "json" else FORMS.get(domain, "...")
  return f"{THINK} ... </think> <answer> {body} </answer>"
