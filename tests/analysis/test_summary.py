"""Table and figure of a finished run."""

import matplotlib.image

from srpo_jax.analysis.summary import comparison_table, plot_curves, stage_starts, summarize


def row(step, value):
  rates = ("pass@1", "greedy", "format_rate", "greedy_format_rate", "well_formed_accuracy")
  by = {"by": {"easy": value}, "greedy_by": {"easy": value / 2}}
  return (
    {"step": step, "set": "held-out", "n": 8, "length_mean": 10 * value}
    | by
    | (dict.fromkeys(rates, value) | {"greedy_well_formed_accuracy": None})
  )


def test_table():
  lines = comparison_table([row(0, 0.25), row(4, 0.5), row(9, 0.625)]).splitlines()
  assert lines[0] == "| held-out, 8 problems | base | step 9 | change |"
  assert "| pass@1, temperature 1 | 25.0 % | 62.5 % | +37.5 |" in lines
  assert "| easy, greedy | 12.5 % | 31.2 % | +18.8 |" in lines
  assert "| accuracy of well-formed, greedy | - | - | - |" in lines
  assert "| mean response length, tokens | 2.5 | 6.2 | +3.8 |" in lines


def test_table_without_greedy_responses():
  unmeasured = dict.fromkeys(("greedy", "greedy_format_rate", "greedy_well_formed_accuracy"))
  rows = [row(step, 0.25) | unmeasured | {"greedy_by": {"easy": None}} for step in (0, 4)]
  lines = comparison_table(rows).splitlines()
  assert "| pass@1, temperature 1 | 25.0 % | 25.0 % | +0.0 |" in lines and "greedy" not in "".join(lines)


def test_table_of_two_stages():
  evals = [row(0, 0.25), row(2, 0.3), row(4, 0.5), row(9, 0.375)]
  lines = comparison_table(evals, stage_starts([{"step": s, "stage": 1 + (s >= 4)} for s in range(9)])).splitlines()
  assert lines[0] == "| held-out, 8 problems | base | step 4 | step 9 | change to step 4 | change to step 9 |"
  assert "| pass@1, temperature 1 | 25.0 % | 50.0 % | 37.5 % | +25.0 | -12.5 |" in lines


def test_a_stage_start_has_the_stages_own_number():
  stages = (1, 1, 3, 3, 4)  # stage 2 had nothing to do
  assert stage_starts([{"step": s, "stage": stage} for s, stage in enumerate(stages)]) == {2: 3, 4: 4}


def test_figure_with_steps_that_made_no_update(tmp_path):
  keys = ["reward/mean", "math/accuracy", "reward/format", "math/length_mean", "groups/zero_advantage_frac"]
  keys += ["groups/all_correct_frac", "groups/all_wrong_frac", "policy/entropy", "math/pool_size", "batch/code_share"]
  keys += ["reflection/recheck_per_1k_tokens"]  # the other keys are missing, as in files of an earlier version
  metrics = [{"step": s, "stage": 1 + s // 2} | dict.fromkeys(keys, 0.1 * s) for s in range(3)]
  metrics[1]["policy/entropy"] = None
  plot_curves(metrics, [row(0, 0.2), row(3, 0.6)], tmp_path / "c.png")
  image = matplotlib.image.imread(tmp_path / "c.png")
  assert image.shape[0] > 400 and image.std() > 0.05


def test_a_run_without_rows_prints_nothing(tmp_path, capsys):
  summarize(tmp_path)
  assert capsys.readouterr().out == ""
