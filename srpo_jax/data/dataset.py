"""Loads data sets from files, records folders and users' callables as checked problems with distinct ids."""

import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import pyarrow.parquet as pq

from srpo_jax.data import sources
from srpo_jax.data.records import Records
from srpo_jax.data.records_folder import is_records
from srpo_jax.types import Problem
from srpo_jax.utils import plugins
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.fields import names
from srpo_jax.utils.jsonl import json_rows
from srpo_jax.utils.paths import local_copy

JSON_LINES = (".jsonl", ".json-lines")
FILES = (*JSON_LINES, ".json", ".jsonl.gz", ".json.gz", ".parquet")

# (place, row). The place names the row in messages, for example "train.jsonl:7".
PlacedRow = tuple[str, Any]

SetProblems = tuple[str, Sequence[Problem]]  # (spec of a set, its problems)


class RecordProblems(Sequence[Problem]):
  """Lazy sequence of the problems in a records folder, by record index.

  Args of the constructor:
    folder: records folder that `records_writer.write_records` wrote.
    limit: largest number of records to use, from the start; 0 for all.

  Raises InputError that names the folder and, if a record is damaged, the record.
  """

  def __init__(self, folder: str | Path, limit: int = 0):
    self.records = Records(folder)
    self._n = min(limit or len(self.records), len(self.records))

  def column(self, field: str) -> list[Any]:
    """Returns the id, domain, difficulty or pass_rate of every problem without reading the problems."""
    return self.records.column(field)[: self._n]

  def __len__(self) -> int:
    return self._n

  @overload
  def __getitem__(self, index: int) -> Problem: ...
  @overload
  def __getitem__(self, index: slice) -> tuple[Problem, ...]: ...
  def __getitem__(self, index: int | slice) -> Problem | tuple[Problem, ...]:
    places = range(self._n)[index]
    if isinstance(places, int):
      return self._problem(places, self.records[places])
    return tuple(map(self._problem, places, self.records.rows(places)))

  def __iter__(self) -> Iterator[Problem]:
    return map(self._problem, range(self._n), self.records)

  def _problem(self, index: int, row: Mapping[str, Any]) -> Problem:
    try:
      return sources.from_native(row, "")
    except InputError as error:
      raise InputError(f"{self.records.folder}: record {index}: {error}") from error


def open_problems(
  spec: str, *, format: str = "auto", limit: int = 0, kwargs: Mapping[str, Any] | None = None
) -> Sequence[Problem]:
  """Opens the problems of `spec`, lazily if it is a records folder. Other specs are loaded as by `load_problems`.

  Arguments and errors are the same as in `load_problems`. All ids are distinct. `column` returns them without reading
  the problems.
  """
  if not is_records(spec):
    return load_problems(spec, format=format, limit=limit, kwargs=kwargs)
  if format not in ("auto", "native"):
    raise InputError(f"{spec}: data format {format!r}: expected auto or native for a records folder")
  if kwargs:
    raise InputError(f"{spec}: data kwargs ({', '.join(kwargs)}) are for a module:function only")
  if limit < 0:
    raise InputError(f"data limit {limit}: expected 0 (all rows) or more")
  return RecordProblems(spec, limit)


def open_problem_sets(specs: str, *, format: str = "auto", limit: int = 0) -> list[SetProblems]:
  """Opens each of the comma-separated `specs`. Arguments and errors are the same as in `open_problems`."""
  return [(spec, open_problems(str(local_copy(spec)), format=format, limit=limit)) for spec in names(specs)]


def open_rows(
  spec: str, *, format: str = "auto", limit: int = 0, kwargs: Mapping[str, Any] | None = None
) -> tuple[Sequence[Problem], Sequence[Mapping[str, Any]]]:
  """Returns the problems of `open_problems` and, at the same indices, their rows in the native schema.

  A row in the native or plain format keeps the fields that a problem does not have. A row in another format gets only
  the fields of its problem. Arguments and errors are the same as in `load_problems`.
  """
  if is_records(spec):
    lazy = open_problems(spec, format=format, limit=limit, kwargs=kwargs)
    assert isinstance(lazy, RecordProblems)
    return lazy, lazy.records
  problems, raw, format = _load(spec, format, limit, kwargs or {})
  own = format in ("native", "plain")
  rows = [
    dict(row if own else {}) | {k: v for k, v in sources.as_row(problem).items() if v is not None}
    for row, problem in zip(raw, problems, strict=True)
  ]
  return problems, rows


def column(problems: Sequence[Problem], field: str) -> list[Any]:
  """Returns the id, domain, difficulty or pass_rate of every problem. It reads no record of a records folder."""
  return problems.column(field) if isinstance(problems, RecordProblems) else [getattr(p, field) for p in problems]


def load_problems(
  spec: str, *, format: str = "auto", limit: int = 0, kwargs: Mapping[str, Any] | None = None
) -> tuple[Problem, ...]:
  """Loads the problems of `spec` in order.

  Args:
    spec: a file with an ending in FILES (JSON files hold one row a line or an array of rows), a records folder, or
      `module:function`, a callable that returns an iterable of `Problem` or of rows.
    format: name of an adapter in `sources.ADAPTERS`, or "auto". With "auto", the first rows decide for a file, and
      the rows of a callable are native.
    limit: largest number of rows to read; 0 for all.
    kwargs: keyword arguments for the callable.

  Returns:
    At least one problem. A row without an id gets `<stem>-<row index, 6 digits>`. The stem of a callable is its name.

  Raises:
    InputError: one line with the file, the line or row, and the expected content.
  """
  if is_records(spec):
    return tuple(open_problems(spec, format=format, limit=limit, kwargs=kwargs))
  return _load(spec, format, limit, kwargs or {})[0]


