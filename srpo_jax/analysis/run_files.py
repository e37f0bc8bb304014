"""Reads the files of a run, for figures, reports, notebooks and replay. Writes nothing.

Tables are pyarrow tables. `.to_pandas()` converts one if pandas is installed.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from srpo_jax.training.workdir import HISTORY_SCHEMA, ROLLOUT_SCHEMA, numbers, open_parquet, read_rows
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.jsonl import read_json
from srpo_jax.utils.paths import as_path, is_local

JsonRow = dict[str, Any]


class RunFiles:
  """The files that a run has written so far. It reads `config` and `metrics` at once, and the other files on demand.

  Raises:
    InputError: `path` is not the workdir of a run that has completed a step.
  """

  def __init__(self, path: str | Path):
    self.path = as_path(path)
    if not (self.path / "config.json").is_file():
      raise InputError(f"{self.path}: no config.json, expected the workdir of a run")
    self.config: JsonRow = read_json(self.path / "config.json")
    self.metrics: list[JsonRow] = read_rows(self.path / "metrics.jsonl")
    if not isinstance(self.config.get("model"), dict):
      raise InputError(f"{self.path / 'config.json'}: field model: expected an object, as launch writes it")
    if not self.metrics:
      raise InputError(f"{self.path / 'metrics.jsonl'}: no step yet, expected at least one")
    _check(self.path / "metrics.jsonl", self.metrics, {"step": int, "stage": int})

  @functools.cached_property
  def evals(self) -> list[JsonRow]:
    """Returns the rows of eval.jsonl. Raises InputError, which names the row, for a bad row."""
    rows = read_rows(self.path / "eval.jsonl")
    _check(self.path / "eval.jsonl", rows, {"step": int, "set": str})
    return rows

  def step_metrics(self, step: int) -> JsonRow:
    """Returns a step's row of metrics.jsonl. Raises InputError if there is none."""
    row = next((row for row in self.metrics if row["step"] == step), None)
    if row is None:
      raise InputError(f"{self.path / 'metrics.jsonl'}: no row of step {step}")
    return row

  @property
  def name(self) -> str:
    return (self.path.resolve() if is_local(self.path) else self.path).name

  @property
  def domains(self) -> list[str]:
    return [key.removesuffix("/pool_size") for key in self.metrics[-1] if key.endswith("/pool_size")]

  @property
  def steps(self) -> list[int]:
    """Returns the steps with recorded rollouts, in order."""
    return numbers(self.path / "rollouts", "step")

  def rollouts(
    self,
    columns: Sequence[str] | None = None,
    *,
    steps: Sequence[int] | None = None,
    prompts: Sequence[str] | None = None,
  ) -> pa.Table:
    """Returns the rows of rollouts as workdir.ROLLOUT_SCHEMA, in the order of the steps.

    Args:
      columns: names of the columns to read. None reads all.
      steps: steps to read. None reads all.
      prompts: ids of the prompts to keep. None keeps all.

    Raises:
      InputError: a step has no file, or a file cannot be read.
    """
    files = [self.rollouts_file(step) for step in (self.steps if steps is None else steps)]
    keep = None if prompts is None else [("prompt_id", "in", list(prompts))]
    schema = ROLLOUT_SCHEMA if columns is None else pa.schema([ROLLOUT_SCHEMA.field(name) for name in columns])
    return pa.concat_tables([schema.empty_table(), *(_read(file, schema, keep) for file in files)])

  def rollouts_file(self, step: int) -> Path:
    """Returns the file of a step's rollouts, whether or not it exists."""
    return self.path / f"rollouts/step_{step:06d}.parquet"

  def step_groups(self, step: int, samples: int) -> list[list[JsonRow]]:
    """Returns the rollouts of a step in the order of the file, as a list of `samples` rows for each prompt.

    Raises:
      InputError: there is no such step, or its file does not hold the rollouts of a step.
    """
    file = self.rollouts_file(step)
    if not file.is_file():
      known = f"{self.steps[0]} to {self.steps[-1]}" if self.steps else "none"
      raise InputError(f"{file}: no such file; the recorded steps are {known}")
    try:
      with open_parquet(file) as stream:
        table = pq.read_table(stream)
    except (pa.ArrowException, OSError) as error:
      raise InputError(f"{file}: cannot be read: {error}") from None
    if table.schema != ROLLOUT_SCHEMA or len(table) % samples or not len(table):
      raise InputError(f"{file}: expected the rollouts of a step, {samples} a prompt")
    rows = table.to_pylist()
    return [rows[start : start + samples] for start in range(0, len(rows), samples)]

  def history(self, domain: str, epoch: int) -> pa.Table:
    """Returns one row for each prompt of an epoch that has ended, as workdir.HISTORY_SCHEMA."""
    return _read(self.path / f"history/{domain}/epoch_{epoch:03d}.parquet", HISTORY_SCHEMA, None)

  def epochs(self, domain: str) -> list[int]:
    """Returns the epochs of a domain that have ended, in order."""
    return numbers(self.path / "history" / domain, "epoch")


def _check(file: Path, rows: Sequence[Any], fields: Mapping[str, type]) -> None:
  for number, row in enumerate(rows, 1):
    for field, kind in fields.items():
      if not isinstance(row, dict) or not isinstance(row.get(field), kind):
        raise InputError(f"{file}:{number}: field {field}: expected {'a whole number' if kind is int else 'text'}")


def _read(file: Path, schema: pa.Schema, keep: Any) -> pa.Table:
  try:
    with open_parquet(file) as stream:
      return pq.read_table(stream, columns=schema.names, filters=keep).select(schema.names).cast(schema)
  except (pa.ArrowException, OSError, KeyError, ValueError) as error:
    reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
    raise InputError(f"{file}: {reason}, expected a parquet file of a run") from None
