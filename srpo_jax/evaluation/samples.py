"""Stores the responses of an evaluation on disk.

    OUT/settings.json                   settings that every sample depends on; a resumed run must have the same
    OUT/parts/SET/settings.json         settings that the samples of one set depend on
    OUT/parts/SET/batch_00000.parquet   a finished batch of problems; deleted once the set is complete
    OUT/samples/SET.parquet             the complete set

Each file appears complete or not at all.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from srpo_jax.training.workdir import RESPONSE_FIELDS
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.resumable import claim

SCHEMA = pa.schema(
  [
    ("set", pa.string()),
    ("prompt_id", pa.string()),
    ("domain", pa.string()),
    ("difficulty", pa.string()),  # null if the set has none
    *RESPONSE_FIELDS,
    ("gold", pa.string()),  # math only: the gold answer
    ("answer", pa.string()),  # math only: the answer as the reward reads it, null if there is none
    ("vote", pa.int32()),  # math only: 0 for the correct answer, 1, 2, ... for wrong ones, null for no vote
  ]
)


@contextlib.contextmanager
def opened(folder: Path, settings: Mapping[str, Any]) -> Iterator[None]:
  """Starts an evaluation in a folder, or resumes one with the same settings. Locks the folder for one process.

  Raises:
    InputError: the folder holds something else, another process is using it, or its settings differ. The message
      names each setting that differs.
  """
  check_folder(folder)
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / ".lock").open("w") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      raise InputError(f"{folder}: another process is evaluating into this folder") from None
    for left in folder.rglob("settings.*.partial"):  # left behind by a kill
      left.unlink()
    claim(folder, settings)
    yield


def check_folder(folder: Path) -> None:
  """Raises InputError if the folder holds something other than an evaluation."""
  if folder.exists() and not folder.is_dir():
    raise InputError(f"{folder}: not a folder, expected a folder of an evaluation or a new path")
  ours = (".lock", "settings.")  # an early kill may leave only these files
  if folder.is_dir() and not (folder / "settings.json").is_file():
    other = sorted(file.name for file in folder.iterdir() if not file.name.startswith(ours))
    if other:
      raise InputError(f"{folder}: not the folder of an evaluation, it holds {other[0]}; nothing was written")


class SetSamples:
  """The samples of one set.

  Args:
    folder: folder of the evaluation.
    name: name of the set.
    problems: number of problems.
    batch: number of problems sampled together.
    samples: number of responses to each problem.
    settings: settings that the samples depend on.

  Raises:
    InputError: the samples there have other settings. The message names them.
  """

  def __init__(self, folder: Path, name: str, *, problems: int, batch: int, samples: int, settings: Mapping[str, Any]):
    self.file = folder / "samples" / f"{name}.parquet"
    self._parts = folder / "parts" / name
    self._problems, self._batch, self._samples = problems, batch, samples
    self._parts.parent.mkdir(exist_ok=True)
    claim(self._parts, settings)

  def left(self) -> list[range]:
    """Returns the problem numbers of each unfinished batch."""
    if self.file.is_file():
      return []
    return [problems for number, problems in enumerate(self._batches()) if not self._part(number).is_file()]

  def add(self, problems: range, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a finished batch to disk, where it survives a kill."""
    with _replaced(self._part(problems.start // self._batch)) as partial:
      pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), partial)

  def finish(self) -> pa.Table:
    """Returns the complete set in the order of its problems and samples. Joins the batches if that was not done yet.

    Raises:
      InputError: a file does not hold what was written. The message names the file.
    """
    if not self.file.is_file():
      self.file.parent.mkdir(exist_ok=True)
      with _replaced(self.file) as partial, pq.ParquetWriter(partial, SCHEMA) as writer:
        for number, problems in enumerate(self._batches()):
          writer.write_table(self._read(self._part(number), len(problems)))
    whole = self._read(self.file, self._problems)
    for number in range(len(self._batches())):
      self._part(number).unlink(missing_ok=True)
    return whole

  def _batches(self) -> list[range]:
    starts = range(0, self._problems, self._batch)
    return [range(start, min(start + self._batch, self._problems)) for start in starts]

  def _part(self, number: int) -> Path:
    return self._parts / f"batch_{number:05d}.parquet"

  def _read(self, file: Path, problems: int) -> pa.Table:
    try:
      table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
      raise InputError(f"{file}: cannot be read: {error}") from None
    rows = problems * self._samples
    if table.schema != SCHEMA or len(table) != rows:
      raise InputError(f"{file}: not what this evaluation wrote, expected {rows} rows of its columns")
    return table


@contextlib.contextmanager
def _replaced(file: Path) -> Iterator[Path]:
  """Gives a path to write to, and renames it to `file` once its content is on disk."""
  partial = file.with_name(file.name + ".partial")
  yield partial
  with partial.open("rb") as written:
    os.fsync(written.fileno())
  os.replace(partial, file)
