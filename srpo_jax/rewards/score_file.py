"""Scores files of responses with the rewards of training, and checks which code rows have usable tests."""

import dataclasses
import decimal
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from srpo_jax.data.sources import ADAPTERS, detect_format, from_native
from srpo_jax.rewards.cases import turn
from srpo_jax.rewards.format import OPENERS, THINK
from srpo_jax.rewards.judges import asked_question
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.types import BUILT_IN_DOMAINS, Problem, ScoreRequest, Verdict
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import replaced
from srpo_jax.utils.progress import late_bar
from srpo_jax.utils.text import MESSAGE_LENGTH, say, visible_line

END_TOKENS = ("<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>")
BATCH = 4096  # rows in flight


@dataclasses.dataclass(frozen=True)
class Row:
  """A valid row of a file of responses."""

  id: str | int  # as in the file
  request: ScoreRequest  # its id is the line number, which is unique


def score_file(source: Path, target: Path, scorer: Scorer, *, strict: bool) -> tuple[int, int]:
  """Scores a file of responses.

  The verdicts go to `target`, which appears only when it is complete. Rejected rows go to TARGET.rejected.jsonl with
  the reasons.

  Args:
    strict: raise at the first bad row.

  Returns:
    The number of scored rows and the number of rejected rows.

  Raises:
    InputError: the file cannot be read, the sandbox cannot start, or `strict` is set and a row is bad.
  """
  rejected = rejected_file(target)
  with replaced(target) as verdicts, replaced(rejected) as rejects:
    scored, refused = _score(source, scorer, verdicts, rejects, strict=strict)
  if not refused:
    rejected.unlink()
  return scored, refused


def rejected_file(target: Path) -> Path:
  """Returns the path for the rejected rows that belong to a file of verdicts."""
  return target.with_name(target.name + ".rejected.jsonl")


def explain_tests(source: Path) -> None:
  """Prints a line for each code row of `source`, then the number of usable rows and the number of refused rows."""
  counts = {"turned": 0, "refused": 0}
  for number, row in _objects(source):
    try:
      tests = row.get("tests") if "tests" in row else _problem(row, str(number)).tests
      if tests is None and row.get("domain", "math") != "code":
        continue
      suite = turn(tests)
      whole = "1 test, run as a script"
      asked = whole if suite.script else f"{len(suite)} tests, {len(suite.calls) or len(suite.inputs)} {suite.mode}"
      counts["turned"] += 1
      say(f"{source}:{number}: turned: {asked}")
    except InputError as error:
      counts["refused"] += 1
      say(f"{source}:{number}: refused: {visible_line(str(error), MESSAGE_LENGTH)}")
  print(f"{counts['turned']} rows turned, {counts['refused']} refused")


def _problem(row: dict[str, Any], fallback_id: str) -> Problem:
  return ADAPTERS[detect_format([row])](row, fallback_id)


