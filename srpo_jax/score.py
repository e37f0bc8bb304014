"""Scores a file of responses with the rewards of training.

    python -m srpo_jax.score --input responses.jsonl --output verdicts.jsonl

Input rows: {id, prompt, response, domain}, with `answer` (math) or `tests` (code), optionally `ended` (default true:
the EOS ended the response rather than the length limit). A trailing `<|endoftext|>` or `<|im_end|>` is the EOS and is
taken off. Output rows, in the order of the input: {id, format, language_mix, correct, reward, reason, time}, where
`correct` and `reward` are null for a response that could not be judged, and `time` is in seconds; for code also
`pass_fraction`, the share of its tests that passed.

    python -m srpo_jax.score --explain --input problems.jsonl

says of every code row, of responses or of any data set that can be trained on, what its tests are turned into, or why
they cannot be.
"""

import argparse
import dataclasses
import decimal
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from srpo_jax.data.sources import ADAPTERS, detect_format
from srpo_jax.rewards.cases import turn
from srpo_jax.rewards.format import VALIDATORS
from srpo_jax.rewards.pool import default_workers
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.sandbox.tiers import TIERS
from srpo_jax.types import Problem, ScoreRequest, Verdict
from srpo_jax.utils.errors import ArgumentParser, InputError, run_cli
from srpo_jax.utils.fields import names
from srpo_jax.utils.jsonl import replaced
from srpo_jax.utils.progress import late_bar

END_TOKENS = ("<|endoftext|>", "<|im_end|>")
BATCH = 4096  # rows in flight


@dataclasses.dataclass(frozen=True)
class Row:
  """A good row: its id as the file has it, and the request, whose id is the row's place."""

  id: str | int
  request: ScoreRequest


def main(argv: Sequence[str]) -> None:
  """Scores as the command line `argv` says."""
  options = _options(argv)
  if options.explain:
    return explain(options.input)
  if options.output is None:
    raise InputError("--output: expected a file for the verdicts (or --explain)")
  if options.input.resolve() == options.output.resolve():
    raise InputError(f"--output: expected another file than --input, found {options.output}")
  if not options.output.parent.is_dir():
    raise InputError(f"--output: expected an existing folder, found {options.output.parent}")
  rejected = options.output.with_name(options.output.name + ".rejected.jsonl")
  with (
    Scorer(
      validator=options.validator, timeout_s=options.limit_s, workers=options.workers, sandbox=_sandbox(options)
    ) as scorer,
    replaced(options.output) as verdicts,
    replaced(rejected) as rejects,
  ):
    scored, refused = _score(options.input, scorer, verdicts, rejects, strict=options.strict)
  if refused:
    print(f"{refused} of {scored + refused} rows rejected: {rejected}", file=sys.stderr)
  else:
    rejected.unlink()


