"""Comparison of two runs' files, bit for bit, for tools/side_by_side.py.

Every function returns the differences in words, at most a few of them, and counts of what was compared.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

CLOCK = ("time", "throughput/")  # keys of wall-clock measurements begin with one of these
SHOWN = 3  # differences that are printed for each file


class Found:
  """Differences and counts, collected while files are compared."""

  def __init__(self) -> None:
    self.differences: list[str] = []
    self.counts: dict[str, int] = {}

  def differ(self, text: str) -> None:
    self.differences.append(text)

  def count(self, what: str, n: int = 1) -> None:
    self.counts[what] = self.counts.get(what, 0) + n

  def figures(self) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in self.counts.items())


def without_clock(value: Any) -> Any:
  """A JSON value with its wall-clock measurements, at any depth, replaced: the keys count and the numbers do not."""
  if isinstance(value, dict):
    return {k: CLOCK[0] if k.startswith(CLOCK) and is_number(v) else without_clock(v) for k, v in value.items()}
  return [without_clock(item) for item in value] if isinstance(value, list) else value


def is_number(value: Any) -> bool:
  return isinstance(value, (int, float)) and not isinstance(value, bool)


def leaves(value: Any, path: str = "") -> dict[str, Any]:
  """'a.b[0]' -> leaf of a JSON value. An empty object or array is a leaf."""
  if isinstance(value, dict) and value:
    return {k: v for key, item in value.items() for k, v in leaves(item, f"{path}.{key}" if path else key).items()}
  if isinstance(value, list) and value:
    return {k: v for i, item in enumerate(value) for k, v in leaves(item, f"{path}[{i}]").items()}
  return {path: value}


def same(a: Any, b: Any) -> bool:
  """Equality of value and type. NaN equals NaN, and 1 does not equal 1.0."""
  both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
  return both_nan or (type(a) is type(b) and a == b)


def compare_json(found: Found, where: str, before: Any, after: Any) -> None:
  """Compares two JSON values by their leaves, wall-clock numbers left out."""
  old, new = leaves(without_clock(before)), leaves(without_clock(after))
  missing = object()
  wrong = [k for k in {**old, **new} if not same(old.get(k, missing), new.get(k, missing))]
  for key in wrong[:SHOWN]:
    shown = [repr(side[key])[:60] if key in side else "absent" for side in (old, new)]
    found.differ(f"{where}: {key}: {shown[0]} before, {shown[1]} after")
  if len(wrong) > SHOWN:
    found.differ(f"{where}: {len(wrong) - SHOWN} more fields differ")


def rows_of(file: Path) -> list[Any]:
  return [json.loads(line) for line in file.read_bytes().splitlines() if line.strip()] if file.exists() else []


def compare_rows(found: Found, before: Path, after: Path) -> None:
  """Compares two JSON Lines files row by row."""
  old, new = rows_of(before), rows_of(after)
  if len(old) != len(new) or before.exists() != after.exists():
    found.differ(f"{before.name}: {len(old)} rows before, {len(new)} after")
  earlier = len(found.differences)
  for number, (a, b) in enumerate(zip(old, new, strict=False)):
    if len(found.differences) - earlier > 2 * SHOWN:
      found.differ(f"{before.name}: later rows not compared")
      break
    compare_json(found, f"{before.name} row {number}", a, b)
  found.count(f"rows of {before.name}", len(old))


def compare_parquet(found: Found, before: Path, after: Path, name: str) -> None:
  """Compares two tables: names and types of the columns, and every value's bits."""
  old, new = pq.read_table(before), pq.read_table(after)
  found.count("table rows", len(old))
  if old.schema != new.schema:
    differing = set(map(str, old.schema)) ^ set(map(str, new.schema))
    found.differ(f"{name}: columns differ: {', '.join(sorted(differing))}")
  elif len(old) != len(new):
    found.differ(f"{name}: {len(old)} rows before, {len(new)} after")
  elif before.read_bytes() != after.read_bytes() and not old.equals(new):
    wrong = [c for c in old.column_names if repr(old[c].to_pylist()) != repr(new[c].to_pylist())]
    if wrong:
      found.differ(f"{name}: values differ in {', '.join(wrong)}")


def compare_files(found: Found, before: Path, after: Path, pattern: str, compare: Callable[..., None]) -> None:
  """Compares the files of two folders that match a pattern. The sets of their names are equal too."""
  old, new = ({str(f.relative_to(root)) for f in root.glob(pattern) if f.is_file()} for root in (before, after))
  for name in sorted(old ^ new)[:SHOWN]:
    found.differ(f"{name}: only {'before' if name in old else 'after'}")
  for name in sorted(old & new):
    compare(found, before / name, after / name, name)
  found.count(f"files {pattern}", len(old & new))


