"""Files of a run, written by one process. Each step appears exactly once in every file, even after a kill and resume.

    config.json  metrics.jsonl  eval.jsonl  rollouts/step_000000.parquet  history/DOMAIN/epoch_000.parquet
    heldout/SET/step_000000.parquet (responses of an evaluation)
    checkpoints/STEP/  tb/  model/ (config.json and tokenizer of the base)

A workdir is a local folder or a folder on gs://, which is an object store. An object store has no append, so adding a
row means reading and rewriting the file. That is 1.5 kB per step, or half a second at step 10,000, where steps take
minutes. A write there is all or nothing, so no partial files are needed. It has no lock that is released when a process
ends. Instead, the last process that opens the workdir owns it and writes its id into `.owner`. An earlier run ends when
it next tries to write a file.
"""

import fcntl
import io
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from srpo_jax.algorithm.history import Pool
from srpo_jax.utils.errors import InputError, TrainingError
from srpo_jax.utils.paths import CHECK, as_path, is_local
from srpo_jax.utils.quiet import hidden

MARKS = (".lock", ".owner", CHECK)  # files that mark ownership and are not part of a run
RESPONSE_FIELDS = [  # columns of a response, here and in evaluations
  ("sample", pa.int32()),
  ("prompt", pa.string()),
  ("response", pa.string()),
  ("token_ids", pa.list_(pa.int32())),
  ("sampler_logprobs", pa.list_(pa.float32())),  # under the sampled distribution, after temperature and top-p
  ("n_tokens", pa.int32()),
  ("truncated", pa.bool_()),
  ("format", pa.int32()),
  ("correct", pa.int32()),  # null: not judged
  ("pass_fraction", pa.float32()),
  ("reason", pa.string()),
  ("language_mix", pa.int32()),
  ("reward", pa.float32()),  # null: not judged
]
ROLLOUT_SCHEMA = pa.schema(
  [
    ("step", pa.int32()),
    ("stage", pa.int32()),
    ("domain", pa.string()),
    ("epoch", pa.int32()),
    ("prompt_id", pa.string()),
    *RESPONSE_FIELDS,
    ("advantage", pa.float32()),
  ]
)
HELDOUT_SCHEMA = pa.schema([("prompt_id", pa.string()), *RESPONSE_FIELDS])
HISTORY_SCHEMA = pa.schema(
  [
    ("prompt_id", pa.string()),
    ("record", pa.int32()),  # index of the prompt's row in its data set
    ("domain", pa.string()),
    ("epoch", pa.int32()),
    ("n", pa.int32()),
    ("n_correct", pa.int32()),
    ("n_truncated", pa.int32()),
    ("n_unjudged", pa.int32()),
    ("mean_reward", pa.float32()),  # over judged rollouts, null if none was judged
    ("retained", pa.bool_()),
  ]
)


