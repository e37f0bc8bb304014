"""Opens the sets that a policy is evaluated on, and applies the window of dates.

A set is given as a name of NAMED, a file (JSON or parquet), a records folder, module:function, a set on the hub
(OWNER/NAME[:SUBSET[:SPLIT]], split `test` by default), or a folder with a set downloaded from the hub.
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
  """Location of a published set.

  Attributes:
    files: stems of its possible files in a data folder. The first that exists is read.
    hub: its name on the hub, or the address of its files there.
    columns: names of the hub's columns that our adapters know by another name -> our name.
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
  # `datasets` no longer runs this set's loading script, so we read its files directly, all releases together.
  "lcb": Published(("lcb", "livecodebench"), "hf://datasets/livecodebench/code_generation_lite/test*.jsonl"),
}
_HUB = re.compile(r"([\w.-]+/[\w.-]+)(?::([\w.-]*))?(?::([\w.-]+(?:\[[\d:%-]*\])?))?")


@dataclasses.dataclass(frozen=True)
class Window:
  """Range of days, both ends included. None leaves that end open."""

  first: datetime.date | None = None
  last: datetime.date | None = None

  def __bool__(self) -> bool:
    return self.first is not None or self.last is not None

  def __contains__(self, day: datetime.date) -> bool:
    return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


@dataclasses.dataclass(frozen=True)
class EvalSet:
  """An opened set.

  Attributes:
    place: where it was found, as shown to the user.
    window: the window that was applied to its rows. Both ends are open if the rows have no dates.
  """

  name: str
  place: str
  problems: tuple[Problem, ...]
  window: Window


def open_sets(
  specs: Sequence[str], data: Path | None, *, limit: int = 0, window: Window | None = None
) -> list[EvalSet]:
  """Opens every set.

  Args:
    specs: sets, as described at the top of this module.
    data: folder that is searched for short names before the hub.
    limit: number of problems to take from each set, counted within the window. 0 takes all.
    window: contest dates to keep. Only sets like LiveCodeBench have them. Sets without dates are kept complete.

  Raises:
    InputError: a set cannot be read, or there is a window but no set has dates. The message names the set, the file or
      the row.
  """
  window = window or Window()
  sets = [_open(spec, data, limit, window) for spec in specs]
  for before, after in itertools.combinations(sets, 2):
    if before.name == after.name:
      raise InputError(f"--sets: {before.place} and {after.place} have one name, {after.name}, expected each name once")
  if window and not any(set_.window for set_ in sets):
    raise InputError(f"--from, --to: no set of {', '.join(specs)} has rows with a {DATE}, expected a set like lcb")
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
  """Returns (name, place, stem of the ids, rows, format) of a set."""
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
  if path.is_dir() and not is_records(spec):  # a set downloaded from the hub
    return name, spec, path.name, _hub_rows(spec, Published((), spec), ""), "auto"
  hub = _HUB.fullmatch(spec)
  if hub and not path.exists() and not path.name.endswith(FILES):
    published = Published((), hub[1], hub[2] or None, hub[3] or "test")
    return re.sub(r"[^\w.-]", "_", spec), spec, hub[1].rpartition("/")[2], _hub_rows(spec, published, ""), "auto"
  if not (path.name.endswith(FILES) or path.exists() or is_callable_spec(spec)):
    raise InputError(
      f"--sets: {spec}: expected one of {', '.join(NAMED)}, a file ending in {', '.join(FILES[:-1])} or {FILES[-1]}, "
      "a records folder, a folder downloaded from the hub, module:function, or OWNER/NAME[:SUBSET[:SPLIT]] on the hub"
    )
  stem, rows, native = placed_rows(spec)
  return name, spec, stem, rows, "native" if native or is_records(spec) else "auto"


def _hub_rows(spec: str, published: Published, looked: str) -> Iterator[PlacedRow]:
  """Yields the rows of a set on the hub, with our column names."""
  import datasets  # imported late, because it takes seconds and local files do not need it

  datasets.disable_progress_bars()
  datasets.utils.logging.set_verbosity_error()
  lines = published.hub.startswith("hf://")
  try:
    if lines:  # reads lines of text, since the rows need not share one schema
      opened = datasets.load_dataset("text", data_files=published.hub, split="train")
    else:
      opened = datasets.load_dataset(published.hub, published.subset, split=published.split)
  except Exception as error:  # each reader behind `datasets` raises its own kinds of errors
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
  """Returns True if the first row of a set has a date or is LiveCodeBench's, whose rows must have one."""
  _, row = placed
  if not isinstance(row, Mapping):
    return False  # reading the row reports the error with its place
  if row.get(DATE) is not None:
    return True
  try:
    return format == "auto" and detect_format([row]) == "livecodebench"
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
