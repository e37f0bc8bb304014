"""Data sets on disk by record index: a TFDS data set in ArrayRecord form, written and read without TensorFlow.

    FOLDER/NAME-train.array_record-00000-of-00001   records, each a tf.train.Example compressed by itself
    FOLDER/features.json  dataset_info.json         what TFDS reads: tfds.builder_from_directory(FOLDER)
    FOLDER/metadata.json                            sizes of the shards, hash of the records
    FOLDER/index.parquet                            id, domain, difficulty, pass_rate by record index

A record holds a row of this project's own schema (`sources.from_native`). A field that is None is absent from its
record; TFDS gives None for it. `tests` is JSON text. `extra` is JSON text too, of the fields outside the schema.
`pass_rate` is a float32 for other readers; a number that it does not hold exactly stands in `extra` as well.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import array_record.python.array_record_module as array_record
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_info
from tensorflow_datasets.proto import tf_example_pb2, tf_feature_pb2

from srpo_jax.data.sources import from_native
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import is_text, read_json

SPLIT = "train"
INFO, INDEX, METADATA = "dataset_info.json", "index.parquet", "metadata.json"
LAYOUT = 1  # of the records, so that a later one can be told apart
SHARD_ROWS = 100_000
BATCH = 1024  # rows that iteration reads at once
INDEX_ROWS = 16_384  # rows of the index in memory at once while it is written

TEXTS = ("id", "domain", "question", "answer", "difficulty", "source", "licence")
FIELDS = (*TEXTS, "tests", "pass_rate")
INDEX_SCHEMA = pa.schema(
  [("id", pa.string()), ("domain", pa.string()), ("difficulty", pa.string()), ("pass_rate", pa.float64())]
)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")


@dataclasses.dataclass(frozen=True)
class RecordsInfo:
  """What was written."""

  n: int  # records
  sha256: str  # of the records in their order, whatever the shards


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
  """Writes rows of the native schema as a data set; the same rows give the same bytes.

  The folder appears whole or not at all. One that `write_records` made is replaced; any other that is not empty is
  refused. Memory does not grow with the rows, but for 20 bytes and the id of each.

  Args:
    folder: to make, in a folder that exists.
    rows: each as `sources.from_native` takes it, and stored as that reads it; a row without an id gets
      `<name>-<index, 6 digits>`. Other fields may hold anything that JSON can.
    name: of the data set: small letters, digits and underscores.
    version: three numbers, as 1.0.0.
    licence: of the whole set; a row's own stands in its field `licence`.
    shard_rows: records a file at most.

  Raises:
    InputError: names the folder, and the row and field where one is at fault: a malformed row, an id that is already
      another row's, no row at all, a name or version of another form, a folder that cannot be written or is not ours.
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
  """Raises InputError where `write_records` would refuse to write."""
  if not folder.parent.is_dir():
    raise InputError(f"{folder}: expected an existing folder {folder.parent} to put it in")
  if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
    raise InputError(f"{folder}: expected a folder, or nothing, where the data set is to be written")
  if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
    raise InputError(f"{folder}: not empty and not a data set of ours, nothing was written")


def check_version(folder: Path, version: str) -> None:
  """Raises InputError where `write_records` would refuse a version."""
  if not _VERSION.fullmatch(version):
    raise InputError(f"{folder}: version {version!r}: expected three numbers, as 1.0.0")


def is_records(path: str | Path) -> bool:
  """Whether a path is a folder with a TFDS data set in it."""
  return (Path(path) / INFO).is_file()


