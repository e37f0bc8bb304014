"""Figures of a small table compared with values worked by hand."""

import pyarrow as pa
import pytest

from srpo_jax.evaluation.results import figures, markdown
from srpo_jax.evaluation.samples import SCHEMA

# problem -> (domain, difficulty, [(correct, vote, format, truncated, tokens)] * 2)
PROBLEMS = {
  "a": ("math", "easy", [(1, 0, 1, False, 10), (1, 0, 1, False, 20)]),
  "b": ("math", "easy", [(1, 0, 1, False, 30), (0, 1, 0, False, 40)]),
  "c": ("math", "hard", [(0, None, 0, True, 50), (None, None, 1, False, 60)]),
  "d": ("code", None, [(0, None, 0, True, 70), (1, None, 1, False, 80)]),
}


def table(names) -> pa.Table:
  rows = [
    {"prompt_id": name, "domain": PROBLEMS[name][0], "difficulty": PROBLEMS[name][1], "sample": i, "correct": correct,
     "vote": vote, "format": form, "truncated": truncated, "n_tokens": tokens, "language_mix": int(name == "c")}
    for name in names
    for i, (correct, vote, form, truncated, tokens) in enumerate(PROBLEMS[name][2])
  ]  # fmt: skip
  return pa.Table.from_pylist(rows, schema=SCHEMA)


def values(found):
  return {name: f["value"] for name, f in found.items() if isinstance(f, dict) and "value" in f}


def test_every_figure():
  found = figures(table("abc"), 2)
  assert (found["n"], found["n_judged"], found["samples"], found["unjudged"]) == (3, 2, 2, 1)
  assert values(found) == pytest.approx(
    {
      "pass@1_judged": (1 + 0.5) / 2,  # c has a response that was not judged
      "pass@1": (1 + 0.5 + 0) / 3,  # a response that was not judged is not correct
      "pass@2": (1 + 1 + 0) / 3,
      "majority@1": (1 + 0.5 + 0) / 3,
      "majority@2": (1 + 0.5 + 0) / 3,  # b ties
      "format_rate": (1 + 0.5 + 0.5) / 3,
      "truncated_frac": (0 + 0 + 0.5) / 3,
      "language_mix_frac": 1 / 3,
      "length_mean": (15 + 35 + 55) / 3,
    }
  )
  assert list(found["by"]) == ["easy", "hard"]
  assert found["by"]["easy"]["n"] == 2
  assert values(found["by"]["easy"]) == pytest.approx(
    {"pass@1": 0.75, "majority@1": 0.75, "format_rate": 0.75, "truncated_frac": 0, "language_mix_frac": 0,
     "length_mean": 25}
  )  # fmt: skip
  # Over the 27 resamples of three problems, pass@1 is 0 once and 1 once. Both lie inside the 95 % interval.
  assert (found["pass@1"]["low"], found["pass@1"]["high"]) == (0.0, 1.0)


def test_only_mathematics_has_votes():
  assert not any("majority" in name for name in figures(table("d"), 2))
  both = figures(table("abd"), 2)
  assert both["majority@2"]["value"] == pytest.approx((1 + 0.5) / 2)  # only a and b vote
  assert both["pass@2"]["value"] == 1.0
  assert list(both["by"]) == ["easy", "code"]
  assert "majority@1" not in both["by"]["code"]


def test_levels_are_listed_from_easy_to_hard():
  rows = [
    {"prompt_id": level, "domain": "code", "difficulty": level, "sample": 0, "correct": 0, "format": 1,
     "truncated": False, "n_tokens": 1, "language_mix": 0}
    for level in ("hard", "Level 2", "medium", "Level 1", "Easy")
  ]  # fmt: skip
  assert list(figures(pa.Table.from_pylist(rows, schema=SCHEMA), 1)["by"]) == [
    "Easy", "medium", "hard", "Level 1", "Level 2",
  ]  # fmt: skip


def test_one_level_needs_no_table_of_levels():
  assert figures(table("ab"), 2)["by"] == {}


def test_the_tables():
  sets = {
    "my|set": figures(table("abc"), 2) | {"place": "a.jsonl", "from": None, "to": None, "left_out": []},
    "code": figures(table("d"), 2)
    | {"place": "lcb.jsonl", "from": "2024-10-01", "to": None}
    | {"left_out": [{"row": 5, "why": "its tests\ncannot be used"}]},
  }
  text = markdown({"samples": 2}, sets)
  assert "| my\\|set | 3 | 50.0 [0.0, 100.0] | 66.7 [50.0, 100.0] | 16.7 [0.0, 50.0] |" in text
  assert "| 2 | 66.7 [0.0, 100.0] | 50.0 [0.0, 100.0] |" in text
  assert "| easy | 2 | 75.0 [50.0, 100.0] |" in text
  assert "3 problems of a.jsonl, 2 samples each." in text
  dated = "1 problem of lcb.jsonl, contests from 2024-10-01, 2 samples each; 1 row left out, as row 5: its tests"
  assert dated in text
  for line in text.splitlines():  # all rows of a table have the same width
    assert not line.startswith("|") or line.endswith("|")