def _objects(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields each line number, from 1, with the JSON object on that line.

  Raises:
    InputError: the file cannot be read, or a line is not a JSON object. The message names the line.
  """
  try:
    with source.open("rb") as lines:
      for number, line in enumerate(lines, start=1):
        try:
          row = json.loads(line)
        except (ValueError, RecursionError):
          row = None
        if not isinstance(row, dict):
          raise InputError(f"{source}:{number}: expected a JSON object")
        yield number, row
  except OSError as error:
    raise InputError(f"{source}: {error.strerror}, expected a JSON Lines file") from None


def _score(source: Path, scorer: Scorer, verdicts: IO[str], rejects: IO[str], *, strict: bool) -> tuple[int, int]:
  """Scores every row of `source`. Returns the number of scored rows and the number of rejected rows."""
  scored = refused = unasked = 0
  waiting: list[Row] = []
  bar = late_bar("judging", None)
  for number, row in read_rows(source):
    try:
      if isinstance(row, InputError):
        raise row
      if row.request.domain == "code":
        _start_sandbox(scorer)
      scorer.submit(row.request)
      unasked += row.request.domain == "math" and asked_question(row.request) is None
      waiting.append(row)
      bar.update(scored + scorer.judged - bar.n)
    except SandboxError as error:
      raise InputError(str(error)) from None
    except InputError as error:
      reason = str(error).removeprefix(f"request {number}: ")
      if strict:
        raise InputError(f"{source}:{number}: {reason}") from None
      rejects.write(json.dumps({"line": number, "reason": visible_line(reason, MESSAGE_LENGTH)}) + "\n")
      refused += 1
    if len(waiting) == BATCH:
      scored = _write(waiting, scored, scorer, verdicts, bar)
  with bar:
    scored = _write(waiting, scored, scorer, verdicts, bar)
  if unasked:
    about = f"{unasked} math rows have no question, so the strictest rule about the form of an answer was applied"
    print(f"{source}: {about}: give the field question", file=sys.stderr)
  return scored, refused


class SandboxError(Exception):
  """The sandbox cannot start on this host. No row is to blame."""


def _start_sandbox(scorer: Scorer) -> None:
  try:
    scorer.start_sandbox()
  except InputError as error:
    raise SandboxError(str(error)) from None


def _write(waiting: list[Row], scored: int, scorer: Scorer, verdicts: IO[str], bar: "tqdm[Any]") -> int:
  """Writes the verdicts of the waiting rows and empties the list. Returns `scored` plus the number of rows written."""
  found = scorer.collect(lambda done: bar.update(scored + done - bar.n))
  for row in waiting:
    verdicts.write(json.dumps(_as_row(row.id, found[row.request.id])) + "\n")
  scored += len(waiting)
  waiting.clear()
  return scored


def _as_row(id: str | int, verdict: Verdict) -> dict[str, Any]:
  row = {
    "id": id,
    "format": verdict.format,
    "language_mix": verdict.language_mix,
    "correct": verdict.correct,
    "reward": None if math.isnan(verdict.reward) else verdict.reward,
    "reason": verdict.reason,
    "time": round(verdict.time_s, 6),
  }
  return row if verdict.pass_fraction is None else row | {"pass_fraction": verdict.pass_fraction}


def read_rows(source: Path) -> Iterator[tuple[int, Row | InputError]]:
  """Yields each line number, from 1, with the row or the error in it. Raises InputError if the file cannot be read."""
  try:
    with source.open("rb") as lines:
      for number, line in enumerate(lines, start=1):
        try:
          yield number, _row(number, line)
        except InputError as error:
          yield number, error
  except OSError as error:
    raise InputError(f"{source}: {error.strerror}, expected a JSON Lines file of responses") from None


def _row(number: int, line: bytes) -> Row:
  try:
    row = json.loads(line)
  except (ValueError, RecursionError):
    raise InputError("expected a JSON object") from None
  if not isinstance(row, dict):
    raise InputError(f"expected a JSON object, found {type(row).__name__}")
  for field in ("prompt", "response", "domain"):
    if not isinstance(row.get(field), str):
      raise InputError(f"field {field}: expected a string, found {_shown(row, field)}")
  if not isinstance(row.get("id"), str | int) or isinstance(row["id"], bool):
    raise InputError(f"field id: expected a string or an integer, found {_shown(row, 'id')}")
  if not isinstance(row.get("ended", True), bool):
    raise InputError(f"field ended: expected true or false, found {_shown(row, 'ended')}")
  if not isinstance(row.get("question"), str | None):
    raise InputError(f"field question: expected a string, found {_shown(row, 'question')}")
  response, closed = _without_end(row["response"])
  request = ScoreRequest(
    id=str(number),
    prompt=row["prompt"],
    response=response,
    ended=closed or row.get("ended", True),
    domain=row["domain"],
    answer=_answer(row),
    tests=row.get("tests"),
    problem=None if row["domain"] in BUILT_IN_DOMAINS else _own_problem(row),
    asked=row.get("question"),
    think_opened=_think_opened(row),
  )
  return Row(row["id"], request)


def _think_opened(row: dict[str, Any]) -> bool:
  """Returns True unless the response must begin with `<think>`. Raises InputError if the prompt contradicts this."""
  opener = row.get("opens_think", "prompt")
  if opener not in OPENERS:
    raise InputError(f"field opens_think: expected {', '.join(OPENERS)}, found {_shown(row, 'opens_think')}")
  if opener == "model" and row["prompt"].rstrip().endswith(THINK):
    raise InputError(f"field opens_think: expected prompt or template, since the prompt ends in {THINK}")
  return opener != "model"


def _own_problem(row: dict[str, Any]) -> Problem:
  """Returns the row as a problem for the judge of a user-defined domain, without the fields about the response."""
  fields = {name: value for name, value in row.items() if name not in ("prompt", "response", "ended", "opens_think")}
  return from_native({"question": row["prompt"]} | fields, "")


def _without_end(response: str) -> tuple[str, bool]:
  for token in END_TOKENS:
    if response.endswith(token):
      return response.removesuffix(token), True
  return response, False


def _answer(row: dict[str, Any]) -> str | None:
  """Returns the gold answer as text, or None if the row has none. Some data sets store numbers."""
  answer = row.get("answer")
  if answer is None or isinstance(answer, str):
    return answer
  if isinstance(answer, int | float) and not isinstance(answer, bool) and math.isfinite(answer):
    return format(decimal.Decimal(repr(answer)), "f")
  raise InputError(f"field answer: expected a string or a number, found {_shown(row, 'answer')}")


def _shown(row: dict[str, Any], field: str) -> str:
  return json.dumps(row[field])[:60] if field in row else "nothing"