class Records(Sequence[dict[str, Any]]):
  """The rows of a data set by record index, read when they are asked for.

  A row has every field of `FIELDS`, None where its record has none, and those that the written row had besides.
  Threads may share one; a pickled copy opens the folder anew.

  Args of the constructor:
    folder: that `write_records` made.

  Raises InputError that names the folder where it is another, or damaged: at once where a file is missing or cut, at
  the access where a record is spoiled. An index out of range is an IndexError.
  """

  def __init__(self, folder: str | Path):
    self.folder = Path(folder)
    metadata = _metadata(self.folder)
    self.sha256: str = metadata["sha256"]
    self.name: str = metadata["name"]
    for shard, size in zip(_shards(self.name, len(metadata["shard_bytes"])), metadata["shard_bytes"], strict=True):
      found = _size(self.folder / shard)
      if found != size:
        raise InputError(f"{self.folder}: damaged: {shard} has {found} bytes, expected {size}")
    self._n: int = metadata["n"]
    try:
      builder = tfds.builder_from_directory(self.folder)
      self._info = builder.info
      self._source = builder.as_data_source(split=SPLIT).data_source
      shard_count = len(builder.info.splits[SPLIT].shard_lengths)
    except Exception as error:  # TFDS raises what its parsers raise
      raise InputError(f"{self.folder}: not a data set that TFDS can open: {_line(error)}") from error
    if (len(self._source), shard_count) != (self._n, len(metadata["shard_bytes"])):
      raise InputError(f"{self.folder}: damaged: {INFO} tells of {len(self._source)} records, expected {self._n}")
    self._index = _read_index(self.folder)
    if len(self._index) != self._n:
      raise InputError(f"{self.folder}: damaged: {INDEX} has {len(self._index)} rows, expected {self._n}")
    twice = _repeated(self._index["id"])
    if twice:
      raise InputError(f"{self.folder}: record {twice[1]}: field id: {twice[2]!r} is already that of record {twice[0]}")

  @property
  def version(self) -> str:
    return str(self._info.version)

  @property
  def description(self) -> str:
    return self._info.description

  @property
  def licence(self) -> str:
    return self._info.redistribution_info.license

  def column(self, field: str) -> list[Any]:
    """A field of every row without reading the records: id, domain, difficulty or pass_rate."""
    if field not in INDEX_SCHEMA.names:
      raise KeyError(f"{field}: expected one of {', '.join(INDEX_SCHEMA.names)}")
    return self._index[field].to_pylist()

  def __len__(self) -> int:
    return self._n

  @overload
  def __getitem__(self, index: int) -> dict[str, Any]: ...
  @overload
  def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
  def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
    if isinstance(index, slice):
      return self.rows(range(self._n)[index])
    return self.rows([range(self._n)[index]])[0]

  def __iter__(self) -> Iterator[dict[str, Any]]:
    for start in range(0, self._n, BATCH):
      yield from self.rows(range(start, min(start + BATCH, self._n)))

  def rows(self, indices: Sequence[int]) -> list[dict[str, Any]]:
    """The rows at some indices, each from 0 and below the length, read together."""
    if not indices:
      return []
    try:
      found = self._source.__getitems__(indices)
    except Exception as error:  # of the reader's C++ side
      where = f"record {indices[0]}" if len(indices) == 1 else f"records {indices[0]} to {indices[-1]}"
      raise InputError(f"{self.folder}: damaged: {where} cannot be read: {_line(error)}") from error
    return [self._decoded(record, index) for record, index in zip(found, indices, strict=True)]

  def _decoded(self, record: bytes, index: int) -> dict[str, Any]:
    try:
      return _row_of(tf_example_pb2.Example.FromString(record).features.feature)
    except Exception as error:  # whatever a spoiled record makes of itself
      raise InputError(f"{self.folder}: damaged: record {index} is not a row: {_line(error)}") from error

  def __reduce__(self) -> tuple[Any, ...]:
    return Records, (self.folder,)


def features() -> tfds.features.FeaturesDict:
  """The fields of a record as TFDS describes them."""
  text, optional = tfds.features.Text, ("answer", "difficulty", "source", "licence", "tests", "extra")
  return tfds.features.FeaturesDict(
    {name: text() for name in ("id", "domain", "question")}
    | {name: text(optional=True) for name in optional}
    | {"pass_rate": tfds.features.Tensor(shape=(), dtype=np.float32, optional=True)}
  )