def compare_bytes(found: Found, before: Path, after: Path, name: str) -> None:
  if before.read_bytes() != after.read_bytes():
    found.differ(f"{name}: bytes differ")


def checkpoint_steps(workdir: Path) -> list[int]:
  return sorted(int(folder.name) for folder in (workdir / "checkpoints").glob("*") if folder.name.isdigit())


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
  """Path in the tree -> array of one item of a checkpoint (params or opt_state)."""
  import warnings

  import jax
  import orbax.checkpoint as ocp

  warnings.filterwarnings("ignore", message="Sharding info not provided")
  with ocp.PyTreeCheckpointer() as reader:
    tree = reader.restore(folder.absolute())
  flat = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}


def compare_arrays(found: Found, where: str, old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> None:
  """Compares two trees of arrays: paths, dtypes, shapes and bits."""
  for path in sorted(old.keys() ^ new.keys())[:SHOWN]:
    found.differ(f"{where}: array {path}: only {'before' if path in old else 'after'}")
  for path in sorted(old.keys() & new.keys()):
    a, b = old[path], new[path]
    if (a.dtype, a.shape) != (b.dtype, b.shape):
      found.differ(f"{where}: array {path}: {a.dtype}{a.shape} before, {b.dtype}{b.shape} after")
    elif a.tobytes() != b.tobytes():
      n = int(np.count_nonzero(a != b))
      found.differ(f"{where}: array {path}: {n} of {a.size} numbers differ")
  found.count("arrays", len(old))
  found.count("numbers in arrays", sum(a.size for a in old.values()))


def compare_checkpoints(found: Found, before: Path, after: Path) -> None:
  """Compares every checkpoint: the arrays of params and opt_state with their paths, and the host's JSON."""
  old, new = checkpoint_steps(before), checkpoint_steps(after)
  if old != new or not old:
    found.differ(f"checkpoints: of steps {old} before, {new} after")
  for step in sorted(set(old) & set(new)):
    folders = before / "checkpoints" / str(step), after / "checkpoints" / str(step)
    for item in ("params", "opt_state"):
      metadata = [json.loads((folder / item / "_METADATA").read_text())["tree_metadata"] for folder in folders]
      compare_json(found, f"checkpoint {step} {item} _METADATA", *metadata)
      compare_arrays(found, f"checkpoint {step} {item}", *(arrays_of(folder / item) for folder in folders))
    hosts = [json.loads((folder / "host" / "metadata").read_text()) for folder in folders]
    compare_json(found, f"checkpoint {step} host", *hosts)
    found.count("host leaves", len(leaves(hosts[0])))
  found.count("checkpoints", len(old))


def compare_runs(found: Found, before: Path, after: Path, *, checkpoints: bool = True) -> None:
  """Compares everything that two runs wrote, but for config.json (fields are renamed) and TensorBoard's events."""
  compare_rows(found, before / "metrics.jsonl", after / "metrics.jsonl")
  compare_rows(found, before / "eval.jsonl", after / "eval.jsonl")
  compare_files(found, before, after, "rollouts/*", compare_parquet)
  compare_files(found, before, after, "history/*/*", compare_parquet)
  compare_files(found, before, after, "model/*", compare_bytes)
  if checkpoints:
    compare_checkpoints(found, before, after)


def compare_tables(found: Found, before: str, after: str) -> None:
  """Compares the tables of a run's output: every cell to the last digit. Rows may stand in another order.

  The issue asks for difficulties as easy, medium, hard. The figures say how many tables have another order.
  """
  old, new = tables_of(before), tables_of(after)
  if len(old) != len(new) or not old:
    found.differ(f"{len(old)} tables before, {len(new)} after")
  for number, (a, b) in enumerate(zip(old, new, strict=False), 1):
    if a[0] != b[0]:
      found.differ(f"table {number}: head {a[0]!r} before, {b[0]!r} after")
    for line in [f"only before: {line}" for line in a if line not in b] + [
      f"only after: {line}" for line in b if line not in a
    ]:
      found.differ(f"table {number}: {line}")
    found.count("tables with rows in another order", int(a != b and sorted(a) == sorted(b)))
    found.count("table lines", len(a))
  found.count("tables", len(old))


def tables_of(text: str) -> list[list[str]]:
  """The Markdown tables of a text."""
  tables: list[list[str]] = []
  inside = False
  for line in text.splitlines():
    if line.startswith("|"):
      tables = tables if inside else [*tables, []]
      tables[-1].append(line.rstrip())
    inside = line.startswith("|")
  return tables
