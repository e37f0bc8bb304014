"""User-defined judges, `judge(problem, response) -> Judgement`, one for each domain that is not built in.

The config names them: `reward.judges=puzzle=my_module:judge,maze=my_module:judge_maze`. A judge gets the whole row (its
extra fields are in `problem.extra`) and the text of a response that ended with the EOS. The text is the completion
without the EOS and without the prompt's `<think>`, and it may have any form. A response that was cut at the length
limit counts as wrong and never reaches a judge.

A judge runs in the main thread of the worker processes that judge math, not in the trainer. Every worker imports it
once. Its output is discarded, and its standard input is empty. A worker has 2 GiB of address space and
`config.reward.timeout_s` seconds for each response. As with math, a response counts as wrong if its judge exceeds the
time, runs out of memory or ends the process, and the worker is then replaced. A response counts as not judged if the
judge says so or if no worker can be started. Any exception of a judge, and any result that is not a Judgement, ends the
run with a line that names the judge.
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
from srpo_jax.utils.text import visible_line

REASON_LENGTH = 200  # characters of a judge's reason that are kept
_DOMAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)  # a domain names a folder, metrics and a config field
# First parts of metric names. A domain may not use one, as its own metrics (DOMAIN/accuracy and so on) could collide.
_METRICS = frozenset(
  ("batch", "groups", "policy", "reflection", "response", "reward", "rollouts", "stage", "step", "throughput", "time")
)


def parse_judges(text: str) -> dict[str, str]:
  """Parses a comma-separated list of `DOMAIN=module:function` into a mapping domain -> module:function.

  Raises:
    InputError: an entry has another form, names a built-in domain, names a group of metrics, or repeats a domain.
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
  """Raises InputError if `parse_judges` does or if a judge cannot be imported in this process."""
  for spec in parse_judges(text).values():
    resolve_callable(spec)


class UserJudge:
  """The scorer's side of a user-defined judge. Sends each response to a worker that has imported the judge."""

  def __init__(self, pool: WorkerPool):
    """Keeps a reference to the pool, which the caller closes."""
    self._pool = pool

  def check(self, request: ScoreRequest) -> None:
    """Raises InputError if the request has no problem or the problem cannot be sent to a worker as JSON."""
    if not isinstance(request.problem, Problem):
      raise InputError(f"request {request.id}: field problem: expected a Problem, found {request.problem!r:.60}")
    try:
      json.dumps(vars(request.problem))
    except (TypeError, ValueError, RecursionError) as error:
      raise InputError(f"request {request.id}: field problem: expected values that JSON can hold: {error}") from None

  def submit(self, request: ScoreRequest, done: Done) -> None:
    """Sends a response and its `request.problem` to a worker."""
    message = {
      "domain": request.domain,
      "id": request.id,
      "problem": vars(request.problem),
      "response": request.response,
    }
    self._pool.submit(message, done)


class LoadedJudge:
  """The worker's side of a user-defined judge. Calls the user's function."""

  def __init__(self, domain: str, spec: str):
    """Imports the judge. Raises InputError that names the judge if this fails."""
    self._name = f"reward judge {domain}={spec}"
    try:
      self._function = resolve_callable(spec)
    except InputError as error:
      raise InputError(f"reward judge {domain}={error} (in a worker process)") from error

  def __call__(self, message: Mapping[str, Any]) -> dict[str, Any]:
    """Judges one message.

    Returns:
      The keys `correct`, `reason` and `pass_fraction`. If the judge failed: `correct` None, `reason` and `fault`.

    Raises:
      MemoryError: the judge ran out of memory.
    """
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
      "reason": visible_line(found.reason, REASON_LENGTH),
      "pass_fraction": None if fraction is None else float(fraction),
    }


def _at_fault(fault: str) -> dict[str, Any]:
  fault = visible_line(fault, 1000)
  return {"correct": None, "reason": fault, "fault": fault}


def _wrong(found: object) -> str | None:
  """Returns the problem with the result of a judge, or None."""
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