def _checked(rows: Iterable[Mapping[str, Any]], folder: Path, name: str) -> Iterator[dict[str, Any]]:
  for index, row in enumerate(rows):
    if not isinstance(row, Mapping):
      raise InputError(f"{folder}: row {index}: expected an object with named fields, got {type(row).__name__}")
    try:
      yield example_of(row, f"{name}-{index:06d}")
    except InputError as error:
      raise InputError(f"{folder}: row {index}: {error}") from error


def example_of(row: Mapping[str, Any], fallback_id: str) -> dict[str, Any]:
  """The fields of the record of a row, None for those to leave out.

  Raises:
    InputError: names the field that is malformed.
  """
  problem = from_native(row, fallback_id)
  licence = row.get("licence")
  if licence is not None and not (is_text(licence) and licence.strip()):
    raise InputError(f"field licence: expected text, got {licence!r:.60}")
  extra = _extra(row)
  if problem.pass_rate is not None and float(np.float32(problem.pass_rate)) != problem.pass_rate:
    extra["pass_rate"] = problem.pass_rate
  example = {field: getattr(problem, field) for field in TEXTS if field != "licence"}
  return example | {
    "licence": licence.strip() if licence is not None else None,
    "tests": None if problem.tests is None else as_json("tests", dict(problem.tests)),
    "pass_rate": problem.pass_rate,
    "extra": as_json("extra", extra) if extra else None,
  }


# TFDS's own serializer makes the same bytes, and its parser the same values, at a third of the speed.
def _record_of(example: Mapping[str, Any]) -> bytes:
  given = {field: _feature(value) for field, value in example.items() if value is not None}
  record = tf_example_pb2.Example(features=tf_feature_pb2.Features(feature=given))
  return record.SerializeToString(deterministic=True)


def _feature(value: str | float) -> tf_feature_pb2.Feature:
  if isinstance(value, float):
    return tf_feature_pb2.Feature(float_list=tf_feature_pb2.FloatList(value=[value]))
  return tf_feature_pb2.Feature(bytes_list=tf_feature_pb2.BytesList(value=[value.encode()]))


def _row_of(found: Mapping[str, tf_feature_pb2.Feature]) -> dict[str, Any]:
  row: dict[str, Any] = {field: _text_of(found, field) for field in TEXTS}
  if not (row["id"] and row["domain"] and row["question"]):
    raise ValueError("a field that every row has is absent")
  tests, extra = _text_of(found, "tests"), _text_of(found, "extra")
  row["tests"] = None if tests is None else json.loads(tests)
  (row["pass_rate"],) = found["pass_rate"].float_list.value if "pass_rate" in found else (None,)
  return row if extra is None else row | json.loads(extra)


def _text_of(found: Mapping[str, tf_feature_pb2.Feature], field: str) -> str | None:
  if field not in found:  # a look-up alone would add it
    return None
  (value,) = found[field].bytes_list.value
  return value.decode()


def as_json(field: str, value: Any) -> str:
  """A field's value as JSON text. Raises InputError that names the field where JSON cannot hold it."""
  try:
    return json.dumps(value, separators=(",", ":"))
  except (TypeError, ValueError, RecursionError) as error:
    raise InputError(f"field {field}: expected what JSON can hold: {_line(error)}") from None


def _extra(row: Mapping[str, Any]) -> dict[str, Any]:
  """The fields outside the schema, each of them seen to be JSON."""
  extra = {key: value for key, value in row.items() if key not in FIELDS}
  for key, value in extra.items():
    if not is_text(key):
      raise InputError(f"field {key!r:.60}: expected a name")
    as_json(key, value)
  return extra


@dataclasses.dataclass(frozen=True)
class _Written:
  n: int
  sha256: str
  shard_lengths: tuple[int, ...]
  shard_bytes: tuple[int, ...]
  record_bytes: int


