"""The sets that a policy is evaluated on: their names, where each is found, and the window of dates.

A set is one of NAMED, or a file (JSON or parquet), a records folder, module:function, or a set on the hub as
OWNER/NAME[:SUBSET[:SPLIT]] (split `test` where none is given), or a folder that is such a set downloaded.
"""

import dataclasses
import datetime
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from srpo_jax.data.dataset import FILES, PlacedRow, as_problems, placed_rows, set_name
from srpo_jax.data.records_folder import is_records
from srpo_jax.data.sources import detect_format
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import parse_line
from srpo_jax.utils.plugins import is_callable_spec

DATE = "contest_date"


@dataclasses.dataclass(frozen=True)
class Published:
  """A set that has a short name.

  Attributes:
    files: stems of the files that hold it in a data folder; the first that is there is taken.
    hub: its name on the hub, or the address of its files there.
    columns: those of the hub's rows that our adapters know by another name.
  """

  files: tuple[str, ...]
  hub: str
  subset: str | None = None
  split: str = "test"
  columns: Mapping[str, str] = dataclasses.field(default_factory=dict)


NAMED: Mapping[str, Published] = {
  "aime24": Published(("aime24",), "HuggingFaceH4/aime_2024", split="train"),
  "amc23": Published(("amc23",), "math-ai/amc23", columns={"question": "problem"}),
  "math500": Published(("math500",), "HuggingFaceH4/MATH-500"),
  "gsm8k": Published(("gsm8k", "gsm8k_test"), "openai/gsm8k", subset="main"),
  "humaneval": Published(("humaneval",), "openai/openai_humaneval"),
  "mbpp": Published(("mbpp",), "google-research-datasets/mbpp", subset="sanitized"),
  # Its loading script is no longer run by `datasets`: its files, all releases together.
  "lcb": Published(("lcb", "livecodebench"), "hf://datasets/livecodebench/code_generation_lite/test*.jsonl"),
}
_HUB = re.compile(r"([\w.-]+/[\w.-]+)(?::([\w.-]*))?(?::([\w.-]+(?:\[[\d:%-]*\])?))?")


@dataclasses.dataclass(frozen=True)
class Window:
  """Days, both included; None: open on that side."""

  first: datetime.date | None = None
  last: datetime.date | None = None

  def __bool__(self) -> bool:
    return self.first is not None or self.last is not None

  def __contains__(self, day: datetime.date) -> bool:
    return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


@dataclasses.dataclass(frozen=True)
class EvalSet:
  """An opened set. `window`: that which was applied to it, open on both sides where it has no dates."""

  name: str
  place: str
  problems: tuple[Problem, ...]
  window: Window


def open_sets(
  specs: Sequence[str], data: Path | None, *, limit: int = 0, window: Window | None = None
) -> list[EvalSet]:
  """Opens every set.

  Args:
    specs: see above.
    data: folder in which short names are looked for before the hub.
    limit: first problems of each set alone, after the window; 0: all.
    window: of the rows with a contest date, as LiveCodeBench's have; sets without dates are taken whole.

  Raises:
    InputError: naming the set, the file or the row; also for a window that no set has dates for.
  """
  window = window or Window()
  sets = [_open(spec, data, limit, window) for spec in specs]
  for before, after in itertools.combinations(sets, 2):
    if before.name == after.name:
      raise InputError(f"--sets: {before.place} and {after.place} have one name, {after.name}, expected each name once")
  if window and not any(set_.window for set_ in sets):
    raise InputError(f"--from, --to: no set of {', '.join(specs)} has rows with a {DATE}, expected LiveCodeBench's")
  return sets


def _open(spec: str, data: Path | None, limit: int, window: Window) -> EvalSet:
  name, place, stem, rows, format = _find(spec, data)
  first = next(rows, None)
  if first is None:
    raise InputError(f"{place}: expected at least one row, found none")
  rows, dated = itertools.chain([first], rows), bool(window) and _has_dates(first, format)
  if dated:
    rows = (placed for placed in rows if _day(placed) in window)
  problems = as_problems(itertools.islice(rows, limit or None), stem=stem, format=format)[0]
  if not problems:
    raise InputError(f"{place}: --from, --to: no row has a {DATE} in the window")
  return EvalSet(name, place, problems, window if dated else Window())


