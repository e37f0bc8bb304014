"""What an evaluation has sampled, on disk: every response of every set.

    OUT/settings.json                   what every sample depends on; another value is refused
    OUT/parts/SET/settings.json         the same of one set
    OUT/parts/SET/batch_00000.parquet   a finished batch of its problems; gone when the set is whole
    OUT/samples/SET.parquet             the whole set

Each file appears whole or not at all.
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
    ("difficulty", pa.string()),  # null: the set has none
    *RESPONSE_FIELDS,
    ("gold", pa.string()),  # math: the gold answer
    ("answer", pa.string()),  # math: as the reward reads it; null: none
    ("vote", pa.int32()),  # math: 0 the correct answer, 1 and on the wrong ones; null: no vote
  ]
)


@contextlib.contextmanager
def opened(folder: Path, settings: Mapping[str, Any]) -> Iterator[None]:
  """Begins an evaluation in a folder, or goes on with one of the same settings; one process at a time.

  Raises:
    InputError: a folder of something else, another process in it, or settings that differ, each named.
  """
  check_folder(folder)
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / ".lock").open("w") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      raise InputError(f"{folder}: another process is evaluating into this folder") from None
    for left in folder.rglob("settings.*.partial"):  # by a kill
      left.unlink()
    claim(folder, settings)
    yield


def check_folder(folder: Path) -> None:
  """Raises InputError where something other than an evaluation is."""
  if folder.exists() and not folder.is_dir():
    raise InputError(f"{folder}: expected a folder, or nothing, for the evaluation")
  ours = (".lock", "settings.")  # a kill may leave the first files alone
  if folder.is_dir() and not (folder / "settings.json").is_file():
    other = sorted(file.name for file in folder.iterdir() if not file.name.startswith(ours))
    if other:
      raise InputError(f"{folder}: not the folder of an evaluation, it has {other[0]}; nothing was written")


class SetSamples:
  """The samples of one set: `problems` problems, `batch` of them sampled together, `samples` responses to each."""

  def __init__(self, folder: Path, name: str, *, problems: int, batch: int, samples: int, settings: Mapping[str, Any]):
    """Raises InputError where what is there was sampled with other settings; they are named."""
    self.file = folder / "samples" / f"{name}.parquet"
    self._parts = folder / "parts" / name
    self._problems, self._batch, self._samples = problems, batch, samples
    self._parts.parent.mkdir(exist_ok=True)
    claim(self._parts, settings)

  def left(self) -> list[range]:
    """The problems of each batch that is not finished."""
    if self.file.is_file():
      return []
    return [problems for number, problems in enumerate(self._batches()) if not self._part(number).is_file()]

  def add(self, problems: range, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keeps a finished batch; it outlives a kill from here on."""
    with _replaced(self._part(problems.start // self._batch)) as partial:
      pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), partial)

  def finish(self) -> pa.Table:
    """The whole set, in the order of its problems and samples; put together where that was not done yet.

    Raises:
      InputError: naming a file that is not what was written.
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
  """A place to write that takes the name of `file` when all is on disk."""
  partial = file.with_name(file.name + ".partial")
  yield partial
  with partial.open("rb") as written:
    os.fsync(written.fileno())
  os.replace(partial, file)
