"""Stages that look at all rows together: duplicates, questions with conflicting answers, then verification.

Each stage reads the files of the stage before it. Its folder is either complete or absent, so that a killed curation
can resume.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from tqdm import tqdm

from srpo_jax.data.curation import duplicates, stages
from srpo_jax.data.curation.candidate import Candidate, drop_line, dropped, from_line, to_line
from srpo_jax.data.curation.config import CurateConfig
from srpo_jax.data.curation.shards import DROPPED, KEPT, Shard, load_fingerprints
from srpo_jax.data.curation.verify import Verifier
from srpo_jax.rewards.math import screen_stated
from srpo_jax.utils.jsonl import new_folder


def without_duplicates(config: CurateConfig, done: Sequence[Shard], folder: Path) -> Path:
  """Drops duplicate and conflicting rows of the shards, and writes the rest to `folder`. Returns `folder`."""
  if folder.is_dir():
    return folder
  prints, begins = load_fingerprints(done)
  conflicts = _conflicts(prints, done, begins)
  found = duplicates.find(prints, config.duplicates.jaccard)
  leaders = set(found.of[found.of >= 0].tolist())
  ids: dict[int, str] = {}
  with _stage(folder) as (kept, drops):
    for number, line in enumerate(lines(shard.folder / KEPT for shard in done)):
      if number in leaders:
        ids[number] = from_line(line).problem.id
      other = int(found.of[number])
      if number in conflicts:
        candidate = from_line(line)
        drops.write(drop_line(dropped(candidate, stages.DUPLICATES, "conflicting_answers", conflicts[number])))
      elif other >= 0:
        candidate = from_line(line)
        rule = "near" if found.near[number] else "exact"
        drop = dropped(candidate, stages.DUPLICATES, rule, candidate.problem.question, of=ids[other])
        drops.write(drop_line(drop))
      else:
        kept.write(line)
  return folder


def verified(config: CurateConfig, before: Path, folder: Path, cache: Path) -> Path:
  """Drops rows of `before` whose gold answer or tests are wrong, and writes the rest to `folder`. Returns `folder`."""
  if folder.is_dir():
    return folder
  if not (config.verify.gold or config.verify.programs):
    with _stage(folder) as (kept, _):
      kept.writelines(lines([before / KEPT]))
    return folder
  with (
    Verifier(config.verify, cache) as verifier,
    _stage(folder) as (kept, drops),
    tqdm(desc="verify", unit="row", disable=not config.work.progress, total=_count(before / KEPT)) as bar,
  ):
    for candidate, finding in verifier.verify(candidates(before / KEPT)):
      if finding.rule:
        drops.write(drop_line(dropped(candidate, stages.VERIFICATION, finding.rule, finding.matched)))
      else:
        kept.write(to_line(candidate))
      bar.update()
  return folder


def candidates(file: Path) -> Iterator[Candidate]:
  """Yields the candidates of a file, in order."""
  return map(from_line, lines([file]))


def _conflicts(prints: duplicates.Fingerprints, done: Sequence[Shard], begins: np.ndarray) -> dict[int, str]:
  """Returns the rows whose question also occurs with a different answer, as a mapping of row -> all the answers."""
  groups = duplicates.conflicting(prints)
  if not groups:
    return {}
  answers = _answers({int(row) for group in groups for row in group}, done, begins)
  found = {}
  for group in groups:
    distinct = list(dict.fromkeys(answers[int(row)] for row in group))
    if any(_differ(distinct[0], other) for other in distinct[1:]):
      found.update({int(row): " | ".join(distinct) for row in group})
  return found


def _differ(answer: str, other: str) -> bool:
  """Returns true if two gold answers differ in value.

  Answers that only many digits could tell apart count as equal, because they agree in double precision.
  """
  return screen_stated(other, answer)[0] == 0 and screen_stated(answer, other)[0] == 0


def _answers(rows: set[int], done: Sequence[Shard], begins: np.ndarray) -> dict[int, str]:
  found = {}
  for place, shard in enumerate(done):
    first, last = int(begins[place]), int(begins[place + 1])
    if not any(first <= row < last for row in rows):
      continue
    for number, line in enumerate(lines([shard.folder / KEPT]), start=first):
      if number in rows:
        found[number] = from_line(line).problem.answer or ""
  return found


def lines(files: Iterable[Path]) -> Iterator[str]:
  """Yields the lines of several files, in order."""
  for path in files:
    with path.open(encoding="utf-8", newline="\n") as file:
      yield from file


def _count(path: Path) -> int:
  return sum(1 for _ in lines([path]))


@contextlib.contextmanager
def _stage(folder: Path) -> Iterator[tuple[IO[str], IO[str]]]:
  """Opens the files for the kept and the dropped rows of a stage.

  The folder gets its final name only when the stage has finished without an error.
  """
  with (
    new_folder(folder) as partial,
    (partial / KEPT).open("w", encoding="utf-8") as kept,
    (partial / DROPPED).open("w", encoding="utf-8") as drops,
  ):
    yield kept, drops