class _Shards:
  """The files of the records, filled one after the other."""

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
    """Gives the files the names that TFDS looks for; returns their sizes."""
    shards = _shards(name, len(self.lengths))
    for number, shard in enumerate(shards):
      self._path(number).rename(self._partial / shard)
    return tuple(_size(self._partial / shard) for shard in shards)

  def _path(self, number: int) -> Path:
    return self._partial / f"shard-{number}"

  def _do(self, action: Callable[[], object]) -> None:
    try:
      action()
    except RuntimeError as error:  # what the writer makes of a full disk
      raise InputError(f"{self._partial.parent}: cannot be written: {_line(error)}") from error


def _write(partial: Path, examples: Iterator[dict[str, Any]], folder: Path, name: str, shard_rows: int) -> _Written:
  """Writes the shards and the index."""
  digest, total, shards = hashlib.sha256(), 0, _Shards(partial, shard_rows)
  waiting: list[dict[str, Any]] = []
  with pq.ParquetWriter(partial / INDEX, INDEX_SCHEMA) as index, contextlib.closing(shards):
    for example in examples:
      record = _record_of(example)
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
  twice = _repeated(_read_index(partial)["id"])
  if twice:
    raise InputError(f"{folder}: row {twice[1]}: field id: {twice[2]!r} is already the id of row {twice[0]}")
  sizes = shards.name(name)
  return _Written(sum(shards.lengths), digest.hexdigest(), tuple(shards.lengths), sizes, total)


def _describe(partial: Path, written: _Written, name: str, version: str, description: str, licence: str) -> None:
  """Writes what TFDS reads, and last our own mark of a whole folder."""
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
  check_target(folder)  # again: rows can take hours to come
  if folder.is_dir() and any(folder.iterdir()):
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old)
  else:
    partial.rename(folder)


def _metadata(folder: Path) -> dict[str, Any]:
  """Our own mark of a whole folder, its fields checked."""
  if not folder.is_dir():
    raise InputError(f"{folder}: no such folder, expected a data set with {INFO}")
  for file in (INFO, METADATA, INDEX, "features.json"):
    if not (folder / file).is_file():
      raise InputError(f"{folder}: no {file}, expected a data set as srpo_jax writes it")
  metadata = read_json(folder / METADATA)
  kinds = {"layout": int, "name": str, "n": int, "sha256": str, "shard_bytes": list}
  for field, kind in kinds.items():
    if type(metadata.get(field)) is not kind:
      raise InputError(f"{folder}: {METADATA}: field {field}: expected {kind.__name__}, not a data set of ours")
  if metadata["layout"] != LAYOUT:
    raise InputError(f"{folder}: {METADATA}: layout {metadata['layout']}, expected {LAYOUT}")
  return metadata


def _is_ours(folder: Path) -> bool:
  try:
    _metadata(folder)
  except InputError:
    return False
  return True


def _shards(name: str, count: int) -> list[str]:
  return [f"{name}-{SPLIT}.array_record-{number:05d}-of-{count:05d}" for number in range(count)]


def _size(file: Path) -> int:
  return file.stat().st_size if file.is_file() else 0


def _read_index(folder: Path) -> pa.Table:
  try:
    return pq.read_table(folder / INDEX, schema=INDEX_SCHEMA)
  except (pa.ArrowException, OSError) as error:
    raise InputError(f"{folder}: damaged: {INDEX}: {_line(error)}") from error


def _repeated(ids: pa.ChunkedArray) -> tuple[int, int, str] | None:
  """The first two places of an id that stands twice, and the id."""
  if pc.count_distinct(ids).as_py() == len(ids):
    return None
  first: dict[str, int] = {}
  for place, id_ in enumerate(ids.to_pylist()):
    if first.setdefault(id_, place) != place:
      return first[id_], place, id_
  return None


def _line(error: Exception) -> str:
  return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