def _load(
  spec: str, format: str, limit: int, kwargs: Mapping[str, Any]
) -> tuple[tuple[Problem, ...], list[Mapping[str, Any]], str]:
  """Returns the problems of a file or a callable, the rows they come from, and the adapter's name."""
  if format != "auto" and format not in sources.ADAPTERS:
    raise InputError(f"data format {format!r}: expected one of auto, {', '.join(sources.ADAPTERS)}")
  if limit < 0:
    raise InputError(f"data limit {limit}: expected 0 (all rows) or more")
  stem, placed, own = _open(spec, kwargs)
  placed, format = itertools.islice(placed, limit or None), "native" if own and format == "auto" else format
  problems, raw, format = as_problems(placed, stem=stem, format=format)
  if not problems:
    raise InputError(f"{spec}: expected at least one row, found none")
  return problems, raw, format


def as_problems(
  placed: Iterable[PlacedRow], *, stem: str, format: str = "auto"
) -> tuple[tuple[Problem, ...], list[Mapping[str, Any]], str]:
  """Converts rows to problems. Returns the problems, the rows they come from, and the adapter's name.

  Args:
    placed: the rows with their places.
    stem: stem of the ids given to rows without one.
    format: the adapter's name, or "auto" to choose it by the first rows.

  Raises:
    InputError: names the place of a malformed row or of a repeated id.
  """
  raw: list[Mapping[str, Any]] = []
  problems: list[Problem] = []
  first_seen: dict[str, str] = {}
  placed = iter(placed)
  first = list(itertools.islice(placed, sources.FIRST_ROWS))
  for index, (place, row) in enumerate(itertools.chain(first, placed)):
    if not isinstance(row, Mapping):
      raise InputError(f"{place}: expected an object with named fields, got {type(row).__name__}")
    try:
      if format == "auto":
        format = sources.detect_format([row for _, row in first if isinstance(row, Mapping)])
      problem = sources.ADAPTERS[format](row, f"{stem}-{index:06d}")
    except InputError as error:
      raise InputError(f"{place}: {error}") from error
    if problem.id in first_seen:
      raise InputError(f"{place}: field id: {problem.id!r} is already the id of {first_seen[problem.id]}")
    first_seen[problem.id] = place
    problems.append(problem)
    raw.append(row)
  return tuple(problems), raw, format


def placed_rows(spec: str) -> tuple[str, Iterator[PlacedRow], bool]:
  """Returns the stem for ids, the unconverted rows of `spec`, and True if they are native. See `load_problems`."""
  if not is_records(spec):
    return _open(spec, {})
  rows = Records(spec)
  return Path(spec).stem, ((f"{spec}: record {index}", row) for index, row in enumerate(rows)), True


def file_stem(path: Path) -> str:
  """Returns a file's name without its ending. It removes both endings of test.jsonl.gz."""
  return next((path.name.removesuffix(ending) for ending in FILES if path.name.endswith(ending)), path.stem)


def set_name(spec: str) -> str:
  """Returns the name of a set in eval.jsonl. It is the function of module:function, or else the file's stem."""
  return spec.rpartition(":")[2] if plugins.is_callable_spec(spec) else file_stem(Path(spec))


def _open(spec: str, kwargs: Mapping[str, Any]) -> tuple[str, Iterator[PlacedRow], bool]:
  """Returns the stem for ids, the rows, and True if a user's callable made them."""
  path = Path(spec)
  if plugins.is_callable_spec(spec) and not path.exists():
    return spec.rpartition(":")[2], _callable_rows(spec, kwargs), True
  if kwargs:
    raise InputError(f"{spec}: data kwargs ({', '.join(kwargs)}) are for a module:function only")
  if not path.name.endswith(FILES):
    raise InputError(
      f"{spec}: expected a file ending in {', '.join(FILES[:-1])} or {FILES[-1]}, a folder with a data set's "
      "dataset_info.json, or module:function"
    )
  if not path.is_file():
    raise InputError(f"{spec}: no such file")
  return file_stem(path), _parquet_rows(path) if path.suffix == ".parquet" else json_rows(path), False


def _parquet_rows(path: Path) -> Iterator[PlacedRow]:
  index = 0
  try:
    with pq.ParquetFile(path) as file:
      for batch in file.iter_batches(batch_size=1024):
        for row in batch.to_pylist():
          yield f"{path}: row {index}", row
          index += 1
  except (pa.ArrowException, OSError) as error:
    raise InputError(f"{path}: expected a parquet file: {' '.join(str(error).split())}") from error


def _callable_rows(spec: str, kwargs: Mapping[str, Any]) -> Iterator[PlacedRow]:
  function = plugins.resolve_callable(spec)
  try:
    inspect.signature(function).bind(**kwargs)
  except TypeError as error:
    raise InputError(f"{spec}: its arguments do not fit data kwargs: {error}") from error
  try:
    rows = function(**kwargs)
    if not isinstance(rows, Iterable):
      raise InputError(f"{spec}: expected an iterable of rows, got {type(rows).__name__}")
    for index, row in enumerate(rows):
      yield f"{spec}: row {index}", _as_row(row)
  except InputError:
    raise
  except Exception as error:  # a user's own code may fail in any way
    raise InputError(f"{spec}: failed: {type(error).__name__}: {error}") from error


def _as_row(row: Any) -> Any:
  """Converts a user's Problem to a row, so that it is checked like any other row."""
  return sources.as_row(row) if isinstance(row, Problem) else row