class Workdir:
  """An open run directory, locked against a second writer until `close`."""

  def __init__(self, path: str | Path, *, tensorboard: bool = True):
    self.path = as_path(path)
    self._lock, self._id = None, uuid.uuid4().hex
    if is_local(self.path):
      self.path.mkdir(parents=True, exist_ok=True)
      self._lock = (self.path / ".lock").open("w")
      try:
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except OSError:
        raise InputError(f"{self.path}: another process is writing this workdir") from None
    else:
      write_text(self.path / ".owner", self._id)
    self._tensorboard = tensorboard
    self._events: _Events | None = None

  def check_owner(self) -> None:
    """Raises TrainingError if another process has opened the workdir since. On gs:// no lock prevents that."""
    if self._lock is None and (self.path / ".owner").read_text() != self._id:
      raise TrainingError(f"{self.path}: another process has taken over this workdir, nothing more is written here")

  def rewind(self, step: int, epochs: Mapping[str, int]) -> None:
    """Drops all rows after the first `step` updates, and finished epochs that are not before `epochs`.

    Args:
      epochs: domain -> its current epoch.
    """
    _keep_until(self.path / "metrics.jsonl", step - 1)
    _keep_until(self.path / "eval.jsonl", step)
    for file, number in _numbered(self.path.glob("rollouts/step_*")):
      if file.suffix == ".partial" or number >= step:
        file.unlink()
    for file, number in _numbered(self.path.glob("heldout/*/step_*")):
      if file.suffix == ".partial" or number > step:
        file.unlink()
    for file, number in _numbered(self.path.glob("history/*/epoch_*")):
      if file.suffix == ".partial" or number >= epochs.get(file.parent.name, 0):
        file.unlink()
    if self._events is not None:
      self._events.close()
      self._events = None
    _remove(self.path / "tb")
    if self._tensorboard:
      self._events = _Events(self.path / "tb")
      for row in read_rows(self.path / "metrics.jsonl"):
        self._events.add(row)
      self._events.publish()

  def write_metrics(self, row: Mapping[str, Any]) -> None:
    self.check_owner()
    _append(self.path / "metrics.jsonl", row)
    if self._events is not None:
      self._events.add(row)
      self._events.publish()

  def write_eval(self, row: Mapping[str, Any]) -> None:
    self.check_owner()
    _append(self.path / "eval.jsonl", row)

  def write_rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
    self.check_owner()
    _write_parquet(self.path / f"rollouts/step_{step:06d}.parquet", rows, ROLLOUT_SCHEMA)

  def write_heldout(self, step: int, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the sampled responses of an evaluation on the held-out set `name`."""
    self.check_owner()
    _write_parquet(self.path / f"heldout/{name}/step_{step:06d}.parquet", rows, HELDOUT_SCHEMA)

  def write_history(self, pool: Pool, retained: Iterable[str], record: Callable[[str], int]) -> None:
    """Writes one row per prompt that was visited in the epoch that ended.

    Args:
      retained: ids of the prompts of the next epoch.
      record: returns the index of a prompt's row in its data set.
    """
    self.check_owner()
    kept = set(retained)
    rows = [
      {
        "prompt_id": prompt,
        "record": record(prompt),
        "domain": pool.domain,
        "epoch": pool.epoch,
        "n": seen.n,
        "n_correct": seen.n_correct,
        "n_truncated": seen.n_truncated,
        "n_unjudged": seen.n_unjudged,
        "mean_reward": seen.mean_reward,
        "retained": prompt in kept,
      }
      for prompt, seen in ((p, pool.history[p]) for p in pool.prompts if p in pool.history)
    ]
    _write_parquet(self.path / f"history/{pool.domain}/epoch_{pool.epoch:03d}.parquet", rows, HISTORY_SCHEMA)

  def close(self) -> None:
    if self._events is not None:
      self._events.close()
    if self._lock is not None:
      self._lock.close()


class _Events:
  """TensorBoard events. For an object store they are written to a local folder and copied after every row."""

  def __init__(self, folder: Path):
    self._folder = folder
    self._local = None if is_local(folder) else tempfile.TemporaryDirectory(prefix="srpo_jax-tb-")
    with hidden("torch"):  # tensorboardX imports it if it is there, which takes seconds, and needs it only for images
      from tensorboardX import SummaryWriter
    self._writer = SummaryWriter(str(folder) if self._local is None else self._local.name)

  def add(self, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
      if name != "step" and isinstance(value, (int, float)):
        self._writer.add_scalar(name, value, row["step"])

  def publish(self) -> None:
    if self._local is not None:  # a thread writes the events, so the last rows may be missing until the next call
      for file in Path(self._local.name).iterdir():
        (self._folder / file.name).write_bytes(file.read_bytes())

  def close(self) -> None:
    self._writer.close()
    self.publish()
    if self._local is not None:
      self._local.cleanup()


class ReadOnlyWorkdir(Workdir):
  """Workdir for processes that do not write, because one process writes for all. Its write methods do nothing."""

  def __init__(self, path: str | Path):
    self.path = as_path(path)

  def rewind(self, step: int, epochs: Mapping[str, int]) -> None: ...

  def write_metrics(self, row: Mapping[str, Any]) -> None: ...

  def write_eval(self, row: Mapping[str, Any]) -> None: ...

  def write_rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None: ...

  def write_heldout(self, step: int, name: str, rows: Sequence[Mapping[str, Any]]) -> None: ...

  def write_history(self, pool: Pool, retained: Iterable[str], record: Callable[[str], int]) -> None: ...

  def close(self) -> None: ...


def open_parquet(file: Path) -> Any:
  """Opens a file for reading by pyarrow. The caller closes it.

  pyarrow opens local files itself. Its reader threads may outlive the reading of a damaged file. If they hold a Python
  stream when the interpreter exits, they abort the process (exit status 134, and the error's line is lost).
  """
  return pa.OSFile(str(file)) if is_local(file) else file.open("rb")


def read_rows(file: Path) -> list[dict[str, Any]]:
  """Returns the rows of a JSON Lines file, or no rows if the file does not exist.

  A last line that was cut by a kill (invalid and without a newline) is left out.

  Raises:
    InputError: another line is not JSON.
  """
  if not file.exists():
    return []
  with file.open("rb") as stream:
    lines = stream.readlines()  # bytes, because str.splitlines also splits at characters that JSON allows in a line
  rows = []
  for number, line in enumerate(lines, 1):
    if line.strip():
      try:
        rows.append(json.loads(line))
      except (ValueError, RecursionError):
        if number < len(lines) or line.endswith(b"\n"):
          raise InputError(f"{file}:{number}: not JSON") from None
  return rows


def numbers(folder: Path, kind: str) -> list[int]:
  """Returns the numbers in the names of a folder's parquet files of a `kind` ("step" or "epoch"), in order."""
  return sorted(number for _, number in _numbered(folder.glob(f"{kind}_*.parquet")))


def _append(file: Path, row: Mapping[str, Any]) -> None:
  line = json.dumps(row, allow_nan=False) + "\n"
  if is_local(file):
    with file.open("a") as out:
      out.write(line)
  else:
    write_text(file, (file.read_text() if file.exists() else "") + line)


def _keep_until(file: Path, last: int) -> None:
  """Drops a file's rows after step `last`. Raises InputError for a row without a step."""
  rows = read_rows(file)
  for number, row in enumerate(rows, 1):
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
      raise InputError(f"{file}:{number}: field step: expected a whole number")
  if file.exists():
    write_text(file, "".join(json.dumps(row) + "\n" for row in rows if row["step"] <= last))


def write_text(file: Path, text: str) -> None:
  """Writes a file atomically. If writing fails, an existing file stays as it was."""
  if not is_local(file):
    file.write_text(text)
    return
  partial = file.with_name(file.name + ".partial")
  partial.write_text(text)
  os.replace(partial, file)


def _remove(folder: Path) -> None:
  """Removes a folder and everything in it, if it exists."""
  if is_local(folder):
    shutil.rmtree(folder, ignore_errors=True)
  elif folder.exists():
    folder.rmtree()  # type: ignore[attr-defined]


def _numbered(files: Iterable[Path]) -> Iterator[tuple[Path, int]]:
  """Yields the files that this module wrote, with their step or epoch. Other files are skipped."""
  for file in files:
    match = re.fullmatch(r"(?:step|epoch)_(\d+)\.(?:parquet|partial)", file.name)
    if match:
      yield file, int(match[1])


def _write_parquet(file: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
  table = pa.Table.from_pylist(list(rows), schema=schema)
  if not is_local(file):
    whole = io.BytesIO()
    pq.write_table(table, whole)
    file.write_bytes(whole.getvalue())
    return
  file.parent.mkdir(parents=True, exist_ok=True)
  partial = file.with_suffix(".partial")
  pq.write_table(table, partial)
  os.replace(partial, file)
