r"""Judges answers to mathematics problems.

An answer is extracted from its `<answer>` body, read as a value (`read.py`) and compared with the gold answer part by
part (`compare.py`). Only two scalar expressions that already agree in double precision need a closer look, with many
digits (`proof.py`).

Two rules apply. Values are compared exactly: 0.3333 is not 1/3. Only a percent sign is free: 50 and 50% are the same
answer, 0.25 and 25 are not. An answer must be a value, not a computation. What counts as a computation depends on the
question (`form.py`), so copying the question never scores.

`screen_stated` takes linear time and is safe in any process. `judge_stated` may run long, so it must run in a worker
that can be killed.
"""

import functools
import re

from srpo_jax.rewards.answers.compare import DIFFERENT, EQUAL, Outcome, Proof, Rules, compare
from srpo_jax.rewards.answers.echo import form_asked
from srpo_jax.rewards.answers.form import Form
from srpo_jax.rewards.answers.latex import Unreadable, spelling, tokens
from srpo_jax.rewards.answers.proof import prove
from srpo_jax.rewards.answers.read import MAX_GOLD, read_gold, read_value
from srpo_jax.rewards.answers.value import Opaque, Words, flaw
from srpo_jax.rewards.answers.words import choice
from srpo_jax.rewards.answers.wrapping import unwrapped_gold
from srpo_jax.rewards.format import boxed, json_answer

MAX_ANSWER = 256  # characters; if the gold answer is long, twice its length is the limit

_INTEGER = re.compile(r"-?[0-9]{1,18}")


def judge_math(answer_body: str, gold: str, validator: str = "tags", question: str | None = None) -> tuple[int, str]:
  r"""Judges one answer, with a closer look if needed. Run it in a process that can be killed.

  Args:
    answer_body: the text between `<answer>` and `</answer>`.
    gold: the answer of the data set, LaTeX or plain.
    validator: `tags` takes the content of the only `\boxed{}`, or the whole body if it has no box. `json` takes the
      value of the key `answer`.
    question: the question, which decides which forms of the answer count as worked out. None: the strictest rule.

  Returns:
    1 (correct) or 0 (wrong), and the reason in a few words.
  """
  try:
    return judge_stated(stated_answer(answer_body, validator), gold, question)
  except Unreadable as error:
    return 0, str(error)


def judge_stated(stated: str, gold: str, question: str | Form | None = None) -> tuple[int, str]:
  """Judges an answer that has already been extracted from its body. Otherwise like `judge_math`.

  Args:
    question: the question, or the rule for the form of the answer that `form_asked` found for it.
  """
  correct, reason = _judge(stated, gold, question, prove)
  return (0, reason) if correct is None else (correct, reason)


def screen_stated(stated: str, gold: str, question: str | Form | None = None) -> Outcome:
  """Judges an answer without a closer look. The result is None if only that can decide.

  Takes linear time and loads no library.
  """
  return _judge(stated, gold, question, None)


@functools.lru_cache(maxsize=4096)
def unread(gold: str) -> str | None:
  """Returns the reason why a gold answer is not read as a value, or None if it is."""
  return flaw(read_gold(gold))


def _judge(stated: str, gold: str, question: str | Form | None, proof: Proof | None) -> Outcome:
  if _INTEGER.fullmatch(stated) and _INTEGER.fullmatch(gold):
    return EQUAL if int(stated) == int(gold) else DIFFERENT
  limit = max(MAX_ANSWER, 2 * min(len(gold), MAX_GOLD))
  if len(stated) > limit:
    return 0, f"longer than {limit} characters"
  known = read_gold(gold)
  value = read_value(stated, limit)
  if value == known or _same_spelling(stated, gold):
    return EQUAL
  if isinstance(known, Opaque):
    return 0, f"the gold is not read as a value: {known.why}"
  if isinstance(known, Words) and len(known.text) == 1 and (letter := choice(stated)):
    return EQUAL if letter == known.text else DIFFERENT
  if isinstance(value, Opaque):
    return 0, f"not read as a value: {value.why}"
  form = question if isinstance(question, Form) else form_asked(question, gold)
  return compare(known, value, Rules(proof, form))


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


def _same_spelling(stated: str, gold: str) -> bool:
  try:
    return spelling(tokens(stated)) == spelling(tokens(unwrapped_gold(gold)))
  except Unreadable:
    return stated == gold.strip()
