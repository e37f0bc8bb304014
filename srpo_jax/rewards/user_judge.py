"""Judges of a user's own: `judge(problem, response) -> Judgement`, one for each domain that is not built in.

The config names them, `reward.judges=puzzle=my_module:judge,maze=my_module:judge_maze`. A judge gets the whole row (the
extra fields are in `problem.extra`) and the text of a response that the EOS ended: the completion without the EOS and
without the prompt's `<think>`, whatever its form. A response that was cut at the length limit is not correct, and no
judge sees it.

A judge runs in the main thread of the worker processes that judge math, not in the trainer. Every worker imports it
once. What it prints goes nowhere, and its standard input is empty. A worker has 2 GiB of address space, and
`config.reward.timeout_s` seconds for each response. As with math, a response is not correct where its judge exceeds the
time, runs out of memory or ends the process; the worker is replaced. It counts as not judged where the judge says so or
no worker can be started. Any exception of a judge, and any result that is not a Judgement, ends the run with a line
that names the judge.
"""

import json
import math
import numbers
import re
from collections.abc import Mapping
from typing import Any

from srpo_jax.rewards.pool import Done, WorkerPool
from srpo_jax.types import BUILT_IN_DOMAINS, Judgement, Problem, ScoreRequest
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.fields import names
from srpo_jax.utils.plugins import is_callable_spec, resolve_callable

REASON_LENGTH = 200  # characters of a judge's reason that are kept
_DOMAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)  # a domain names a folder, metrics and a config field
# First parts of metrics, which a domain's own metrics (DOMAIN/accuracy and so on) must not run into.
_METRICS = frozenset(
  ("batch", "groups", "policy", "reflection", "response", "reward", "rollouts", "stage", "step", "throughput", "time")
)


def parse_judges(text: str) -> dict[str, str]:
  """Returns domain -> module:function for `DOMAIN=module:function`, several with commas between.

  Raises:
    InputError: another form, a built-in domain, a name that cannot be a domain's, or a domain that is given twice.
  """
  judges: dict[str, str] = {}
  for part in names(text):
    domain, _, spec = (word.strip() for word in part.partition("="))
    if not _DOMAIN.fullmatch(domain) or not is_callable_spec(spec):
      raise InputError(f"{part!r}: expected DOMAIN=module:function, for example puzzle=my_module:judge")
    if domain in BUILT_IN_DOMAINS:
      raise InputError(f"{part!r}: {domain} has a judge already, expected a domain of your own")
    if domain in _METRICS:
      raise InputError(f"{part!r}: {domain} is the name of a group of metrics, expected another name")
    if domain in judges:
      raise InputError(f"{part!r}: domain {domain} has a judge already, {judges[domain]}")
    judges[domain] = spec
  return judges


def check_judges(text: str) -> None:
  """Raises InputError as `parse_judges` does, and where a judge cannot be imported here."""
  for spec in parse_judges(text).values():
    resolve_callable(spec)


class UserJudge:
  """A domain's judge as the scorer sees it: sends each response to a worker that has imported the judge."""

  def __init__(self, pool: WorkerPool):
    """Keeps the pool, which the caller closes."""
    self._pool = pool

  def check(self, request: ScoreRequest) -> None:
    """Raises InputError where the request has no row, or the row holds what cannot be sent to a worker."""
    if not isinstance(request.problem, Problem):
      raise InputError(f"request {request.id}: field problem: expected the row, found {request.problem!r:.60}")
    try:
      json.dumps(vars(request.problem))
    except (TypeError, ValueError, RecursionError) as error:
      raise InputError(f"request {request.id}: field problem: expected what JSON can hold: {error}") from None

  def submit(self, request: ScoreRequest, done: Done) -> None:
    """Has a response judged by `request.problem`."""
    message = {
      "domain": request.domain,
      "id": request.id,
      "problem": vars(request.problem),
      "response": request.response,
    }
    self._pool.submit(message, done)


class LoadedJudge:
  """A judge inside a worker process."""

  def __init__(self, domain: str, spec: str):
    """Imports it. Raises InputError that names it."""
    self._name = f"reward judge {domain}={spec}"
    try:
      self._function = resolve_callable(spec)
    except InputError as error:
      raise InputError(f"reward judge {domain}={error} (in a worker process)") from error

  def __call__(self, message: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {correct, reason, pass_fraction}, or with `fault` the error of the judge. MemoryError passes through."""
    try:
      found = self._function(Problem(**message["problem"]), message["response"])
    except MemoryError:
      raise
    except Exception as error:
      return _at_fault(f"{self._name} failed on {message['id']}: {type(error).__name__}: {error}")
    wrong = _wrong(found)
    if wrong:
      return _at_fault(f"{self._name} on {message['id']}: {wrong}")
    fraction = found.pass_fraction
    return {
      "correct": None if found.correct is None else int(found.correct),
      "reason": _cut(found.reason, REASON_LENGTH),
      "pass_fraction": None if fraction is None else float(fraction),
    }


def _at_fault(fault: str) -> dict[str, Any]:
  fault = _cut(fault, 1000)
  return {"correct": None, "reason": fault, "fault": fault}


def _cut(text: str, length: int) -> str:
  """The text in one line of at most `length` characters, and such that UTF-8 can hold it."""
  line = " ".join(text[: 4 * length].split()).encode("utf-8", "replace").decode()
  return line if len(line) <= length else line[: length - 3] + "..."


def _wrong(found: object) -> str | None:
  """Says what is wrong with the result of a judge."""
  if not isinstance(found, Judgement):
    return f"expected a Judgement, found {type(found).__name__}"
  if found.correct is not None and not (isinstance(found.correct, int) and found.correct in (0, 1)):
    return f"field correct: expected 0, 1 or None, found {found.correct!r:.60}"
  fraction = found.pass_fraction
  number = isinstance(fraction, numbers.Real) and not isinstance(fraction, bool) and math.isfinite(fraction)
  if fraction is not None and not (number and 0 <= fraction <= 1):
    return f"field pass_fraction: expected a number from 0 to 1 or None, found {fraction!r:.60}"
  if not isinstance(found.reason, str):
    return f"field reason: expected text, found {type(found.reason).__name__}"
  return None
