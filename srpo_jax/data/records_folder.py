"""Files of a data set on disk, which is a TFDS data set in ArrayRecord form.

    FOLDER/NAME-train.array_record-00000-of-00001   records, each a separately compressed tf.train.Example
    FOLDER/features.json  dataset_info.json         read by TFDS: tfds.builder_from_directory(FOLDER)
    FOLDER/metadata.json                            sizes of the shards, hash of the records
    FOLDER/index.parquet                            id, domain, difficulty, pass_rate by record index

`record` defines the content of a record, `records` reads the folder and `records_writer` writes it.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from srpo_jax.utils.errors import InputError, one_line
from srpo_jax.utils.jsonl import read_json

SPLIT = "train"
INFO, INDEX, METADATA = "dataset_info.json", "index.parquet", "metadata.json"
LAYOUT = 1  # version of the record layout, so that readers can recognize a later one
INDEX_SCHEMA = pa.schema(
  [("id", pa.string()), ("domain", pa.string()), ("difficulty", pa.string()), ("pass_rate", pa.float64())]
)


def is_records(path: str | Path) -> bool:
  """Returns True if a path is a folder with a TFDS data set."""
  return (Path(path) / INFO).is_file()


def read_metadata(folder: Path) -> dict[str, Any]:
  """Reads and checks metadata.json, which `write_records` writes last to mark a complete folder.

  Raises:
    InputError: a missing folder or file, or metadata that `write_records` did not write.
  """
  if not folder.is_dir():
    raise InputError(f"{folder}: no such folder, expected a data set with {INFO}")
  for file in (INFO, METADATA, INDEX, "features.json"):
    if not (folder / file).is_file():
      raise InputError(f"{folder}: no {file}, expected a data set written by srpo_jax")
  metadata = read_json(folder / METADATA)
  kinds = {"layout": int, "name": str, "n": int, "sha256": str, "shard_bytes": list}
  for field, kind in kinds.items():
    if type(metadata.get(field)) is not kind:
      raise InputError(
        f"{folder}: {METADATA}: field {field}: expected {kind.__name__} in a data set written by srpo_jax"
      )
  if metadata["layout"] != LAYOUT:
    raise InputError(f"{folder}: {METADATA}: layout {metadata['layout']}, expected {LAYOUT}")
  return metadata


def is_ours(folder: Path) -> bool:
  try:
    read_metadata(folder)
  except InputError:
    return False
  return True


def shard_names(name: str, count: int) -> list[str]:
  return [f"{name}-{SPLIT}.array_record-{number:05d}-of-{count:05d}" for number in range(count)]


def file_size(file: Path) -> int:
  return file.stat().st_size if file.is_file() else 0


def read_index(folder: Path) -> pa.Table:
  try:
    return pq.read_table(folder / INDEX, schema=INDEX_SCHEMA)
  except (pa.ArrowException, OSError) as error:
    raise InputError(f"{folder}: damaged: {INDEX}: {one_line(error)}") from error


def first_repeated(ids: pa.ChunkedArray) -> tuple[int, int, str] | None:
  """Returns the first two indices of a repeated id and the id, or None if all ids are distinct."""
  if pc.count_distinct(ids).as_py() == len(ids):
    return None
  first: dict[str, int] = {}
  for place, id_ in enumerate(ids.to_pylist()):
    if first.setdefault(id_, place) != place:
      return first[id_], place, id_
  return None
