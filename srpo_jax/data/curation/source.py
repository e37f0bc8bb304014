"""Rows of a data set through `datasets`: a JSON Lines or parquet file, or a name on the hub. Memory-mapped, so that
memory stays flat and any range of rows can be read by itself.

JSON Lines are read as lines, each parsed here: a bad one is one dropped row with its place, and rows need not share
one schema, as tests of several types do not.
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
  """An opened data set. `digest` names its contents: the SHA-256 of a file, or the hub's fingerprint."""

  name: str
  place: str  # of messages: the path or the hub's name
  dataset: datasets.Dataset
  lines: bool  # one column with a line of JSON each
  digest: str
  where: WhereConfig

  def __len__(self) -> int:
    return len(self.dataset)


def open_source(name: str, config: SourceConfig | EvalSetConfig, field: str) -> Source:
  """Opens what `config` names; `field` is its path in the config, for messages.

  Raises:
    InputError: no such file or set, another kind of file, or no row in it.
  """
  datasets.disable_progress_bars()
  datasets.utils.logging.set_verbosity_error()
  path = config.path
  local = Path(path)
  suffix = local.suffix
  file = local.is_file() or path.startswith("hf://") or path.startswith(("/", "./", "../", "~")) or local.is_dir()
  if not file and suffix not in (*JSON_LINES, ".parquet"):
    if not _HUB_NAME.fullmatch(path):
      raise InputError(f"{field}.path: {path}: no such file, and no name of a set on the hub")
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
    if lines:  # latin-1 gives every byte back, so that a line of bad UTF-8 spoils no other
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
  """Rows by index: each an object, or what is wrong with it and the text that stands there."""
  part = source.dataset.select(range(start, stop))
  for index, record in enumerate(_records(part), start=start):
    line = record["text"] if source.lines else None
    if line is not None and not line.strip():
      continue
    row = record if line is None else _parsed(line)
    if isinstance(row, InputError) or _within(row, source.where):
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


def _within(row: Row, where: WhereConfig) -> bool:
  if not where.column:
    return True
  value = lookup(row, where.column)
  if isinstance(value, bool) or not isinstance(value, int):
    raise InputError(f"where.column {where.column}: expected a whole number in every row, found {value!r}")
  return where.low <= value <= where.high


def _load(field: str, shown: str, **arguments: Any) -> datasets.Dataset:
  try:
    return datasets.load_dataset(**arguments)
  except Exception as error:  # every reader behind it raises errors of its own
    cause = error.__cause__ or error
    text = " ".join(str(cause).split())[:300]
    raise InputError(f"{field}.path: {shown}: cannot be loaded: {type(cause).__name__}: {text}") from None


def _sha256(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
