"""Runs the stages that work on single rows over ranges of rows, in several processes.

Each range leaves a folder that is either complete or absent, so that a killed curation can resume:

    kept.jsonl          candidates that are left
    dropped.jsonl       one line per dropped row: its stage, a tab, and its line in the side file
    fingerprints.npz    hashes for finding duplicates
    counts.json         number of rows read, and of rows changed by each kind of normalisation
"""

import concurrent.futures
import dataclasses
import json
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from srpo_jax.data.code_rows import bare_question
from srpo_jax.data.curation import stages
from srpo_jax.data.curation.candidate import Candidate, Drop, drop_line, dropped, to_line
from srpo_jax.data.curation.config import CurateConfig
from srpo_jax.data.curation.duplicates import Fingerprints, fingerprints
from srpo_jax.data.curation.source import Source, read
from srpo_jax.data.decontamination import Index, packed
from srpo_jax.data.words import words
from srpo_jax.utils.errors import TrainingError
from srpo_jax.utils.jsonl import new_folder

KEPT, DROPPED, FINGERPRINTS, COUNTS = "kept.jsonl", "dropped.jsonl", "fingerprints.npz", "counts.json"


@dataclasses.dataclass(frozen=True)
class Shard:
  """A range of rows of a source, and the folder of its results.

  Attributes:
    source: position of the source in the config.
    start, stop: first row, and the row after the last.
    folder: folder of the results.
  """

  source: int
  start: int
  stop: int
  folder: Path


@dataclasses.dataclass(frozen=True)
class Plan:
  """Inputs that every worker needs."""

  config: CurateConfig
  sources: tuple[Source, ...]
  readers: tuple[stages.Reader, ...]
  index: Index


def shards(plan: Plan, folder: Path) -> list[Shard]:
  """Returns all ranges, in the order of the sources and their rows."""
  rows = plan.config.work.shard_rows
  found = []
  for number, source in enumerate(plan.sources):
    for start in range(0, len(source), rows):
      name = f"{source.name}-{start:010d}"
      found.append(Shard(number, start, min(start + rows, len(source)), folder / name))
  return found


def run(plan: Plan, todo: Sequence[Shard]) -> Iterator[Shard]:
  """Processes the shards with the number of processes that the config gives. Yields each shard when it is done.

  Raises:
    TrainingError: a worker process was killed.
  """
  workers = min(plan.config.work.workers or os.cpu_count() or 1, len(todo))
  if workers <= 1:
    for shard in todo:
      process(plan, shard)
      yield shard
    return
  context = multiprocessing.get_context("spawn")  # a fork would copy locks but not the threads of other libraries
  with concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (plan,)) as pool:
    try:
      pending = {pool.submit(_process, shard): shard for shard in todo}
      for done in concurrent.futures.as_completed(pending):
        done.result()
        yield pending.pop(done)
    except BrokenProcessPool:
      raise TrainingError("a worker process was killed (memory?); the same command resumes from there") from None
    finally:
      pool.shutdown(wait=True, cancel_futures=True)


_plan: Plan | None = None


def _start_worker(plan: Plan) -> None:
  global _plan
  _plan = plan
  parent = multiprocessing.parent_process()
  assert parent is not None
  sentinel = parent.sentinel

  def end_with_parent() -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)

  threading.Thread(target=end_with_parent, daemon=True).start()


def _process(shard: Shard) -> None:
  assert _plan is not None
  process(_plan, shard)


def process(plan: Plan, shard: Shard) -> None:
  """Runs the rows of a shard through the stages and writes its folder."""
  kept, drops, counts = _screen(plan, shard)
  texts = [words(bare_question(candidate.problem.question)) for candidate in kept]
  hashes, starts = packed(texts)
  leaks = plan.index.leaks(texts, hashes, starts)
  for number, leak in leaks.items():
    detail = {"eval_set": leak.eval_set, "eval_id": leak.item_id, "share": leak.share}
    drops.append(dropped(kept[number], stages.CONTAMINATION, leak.eval_set, leak.matched, **detail))
  clean = [number for number in range(len(kept)) if number not in leaks]
  if leaks:
    kept, texts = [kept[number] for number in clean], [texts[number] for number in clean]
    hashes, starts = packed(texts)
  found = fingerprints([candidate.problem for candidate in kept], texts, hashes, starts)
  with new_folder(shard.folder) as folder:
    with (folder / KEPT).open("w", encoding="utf-8") as file:
      file.writelines(map(to_line, kept))
    with (folder / DROPPED).open("w", encoding="utf-8") as file:
      for drop in sorted(drops, key=lambda drop: drop.index):
        file.write(f"{drop.stage}\t{drop_line(drop)}")
    np.savez(folder / FINGERPRINTS, **dataclasses.asdict(found))  # type: ignore[arg-type]
    (folder / COUNTS).write_text(json.dumps(counts))


def load_fingerprints(done: Sequence[Shard]) -> tuple[Fingerprints, np.ndarray]:
  """Loads the fingerprints of all shards.

  Returns:
    The fingerprints of all rows in order, and the index of the first row of each shard, int64 [shard + 1]. The last
    entry is the number of rows.
  """
  columns: dict[str, list[np.ndarray]] = {field.name: [] for field in dataclasses.fields(Fingerprints)}
  for shard in done:
    with np.load(shard.folder / FINGERPRINTS) as file:
      for name, parts in columns.items():
        parts.append(file[name])
  begins = np.cumsum([0, *map(len, columns["exact"])], dtype=np.int64)
  return Fingerprints(**{name: np.concatenate(columns.pop(name)) for name in list(columns)}), begins


def _screen(plan: Plan, shard: Shard) -> tuple[list[Candidate], list[Drop], dict[str, int]]:
  """Applies completeness, normalisation and rules. Returns the kept rows, the drops and the counts."""
  source, reader = plan.sources[shard.source], plan.readers[shard.source]
  rules = plan.config.rules
  min_tests = plan.config.sources[source.name].min_tests or rules.min_tests
  kept: list[Candidate] = []
  drops: list[Drop] = []
  counts: Counter[str] = Counter()
  for index, row, line in read(source, shard.start, shard.stop):
    counts["read"] += 1
    result: Candidate | Drop = stages.complete(reader, index, row, line)
    if isinstance(result, Candidate):
      counts["complete"] += 1
      result, changes = stages.normalised(result, rules.max_question)
      counts.update(f"changed:{change}" for change in changes)
    if isinstance(result, Candidate):
      result = stages.screened(result, rules, min_tests)
    if isinstance(result, Candidate):
      kept.append(result)
    else:
      drops.append(result)
  return kept, drops, dict(sorted(counts.items()))