def _options(argv: Sequence[str]) -> argparse.Namespace:
  parser = ArgumentParser(prog="python -m srpo_jax.score", description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--input", type=Path, required=True, help="responses, JSON Lines")
  parser.add_argument("--output", type=Path, help="verdicts, JSON Lines; replaced when all are there")
  parser.add_argument("--strict", action="store_true", help="stop at the first bad row (else: OUTPUT.rejected.jsonl)")
  parser.add_argument("--validator", choices=VALIDATORS, default="tags", help="the form an answer must have")
  parser.add_argument("--limit-s", type=float, default=4.0, help="seconds that one answer or program may take")
  parser.add_argument("--workers", type=int, default=default_workers(), help="processes that judge math")
  parser.add_argument("--explain", action="store_true", help="say what the tests are turned into; judge nothing")
  parser.add_argument("--min-tier", choices=TIERS, default="bubblewrap", help="the weakest sandbox to accept")
  parser.add_argument("--packages", default="", help="what programs may import beside the standard library: numpy,...")
  return parser.parse_args(argv)


def _sandbox(options: argparse.Namespace) -> SandboxOptions:
  return SandboxOptions(min_tier=options.min_tier, timeout_s=options.limit_s, packages=names(options.packages))


def explain(source: Path) -> None:
  """Prints a line for each code row of `source`, and the counts of those that can be trained on and those refused."""
  counts = {"turned": 0, "refused": 0}
  for number, row in _objects(source):
    try:
      tests = row.get("tests") if "tests" in row else _problem(row, str(number)).tests
      if tests is None and row.get("domain", "math") != "code":
        continue
      suite = turn(tests)
      asked = f"{len(suite)} tests, {len(suite.calls) or len(suite.inputs)} {suite.mode}"
      counts["turned"] += 1
      print(f"{source}:{number}: turned: {asked}")
    except InputError as error:
      counts["refused"] += 1
      print(f"{source}:{number}: refused: {error}")
  print(f"{counts['turned']} rows turned, {counts['refused']} refused")


def _problem(row: dict[str, Any], fallback_id: str) -> Problem:
  return ADAPTERS[detect_format(row)](row, fallback_id)


def _objects(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
  """Line numbers from 1 with the object there. Raises InputError that names the line where there is none."""
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
  """Scores every row of `source`; returns how many rows were scored and how many rejected."""
  scored = refused = 0
  waiting: list[Row] = []
  bar = late_bar("judging", None)
  for number, row in read_rows(source):
    try:
      if isinstance(row, InputError):
        raise row
      if row.request.domain == "code":
        _start_sandbox(scorer)
      scorer.submit(row.request)
      waiting.append(row)
      bar.update(scored + scorer.judged - bar.n)
    except SandboxError as error:
      raise InputError(str(error)) from None
    except InputError as error:
      reason = str(error).removeprefix(f"request {number}: ")
      if strict:
        raise InputError(f"{source}:{number}: {reason}") from None
      rejects.write(json.dumps({"line": number, "reason": reason}) + "\n")
      refused += 1
    if len(waiting) == BATCH:
      scored = _write(waiting, scored, scorer, verdicts, bar)
  with bar:
    return _write(waiting, scored, scorer, verdicts, bar), refused


class SandboxError(Exception):
  """This host cannot run programs as asked: no fault of a row."""


def _start_sandbox(scorer: Scorer) -> None:
  try:
    scorer.start_sandbox()
  except InputError as error:
    raise SandboxError(str(error)) from None


def _write(waiting: list[Row], scored: int, scorer: Scorer, verdicts: IO[str], bar: "tqdm[Any]") -> int:
  """Writes the verdicts on the rows in flight and empties the list; returns how many are scored then, of `scored`."""
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
  """Line numbers from 1 with the row there, or with what is wrong with it. Raises InputError for an unreadable file."""
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
  response, closed = _without_end(row["response"])
  request = ScoreRequest(
    id=str(number),
    prompt=row["prompt"],
    response=response,
    ended=closed or row.get("ended", True),
    domain=row["domain"],
    answer=_answer(row),
    tests=row.get("tests"),
  )
  return Row(row["id"], request)


def _without_end(response: str) -> tuple[str, bool]:
  for token in END_TOKENS:
    if response.endswith(token):
      return response.removesuffix(token), True
  return response, False


def _answer(row: dict[str, Any]) -> str | None:
  """The gold answer as text; some data sets have numbers."""
  answer = row.get("answer")
  if answer is None or isinstance(answer, str):
    return answer
  if isinstance(answer, int | float) and not isinstance(answer, bool) and math.isfinite(answer):
    return format(decimal.Decimal(repr(answer)), "f")
  raise InputError(f"field answer: expected a string or a number, found {_shown(row, 'answer')}")


def _shown(row: dict[str, Any], field: str) -> str:
  return json.dumps(row[field])[:60] if field in row else "nothing"


if __name__ == "__main__":
  run_cli(main)
