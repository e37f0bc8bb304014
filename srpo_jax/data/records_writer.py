"""Writer of data sets on disk, without TensorFlow. `records_folder` lists the files."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import array_record.python.array_record_module as array_record
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_info

from srpo_jax.data.record import example_of, features, record_of
from srpo_jax.data.records_folder import (
  INDEX,
  INDEX_SCHEMA,
  LAYOUT,
  METADATA,
  SPLIT,
  file_size,
  first_repeated,
  is_ours,
  read_index,
  shard_names,
)
from srpo_jax.utils.errors import InputError, one_line

SHARD_ROWS = 100_000
INDEX_ROWS = 16_384  # rows of the index held in memory before they are written
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")


@dataclasses.dataclass(frozen=True)
class RecordsInfo:
  """Size and hash of a written data set."""

  n: int  # number of records
  sha256: str  # hash of the records in order, independent of the shards


def write_records(
  folder: Path,
  rows: Iterable[Mapping[str, Any]],
  *,
  name: str,
  version: str,
  description: str,
  licence: str = "",
  shard_rows: int = SHARD_ROWS,
) -> RecordsInfo:
  """Writes rows of the native schema as a data set. The same rows give the same bytes.

  The folder appears complete or not at all. A folder that `write_records` wrote earlier is replaced. Any other folder
  that is not empty is refused. Memory grows only by 20 bytes and the id for each row.

  Args:
    folder: folder to create. Its parent exists.
    rows: rows for `sources.from_native`, stored as it reads them. A row without an id gets `<name>-<index, 6 digits>`.
      Other fields may hold any JSON value.
    name: name of the data set, in small letters, digits and underscores.
    version: three numbers, such as 1.0.0.
    description: description of the data set in dataset_info.json.
    licence: licence of the whole set. A row may have its own in its field `licence`.
    shard_rows: largest number of records in a file.

  Raises:
    InputError: a malformed row, a repeated id, no row, a malformed name or version, or a folder that cannot be written
      or that another program wrote. The message names the folder and, if one is at fault, the row and the field.
  """
  folder = Path(folder)
  if not _NAME.fullmatch(name):
    raise InputError(f"{folder}: data set name {name!r}: expected small letters, digits and underscores")
  check_version(folder, version)
  if shard_rows < 1:
    raise InputError(f"{folder}: shard_rows {shard_rows}: expected at least 1")
  check_target(folder)
  partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
  try:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    info = _write(partial, _checked(rows, folder, name), folder, name, shard_rows)
    _describe(partial, info, name, version, description, licence)
    _put_in_place(partial, folder)
  except OSError as error:
    raise InputError(f"{error.filename or folder}: {error.strerror or error}") from error
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  return RecordsInfo(info.n, info.sha256)


def check_target(folder: Path) -> None:
  """Raises InputError if `write_records` would refuse to write to a folder."""
  if not folder.parent.is_dir():
    raise InputError(f"{folder}: expected an existing folder {folder.parent}")
  if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
    raise InputError(f"{folder}: expected a folder or a path that does not exist yet")
  if folder.is_dir() and any(folder.iterdir()) and not is_ours(folder):
    raise InputError(f"{folder}: not empty and not a data set written by srpo_jax, nothing was written")


def check_version(folder: Path, version: str) -> None:
  """Raises InputError if `write_records` would refuse a version."""
  if not _VERSION.fullmatch(version):
    raise InputError(f"{folder}: version {version!r}: expected three numbers, such as 1.0.0")


def _checked(rows: Iterable[Mapping[str, Any]], folder: Path, name: str) -> Iterator[dict[str, Any]]:
  for index, row in enumerate(rows):
    if not isinstance(row, Mapping):
      raise InputError(f"{folder}: row {index}: expected an object with named fields, got {type(row).__name__}")
    try:
      yield example_of(row, f"{name}-{index:06d}")
    except InputError as error:
      raise InputError(f"{folder}: row {index}: {error}") from error


@dataclasses.dataclass(frozen=True)
class _Written:
  n: int
  sha256: str
  shard_lengths: tuple[int, ...]
  shard_bytes: tuple[int, ...]
  record_bytes: int


class _Shards:
  """Writer of the record files. It fills one file after the other."""

  def __init__(self, partial: Path, shard_rows: int):
    self._partial, self._rows = partial, shard_rows
    self._writer: Any = None
    self.lengths: list[int] = []

  def write(self, record: bytes) -> None:
    if not self.lengths or self.lengths[-1] == self._rows:
      self.close()
      self._writer = array_record.ArrayRecordWriter(str(self._path(len(self.lengths))), "group_size:1")
      self.lengths.append(0)
    self._do(lambda: self._writer.write(record))
    self.lengths[-1] += 1

  def close(self) -> None:
    if self._writer is not None:
      writer, self._writer = self._writer, None
      self._do(writer.close)

  def name(self, name: str) -> tuple[int, ...]:
    """Renames the files as TFDS expects and returns their sizes in bytes."""
    shards = shard_names(name, len(self.lengths))
    for number, shard in enumerate(shards):
      self._path(number).rename(self._partial / shard)
    return tuple(file_size(self._partial / shard) for shard in shards)

  def _path(self, number: int) -> Path:
    return self._partial / f"shard-{number}"

  def _do(self, action: Callable[[], object]) -> None:
    try:
      action()
    except RuntimeError as error:  # the writer raises this for a full disk
      raise InputError(f"{self._partial.parent}: cannot be written: {one_line(error)}") from error


def _write(partial: Path, examples: Iterator[dict[str, Any]], folder: Path, name: str, shard_rows: int) -> _Written:
  """Writes the shards and the index."""
  digest, total, shards = hashlib.sha256(), 0, _Shards(partial, shard_rows)
  waiting: list[dict[str, Any]] = []
  with pq.ParquetWriter(partial / INDEX, INDEX_SCHEMA) as index, contextlib.closing(shards):
    for example in examples:
      record = record_of(example)
      shards.write(record)
      digest.update(len(record).to_bytes(8, "little") + record)
      total += len(record)
      waiting.append({field: example[field] for field in INDEX_SCHEMA.names})
      if len(waiting) == INDEX_ROWS:
        index.write_table(pa.Table.from_pylist(waiting, INDEX_SCHEMA))
        waiting.clear()
    if waiting:
      index.write_table(pa.Table.from_pylist(waiting, INDEX_SCHEMA))
  if not shards.lengths:
    raise InputError(f"{folder}: expected at least one row to write, found none")
  repeated = first_repeated(read_index(partial)["id"])
  if repeated:
    raise InputError(f"{folder}: row {repeated[1]}: field id: {repeated[2]!r} is already the id of row {repeated[0]}")
  sizes = shards.name(name)
  return _Written(sum(shards.lengths), digest.hexdigest(), tuple(shards.lengths), sizes, total)


def _describe(partial: Path, written: _Written, name: str, version: str, description: str, licence: str) -> None:
  """Writes the files that TFDS reads and then metadata.json, which marks a complete folder."""
  features().save_config(str(partial))
  split = tfds.core.SplitInfo(
    name=SPLIT, shard_lengths=list(written.shard_lengths), num_bytes=written.record_bytes
  ).to_proto()
  info = dataset_info.dataset_info_pb2.DatasetInfo(
    name=name, version=version, description=description, file_format="array_record", disable_shuffling=True
  )
  info.splits.append(split)
  if licence:
    info.redistribution_info.license = licence
  dataset_info.write_dataset_info_proto(info, partial)
  metadata = {
    "layout": LAYOUT,
    "name": name,
    "n": written.n,
    "sha256": written.sha256,
    "shard_bytes": written.shard_bytes,
  }
  (partial / METADATA).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


def _put_in_place(partial: Path, folder: Path) -> None:
  check_target(folder)  # check again, since the rows can take hours to arrive
  if folder.is_dir() and any(folder.iterdir()):
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old)
  else:
    partial.rename(folder)
