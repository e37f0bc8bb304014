"""Order of difficulties in tables, from easy to hard."""

from srpo_jax.analysis.summary import TABLE_ROWS, comparison_table
from srpo_jax.data.difficulty import difficulty_rank


def test_the_order():
  names = ["unsolved", "Level 5", "hard", "Easy", "medium", "Level 1", "solved"]
  ranked = ["solved", "Easy", "medium", "hard", "unsolved", "Level 1", "Level 5"]
  assert sorted(names, key=difficulty_rank) == ranked


def test_the_table_after_training_goes_from_easy_to_hard():
  by = {"easy": 0.9, "hard": 0.1, "medium": 0.5}  # alphabetical, as in eval.jsonl
  figures = {key: 0.5 for _, key in TABLE_ROWS} | {"set": "s", "n": 8, "length_mean": 3.0, "by": by, "greedy_by": by}
  table = comparison_table([figures | {"step": 0}, figures | {"step": 9}])
  levels = [line.split(" |")[0].removeprefix("| ") for line in table.splitlines()][8:14]
  assert levels == [f"{level}, {kind}" for level in ("easy", "medium", "hard") for kind in ("temperature 1", "greedy")]
  assert "| hard, greedy | 10.0 % | 10.0 % | +0.0 |" in table