def _find(spec: str, data: Path | None) -> tuple[str, str, str, Iterator[PlacedRow], str]:
  """(name, place, stem for ids, rows, format) of a set."""
  path = Path(spec)
  known = NAMED.get(spec)
  if known is not None:
    found = [data / f"{stem}{suffix}" for stem in known.files for suffix in FILES] if data is not None else []
    file = next((file for file in found if file.is_file()), None)
    if file is None:
      wanted = f"{known.files[0]}.jsonl or .parquet"
      looked = f"; {f'--data {data} has no {wanted}' if data else f'without --data, where {wanted} would be taken'}"
      return spec, known.hub, spec, _hub_rows(spec, known, looked), "auto"
    spec, path, name = str(file), file, spec
  else:
    name = re.sub(r"[^\w.-]", "_", set_name(spec))
  if path.is_dir() and not is_records(spec):  # as it is downloaded from the hub
    return name, spec, path.name, _hub_rows(spec, Published((), spec), ""), "auto"
  hub = _HUB.fullmatch(spec)
  if hub and not path.exists() and not path.name.endswith(FILES):
    published = Published((), hub[1], hub[2] or None, hub[3] or "test")
    return re.sub(r"[^\w.-]", "_", spec), spec, hub[1].rpartition("/")[2], _hub_rows(spec, published, ""), "auto"
  if not (path.name.endswith(FILES) or path.exists() or is_callable_spec(spec)):
    raise InputError(
      f"--sets: {spec}: expected one of {', '.join(NAMED)}, a file ending in {', '.join(FILES[:-1])} or {FILES[-1]}, "
      "a folder of records or as on the hub, module:function, or OWNER/NAME[:SUBSET[:SPLIT]] on the hub"
    )
  stem, rows, native = placed_rows(spec)
  return name, spec, stem, rows, "native" if native or is_records(spec) else "auto"


def _hub_rows(spec: str, published: Published, looked: str) -> Iterator[PlacedRow]:
  """The rows of a set on the hub."""
  import datasets  # imported late: it takes seconds, and files do not need it

  datasets.disable_progress_bars()
  datasets.utils.logging.set_verbosity_error()
  lines = published.hub.startswith("hf://")
  try:
    if lines:  # as lines of text, so that rows need not share one schema
      opened = datasets.load_dataset("text", data_files=published.hub, split="train")
    else:
      opened = datasets.load_dataset(published.hub, published.subset, split=published.split)
  except Exception as error:  # every reader behind it raises errors of its own
    cause = error.__cause__ or error
    text = " ".join(str(cause).split())[:200]
    raise InputError(
      f"--sets: {spec}: {published.hub} cannot be loaded: {type(cause).__name__}: {text}{looked}"
    ) from None
  for index, row in enumerate(opened):
    place = f"{published.hub}: row {index}"
    if lines:
      try:
        row = parse_line(row["text"].encode())
      except InputError as error:
        raise InputError(f"{place}: {error}") from error
    yield place, {published.columns.get(column, column): value for column, value in row.items()}


def _has_dates(placed: PlacedRow, format: str) -> bool:
  """Whether a set's rows have dates, by its first: LiveCodeBench's must."""
  _, row = placed
  if not isinstance(row, Mapping):
    return False  # told with its place when it is read
  if row.get(DATE) is not None:
    return True
  try:
    return format == "auto" and detect_format(row) == "livecodebench"
  except InputError:
    return False


def _day(placed: PlacedRow) -> datetime.date:
  place, row = placed
  value: Any = row.get(DATE) if isinstance(row, Mapping) else None
  if isinstance(value, str):
    try:
      return datetime.datetime.fromisoformat(value).date()
    except ValueError:
      pass
  elif isinstance(value, datetime.datetime):
    return value.date()
  elif isinstance(value, datetime.date):
    return value
  raise InputError(f"{place}: field {DATE}: expected a date for --from and --to, got {value!r}"[:300])
