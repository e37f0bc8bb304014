"""Computes the figures of a set from its samples, and shows them as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from srpo_jax.analysis.estimators import estimates, majority_at_ks, pass_at_ks, powers_up_to
from srpo_jax.data.difficulty import difficulty_rank

Figures = dict[str, Any]


def figures(table: pa.Table, samples: int) -> Figures:
  """Computes the figures of one set.

  Args:
    table: rows of `samples.SCHEMA`, with the samples of a problem next to each other.
    samples: number of samples of each problem.

  Returns:
    Counts: n (problems), n_judged (problems all of whose responses were judged), samples (of each), unjudged
    (responses).
    Estimates: pass@1_judged (pass@1 over the judged problems), pass@1, pass@2, pass@4, ..., for mathematics also
    majority@1, ..., then format_rate, truncated_frac,
    language_mix_frac and length_mean (tokens). Each is {value, low, high}: the mean over problems and its 95 %
    interval. A response that was not judged counts as not correct.
    `by`: a mapping from level to n and the same estimates, without those for k above 1. It is empty unless the set has
    several difficulties or domains.
  """
  levels = _levels(table, samples)
  judged = np.array(pc.is_valid(table["correct"]).to_pylist(), bool).reshape(-1, samples).all(axis=1)
  columns = _per_problem(table, samples)
  few = {name: v for name, v in columns.items() if "@" not in name or name.endswith("@1")}
  by = {level: levels == level for level in sorted(set(levels), key=difficulty_rank)}
  return {
    "n": len(levels),
    "n_judged": int(judged.sum()),
    "samples": samples,
    "unjudged": table["correct"].null_count,
    **({"pass@1_judged": _estimated({"pass@1": columns["pass@1"][judged]})["pass@1"]} if judged.any() else {}),
    **_estimated(columns),
    "by": {
      level: {"n": int(chosen.sum())} | _estimated({name: v[chosen] for name, v in few.items()})
      for level, chosen in by.items()
      if len(by) > 1
    },
  }


def _levels(table: pa.Table, samples: int) -> np.ndarray:
  """Returns the level of each problem: its difficulty, or its domain if it has no difficulty."""
  level = pc.coalesce(table["difficulty"], table["domain"])
  return np.array(level.to_pylist()[::samples], object)


def _per_problem(table: pa.Table, samples: int) -> dict[str, np.ndarray]:
  """Returns the value of each figure for each problem, NaN if the problem has none."""

  def grid(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy().astype(np.float64).reshape(-1, samples)

  ks = powers_up_to(samples)
  correct = grid(pc.fill_null(table["correct"], 0)).sum(axis=1).astype(np.int64)
  solved = pass_at_ks(correct, samples, ks)
  found = {f"pass@{k}": solved[:, i] for i, k in enumerate(ks)}
  math = np.array([domain == "math" for domain in table["domain"].to_pylist()[::samples]])
  if math.any():
    votes = table["vote"].to_pylist()
    of_each = [votes[start : start + samples] for start in range(0, len(votes), samples)]
    won = np.array([majority_at_ks(of, ks) if m else [np.nan] * len(ks) for of, m in zip(of_each, math, strict=True)])
    found |= {f"majority@{k}": won[:, i] for i, k in enumerate(ks)}
  return found | {
    "format_rate": grid(table["format"]).mean(axis=1),
    "truncated_frac": grid(table["truncated"]).mean(axis=1),
    "language_mix_frac": grid(table["language_mix"]).mean(axis=1),
    "length_mean": grid(table["n_tokens"]).mean(axis=1),
  }


def _estimated(columns: Mapping[str, np.ndarray]) -> Figures:
  """Estimates each column over the problems that have a value. Leaves out a column without values."""
  found: Figures = {}
  whole = [name for name, v in columns.items() if not np.isnan(v).any()]
  parts = [name for name in columns if name not in whole and not np.isnan(columns[name]).all()]
  for names in filter(None, (whole, parts)):  # `parts` is majority@k if only some problems are mathematics
    values = np.stack([columns[name] for name in names], axis=1)
    for name, estimate in zip(names, estimates(values[~np.isnan(values).any(axis=1)]), strict=True):
      found[name] = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
  return {name: found[name] for name in columns if name in found}


def markdown(about: Mapping[str, Any], sets: Mapping[str, Figures]) -> str:
  """Returns a summary table of all sets, then for each set its figures by k and by level."""
  lines = ["# Evaluation", "", *(f"- {name}: {value}" for name, value in about.items()), ""]
  rows = [
    [name, f["n"], *(_share(f.get(figure)) for figure in ("pass@1", "format_rate", "truncated_frac")),
     _tokens(f["length_mean"]), f["unjudged"], f["n_judged"], _share(f.get("pass@1_judged"))]
    for name, f in sets.items()
  ]  # fmt: skip
  lines += _table(
    ["set", "problems", "pass@1", "format", "truncated", "tokens", "not judged", "judged problems", "pass@1 of them"],
    rows,
  )
  for name, f in sets.items():
    size = f"{_counted(f['n'], 'problem')}{_origin(f)}, {_counted(f['samples'], 'sample')} each"
    lines += [f"## {name}", "", f"{size}{_left_out(f)}.", ""]
    kinds = [kind for kind in ("pass", "majority") if f"{kind}@1" in f]
    ks = powers_up_to(f["samples"])
    lines += _table(
      ["k", *(f"{kind}@k" for kind in kinds)], [[k, *(_share(f[f"{kind}@{k}"]) for kind in kinds)] for k in ks]
    )
    if f["by"]:
      rows = [
        [level, g["n"], *(_share(g[figure]) for figure in ("pass@1", "format_rate", "truncated_frac")),
         _tokens(g["length_mean"])]
        for level, g in f["by"].items()
      ]  # fmt: skip
      lines += _table(["level", "problems", "pass@1", "format", "truncated", "tokens"], rows)
  lines.append(
    "Shares are in percent, with 95 % percentile bootstrap intervals over problems. pass@1 is the mean over all "
    "samples. pass@k and majority@k are expectations over k of them, where a tie of t answers counts as 1/t. A "
    "response that was not judged counts as not correct. An interval of zero width means that all problems had the "
    "same value, not that the value is certain."
  )
  return "\n".join(lines) + "\n"


def _counted(n: int, noun: str) -> str:
  return f"{n} {noun}{'s' * (n != 1)}"


def _origin(f: Figures) -> str:
  dates = "".join(f" {word} {f[word]}" for word in ("from", "to") if f[word])
  return f" of {f['place']}{dates and f', contests{dates}'}"


def _left_out(f: Figures) -> str:
  left = f["left_out"]
  return f"; {_counted(len(left), 'row')} left out, as row {left[0]['row']}: {left[0]['why']}" if left else ""


def _share(estimate: Mapping[str, float] | None) -> str:
  if estimate is None:
    return "-"
  value, low, high = (100 * estimate[name] for name in ("value", "low", "high"))
  return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _tokens(estimate: Mapping[str, float]) -> str:
  return f"{estimate['value']:.1f} [{estimate['low']:.1f}, {estimate['high']:.1f}]"


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> list[str]:
  rule = ["---", *["---:"] * (len(head) - 1)]
  cells = [[" ".join(str(cell).replace("|", "\\|").split()) for cell in row] for row in (head, rule, *rows)]
  return [*(f"| {' | '.join(row)} |" for row in cells), ""]
