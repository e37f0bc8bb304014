"""Checks the required form of a response and extracts its answer.

A well-formed response reads `... </think> <answer> ... </answer>` and ends there, with at most MAX_BLANKS blank
characters before its EOS. Its prompt ends in `<think>`, or else the response begins with it. Every function takes
linear time on any text.
"""

import json
import re
from typing import Any

from srpo_jax.rewards.json_latex import double_backslashes
from srpo_jax.types import BUILT_IN_DOMAINS
from srpo_jax.utils.errors import InputError

VALIDATORS = ("tags", "json")
THINK = "<think>"
OPENERS = ("prompt", "template", "model")  # who opens <think>
MAX_BLANKS = 16  # blank characters between </answer> and the EOS

_BOX = re.compile(r"\\boxed(?![A-Za-z])")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
FENCE = re.compile(r"```([^\n`]*)\n(.*?)```", re.DOTALL)
_LANGUAGE = re.compile(r"[\w.+#-]*")


def answer_body(response: str) -> str | None:
  """Returns the text between `<answer>` and `</answer>`, or None unless each occurs exactly once and in order."""
  if response.count("<answer>") != 1 or response.count("</answer>") != 1:
    return None
  start = response.index("<answer>") + len("<answer>")
  end = response.index("</answer>")
  return response[start:end] if start <= end else None


def boxed(text: str) -> tuple[int, str | None]:
  r"""Returns the number of `\boxed` in a text and the content of the only one.

  The content is None if there is no box, if there are several, or if the braces do not balance. A box inside a box
  counts as a second one, because it states the answer twice.
  """
  starts = [match.end() for match in _BOX.finditer(text)]
  return len(starts), _braced(text, starts[0]) if len(starts) == 1 else None


def _braced(text: str, start: int) -> str | None:
  """Returns the content of the brace group at `start`, blanks skipped. None if there is no closed group."""
  while start < len(text) and text[start].isspace():
    start += 1
  if start == len(text) or text[start] != "{":
    return None
  depth = 0
  for match in _BRACE.finditer(text, start):
    if match[0] == "{":
      depth += 1
    elif match[0] == "}":
      depth -= 1
      if depth == 0:
        return text[start + 1 : match.start()]
  return None


def fenced(text: str) -> tuple[str, str] | None:
  """Returns the language and the content of the only fenced block of a text, or None if it has no single one."""
  block = FENCE.search(text) if text.count("```") == 2 else None
  if block is None:
    return None
  return fence_language(block[1]), block[2]


def fence_language(info: str) -> str:
  """Returns the language of a fence, in lower case, from the rest of its opening line. Attributes may follow it."""
  return _LANGUAGE.match(info.strip())[0].lower()  # type: ignore[index]  # the pattern also matches an empty text


def json_answer(body: str, *, latex: bool = True) -> Any:
  """Returns the value of the key `answer` of `body`, which must be a single JSON object.

  Numbers are returned as their source text, so that no digit is lost.

  Args:
    body: the text between `<answer>` and `</answer>`.
    latex: True if the texts may hold LaTeX whose backslashes are not doubled. False for programs.

  Raises:
    ValueError: there is text around the object, a key occurs twice, a value is NaN or Infinity, the key `answer` is
      missing, or the nesting is too deep. The message says which.
  """

  def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = {key for key, _ in pairs}
    if len(keys) != len(pairs):
      raise ValueError("a key is given twice")
    return dict(pairs)

  def refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

  try:
    source = double_backslashes(body) if latex else body
    value = json.loads(source, object_pairs_hook=unique, parse_constant=refuse, parse_int=str, parse_float=str)
  except RecursionError:
    raise ValueError("nested too deep") from None
  if not isinstance(value, dict):
    raise ValueError("not an object")
  if "answer" not in value:
    raise ValueError("no key `answer`")
  return value["answer"]


def check_validator(validator: str) -> None:
  """Raises InputError unless `validator` is one of VALIDATORS."""
  if validator not in VALIDATORS:
    raise InputError(f"validator: expected one of {', '.join(VALIDATORS)}, found {validator!r}")


def format_ok(response: str, *, ended: bool, domain: str, validator: str = "tags", think_opened: bool = True) -> bool:
  r"""Returns True if a response has the required form.

  Args:
    response: the completion, without the prompt's `<think>` and without the EOS.
    ended: True if the EOS ended the response, False if the length limit or another token did.
    domain: `math` also requires exactly one `\boxed{}` and `code` exactly one ```python fence. A user-defined domain
      requires only the tags.
    validator: `tags`, or `json` for an answer that is one JSON object with the key `answer`, in every domain.
    think_opened: True if the prompt ends in `<think>`. False: the response must begin with it.
  """
  check_validator(validator)
  if not think_opened:
    if not response.startswith(THINK):
      return False
    response = response.removeprefix(THINK)
  if not ended or THINK in response or response.count("</think>") != 1:
    return False
  body = answer_body(response)
  if body is None or not body.strip():
    return False
  blanks = response.partition("</answer>")[2]
  if blanks.strip() or len(blanks) > MAX_BLANKS:
    return False
  thought, rest = response.split("</think>")
  if not thought.strip() or "<answer>" not in rest:
    return False
  if validator == "json":
    return _json_ok(body, latex=domain != "code")
  if domain not in BUILT_IN_DOMAINS:
    return True
  return _one_box(body) if domain == "math" else _one_fence(body)


def _one_box(body: str) -> bool:
  content = boxed(body)[1]
  return content is not None and bool(content.strip())


def _one_fence(body: str) -> bool:
  block = fenced(body)
  return block is not None and block[0] == "python" and bool(block[1].strip())


def _json_ok(body: str, *, latex: bool) -> bool:
  try:
    value = json_answer(body, latex=latex)
  except ValueError:
    return False
  return value is not None and value not in ("", [], {}) and (not isinstance(value, str) or bool(value.strip()))
