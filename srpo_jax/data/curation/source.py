"""Reads the rows of a data set through `datasets`: a JSON Lines or parquet file, or a name on the hub.

The data are memory-mapped, so that memory use stays flat and any range of rows can be read on its own.

JSON Lines are read as text and parsed here line by line. A bad line then costs one row, whose place is known. Rows also
need not share one schema, which tests of several types do not.
"""

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from srpo_jax.data.curation.config import EvalSetConfig, SourceConfig, WhereConfig
from srpo_jax.data.dataset import JSON_LINES
from srpo_jax.data.generic_rows import lookup
from srpo_jax.data.row import Row
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import parse_line

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+|[\w-]+")


@dataclasses.dataclass(frozen=True)
class Source:
  """An opened data set.

  Attributes:
    name: name of the source in the config.
    place: path or hub name, for messages.
    dataset: the rows.
    lines: true if the rows are lines of JSON in a single column.
    digest: identifies the contents: the SHA-256 of a file, or the fingerprint of a set on the hub.
    where: selection of rows.
  """

  name: str
  place: str
  dataset: datasets.Dataset
  lines: bool
  digest: str
  where: WhereConfig

  def __len__(self) -> int:
    return len(self.dataset)


def open_source(name: str, config: SourceConfig | EvalSetConfig, field: str) -> Source:
  """Opens the data set that `config` names.

  Args:
    name: name of the source.
    config: path, subset, split and row selection.
    field: path of `config` within the whole config, for messages.

  Raises:
    InputError: the file or set does not exist, is of an unknown kind, or has no row.
  """
  datasets.disable_progress_bars()
  datasets.utils.logging.set_verbosity_error()
  path = config.path
  local = Path(path)
  suffix = local.suffix
  file = local.is_file() or path.startswith("hf://") or path.startswith(("/", "./", "../", "~")) or local.is_dir()
  if not file and suffix not in (*JSON_LINES, ".parquet"):
    if not _HUB_NAME.fullmatch(path):
      raise InputError(f"{field}.path: {path}: no such file, and not the name of a set on the hub")
    opened = _load(field, path, path=path, name=config.subset or None, split=config.split)
    lines, digest = False, f"hub:{opened._fingerprint}"
  else:
    if suffix not in (*JSON_LINES, ".parquet"):
      raise InputError(f"{field}.path: {path}: expected a file ending in {', '.join(JSON_LINES)} or .parquet")
    if not path.startswith("hf://"):
      if not local.is_file():
        raise InputError(f"{field}.path: {path}: no such file")
      if local.stat().st_size == 0:
        raise InputError(f"{field}.path: {path}: expected at least one row, found an empty file")
      digest = _sha256(local)
      path = str(local.resolve())
    lines = suffix != ".parquet"
    if lines:  # latin-1 keeps every byte, so that bad UTF-8 costs only its own line
      opened = _load(field, config.path, path="text", data_files=path, split="train", encoding="latin-1")
    else:
      opened = _load(field, config.path, path="parquet", data_files=path, split="train")
    if path.startswith("hf://"):
      digest = f"hub:{opened._fingerprint}"
  limit = getattr(config, "limit", 0)
  if limit and limit < len(opened):
    opened = opened.select(range(limit))
  if not len(opened):
    raise InputError(f"{field}.path: {config.path}: expected at least one row, found none")
  return Source(name, config.path, opened, lines, digest, config.where)


def read(source: Source, start: int, stop: int) -> Iterator[tuple[int, Row | InputError, str | None]]:
  """Yields the selected rows from `start` up to `stop`. Blank lines are skipped.

  Yields:
    The index of the row, the row itself or the error about it, and its text (None unless the source is JSON Lines).
  """
  part = source.dataset.select(range(start, stop))
  for index, record in enumerate(_records(part), start=start):
    line = record["text"] if source.lines else None
    if line is not None and not line.strip():
      continue
    row = record if line is None else _parsed(line)
    if isinstance(row, InputError) or _is_selected(row, source.where):
      yield index, row, line


def _records(part: datasets.Dataset) -> Iterator[dict[str, Any]]:
  for batch in part.with_format("arrow").iter(batch_size=1024):
    yield from batch.to_pylist()


def _parsed(line: str) -> Row | InputError:
  try:
    row = parse_line(line.encode("latin-1"))
  except InputError as error:
    return error
  return row if isinstance(row, dict) else InputError(f"expected a JSON object, found {type(row).__name__}")


def _is_selected(row: Row, where: WhereConfig) -> bool:
  if not where.column:
    return True
  value = lookup(row, where.column)
  if isinstance(value, bool) or not isinstance(value, int):
    raise InputError(f"where.column {where.column}: expected a whole number in every row, found {value!r}")
  return where.low <= value <= where.high


def _load(field: str, shown: str, **arguments: Any) -> datasets.Dataset:
  try:
    return datasets.load_dataset(**arguments)
  except Exception as error:  # each reader behind it raises its own kinds of error
    cause = error.__cause__ or error
    text = " ".join(str(cause).split())[:300]
    raise InputError(f"{field}.path: {shown}: cannot be loaded: {type(cause).__name__}: {text}") from None


def _sha256(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
