"""Reader of data sets on disk by record index, without TensorFlow. `records_folder` lists the files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from srpo_jax.data.record import row_of
from srpo_jax.data.records_folder import (
  INDEX,
  INDEX_SCHEMA,
  INFO,
  SPLIT,
  file_size,
  first_repeated,
  read_index,
  read_metadata,
  shard_names,
)
from srpo_jax.utils.errors import InputError, one_line

BATCH = 1024  # rows that iteration reads at once


class Records(Sequence[dict[str, Any]]):
  """Lazy sequence of the rows of a data set, by record index.

  A row has every field of `record.FIELDS` and the extra fields of the row as written. A field without a value is None.
  Threads may share one instance. A pickled copy opens the folder again.

  Args of the constructor:
    folder: folder that `records_writer.write_records` wrote.

  Raises InputError with the folder's name if another program wrote the folder or if it is damaged. The constructor
  detects a missing or truncated file. A damaged record raises on access. An index out of range raises IndexError.
  """

  def __init__(self, folder: str | Path):
    self.folder = Path(folder)
    metadata = read_metadata(self.folder)
    self.sha256: str = metadata["sha256"]
    self.name: str = metadata["name"]
    for shard, size in zip(shard_names(self.name, len(metadata["shard_bytes"])), metadata["shard_bytes"], strict=True):
      found = file_size(self.folder / shard)
      if found != size:
        raise InputError(f"{self.folder}: damaged: {shard} has {found} bytes, expected {size}")
    self._n: int = metadata["n"]
    try:
      builder = tfds.builder_from_directory(self.folder)
      self._info = builder.info
      self._source = builder.as_data_source(split=SPLIT).data_source
      shard_count = len(builder.info.splits[SPLIT].shard_lengths)
    except Exception as error:  # TFDS passes on any exception of its parsers
      raise InputError(f"{self.folder}: not a data set that TFDS can open: {one_line(error)}") from error
    if (len(self._source), shard_count) != (self._n, len(metadata["shard_bytes"])):
      raise InputError(f"{self.folder}: damaged: {INFO} lists {len(self._source)} records, expected {self._n}")
    self._index = read_index(self.folder)
    if len(self._index) != self._n:
      raise InputError(f"{self.folder}: damaged: {INDEX} has {len(self._index)} rows, expected {self._n}")
    repeated = first_repeated(self._index["id"])
    if repeated:
      raise InputError(
        f"{self.folder}: record {repeated[1]}: field id: {repeated[2]!r} is already the id of record {repeated[0]}"
      )

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
    """Returns the id, domain, difficulty or pass_rate of every row without reading the records."""
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
    """Reads the rows at the given indices in one call. Each index is at least 0 and below the length."""
    if not indices:
      return []
    try:
      found = self._source.__getitems__(indices)
    except Exception as error:  # the reader's C++ code can raise anything
      where = f"record {indices[0]}" if len(indices) == 1 else f"records {indices[0]} to {indices[-1]}"
      raise InputError(f"{self.folder}: damaged: {where} cannot be read: {one_line(error)}") from error
    return [self._decoded(record, index) for record, index in zip(found, indices, strict=True)]

  def _decoded(self, record: bytes, index: int) -> dict[str, Any]:
    try:
      return row_of(tf_example_pb2.Example.FromString(record).features.feature)
    except Exception as error:  # a damaged record can raise anything
      raise InputError(f"{self.folder}: damaged: record {index} is not a row: {one_line(error)}") from error

  def __reduce__(self) -> tuple[Any, ...]:
    return Records, (self.folder,)
