r"""Judges answers to mathematics problems.

An answer is extracted from its `<answer>` body, read as a value (`value.py`) and compared with the gold answer part by
part. Only two scalar expressions that already agree in double precision reach Math-Verify. Math-Verify therefore never
has to guess: it sees no text, lists, pairs or equations, and its inputs are small.

Two rules apply. Values are compared exactly: 0.3333 is not 1/3, and 50 is not 50%. An answer must be a value, not a
computation. An answer with an operation that the gold answer does not need is rejected as "not evaluated"
(`expression.unevaluated`), so copying the question never scores.

`screen_stated` takes linear time and is safe in any process. `judge_stated` also runs Math-Verify, so it must run in a
worker that can be killed.
"""

import functools
import re

from srpo_jax.rewards.answers.compare import DIFFERENT, EQUAL, Outcome, Proof, compare
from srpo_jax.rewards.answers.latex import Unreadable, spelling, tokens
from srpo_jax.rewards.answers.proof import prove
from srpo_jax.rewards.answers.value import Opaque, Value, read_value
from srpo_jax.rewards.format import boxed, json_answer

MAX_ANSWER = 256  # characters; if the gold answer is long, twice its length is the limit
MAX_GOLD = 2048  # characters

_INTEGER = re.compile(r"-?[0-9]{1,18}")


def judge_math(answer_body: str, gold: str, validator: str = "tags") -> tuple[int, str]:
  r"""Judges one answer, with Math-Verify if needed. Run it in a process that can be killed.

  Args:
    answer_body: the text between `<answer>` and `</answer>`.
    gold: the answer of the data set, LaTeX or plain.
    validator: `tags` takes the content of the only `\boxed{}`, or the whole body if it has no box. `json` takes the
      value of the key `answer`.

  Returns:
    1 (correct) or 0 (wrong), and the reason in a few words.
  """
  try:
    return judge_stated(stated_answer(answer_body, validator), gold)
  except Unreadable as error:
    return 0, str(error)


def judge_stated(stated: str, gold: str) -> tuple[int, str]:
  """Judges an answer that has already been extracted from its body. Otherwise like `judge_math`."""
  correct, reason = _judge(stated, gold, prove)
  return (0, reason) if correct is None else (correct, reason)


def screen_stated(stated: str, gold: str) -> Outcome:
  """Judges an answer without Math-Verify. The result is None if only Math-Verify can decide.

  Takes linear time and loads no library.
  """
  return _judge(stated, gold, None)


def _judge(stated: str, gold: str, proof: Proof | None) -> Outcome:
  if _INTEGER.fullmatch(stated) and _INTEGER.fullmatch(gold):
    return EQUAL if int(stated) == int(gold) else DIFFERENT
  limit = max(MAX_ANSWER, 2 * min(len(gold), MAX_GOLD))
  if len(stated) > limit:
    return 0, f"longer than {limit} characters"
  known = _read_gold(gold)
  value = read_value(stated, limit)
  if value == known or _same_spelling(stated, gold):
    return EQUAL
  if isinstance(known, Opaque):
    return 0, f"the gold is not read as a value: {known.why}"
  if isinstance(value, Opaque):
    return 0, f"not read as a value: {value.why}"
  return compare(known, value, proof)


def stated_answer(body: str, validator: str) -> str:
  """Extracts the answer from an answer body. Raises Unreadable with the reason if there is no single answer."""
  if validator == "json":
    return _json_stated(body)
  count, content = boxed(body)
  if count > 1:
    raise Unreadable("several boxes")
  if count == 1 and content is None:
    raise Unreadable("a box that does not close")
  stated = (body if content is None else content).strip()
  if not stated:
    raise Unreadable("no answer")
  return stated


def _json_stated(body: str) -> str:
  try:
    value = json_answer(body)
  except ValueError as error:
    raise Unreadable(f"not the JSON asked for: {str(error)[:80]}") from None
  if not isinstance(value, str) or not value.strip():
    raise Unreadable("no answer: a text or a number was expected")
  return value.strip()


@functools.lru_cache(maxsize=4096)
def _read_gold(gold: str) -> Value:
  return read_value(gold, MAX_GOLD)


def _same_spelling(stated: str, gold: str) -> bool:
  try:
    return spelling(tokens(stated)) == spelling(tokens(gold))
  except Unreadable:
    return stated == gold.strip()
