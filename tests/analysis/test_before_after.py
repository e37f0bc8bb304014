"""The comparison of base and trained policy, with figures worked out by hand."""

import json

import matplotlib.image
import pytest

from srpo_jax.analysis import before_after
from srpo_jax.training.workdir import Workdir
from srpo_jax.utils.errors import InputError


def evaluation(step, passed, formed, passed_formed, n=20):
  return {
    "step": step,
    "set": "heldout",
    "n": n,
    "samples": 1,
    "pass@1": passed / n,
    "format_rate": formed / n,
    "well_formed_accuracy": passed_formed / formed if formed else None,
  }


def response(id_, correct, text, truncated=False):
  return {"prompt_id": id_, "correct": correct, "response": text, "truncated": truncated}


@pytest.fixture
def workdir(tmp_path):
  """A run of three updates. The base has 10 of 20 well-formed and 4 correct, the trained policy 15 and 12."""
  files = Workdir(tmp_path / "w", tensorboard=False)
  for step in range(3):
    row = {"step": step, "stage": 1, "rollouts/spent": 32 * (step + 1), "time/step_s": 20.0}
    files.write_metrics(row | {"reward/mean": 0.1 * step, "reward/accuracy": 0.2, "reward/format": 0.5})
  files.write_eval(evaluation(0, 4, 10, 4))
  files.write_eval(evaluation(3, 12, 15, 12))
  before = [response("a", 1, "fine"), response("b", 0, "3 +\n 4 is 8", True), response("c", None, "?")]
  after = [response("a", 0, "worse"), response("b", 1, "3 + 4 = 7"), response("c", 1, "!")]
  files.write_heldout(0, "heldout", before)
  files.write_heldout(3, "heldout", after)
  files.close()
  config = {"model": {"path": "", "build": "m:f"}, "train": {"seed": 5}}
  (files.path / "config.json").write_text(json.dumps(config))
  (files.path / "model").mkdir()
  (files.path / "model/config.json").write_text(json.dumps({"_name_or_path": "A model, dequantised"}))
  return files.path


def test_the_report(workdir, capsys):
  before_after.main([f"--workdir={workdir}"])
  out = capsys.readouterr().out.splitlines()
  assert out[0] == "A model, dequantised; seed 5; 3 updates, 96 rollouts, 1.0 minutes of training"
  assert out[2:7] == [
    "| heldout, 20 problems | base | step 3 | change |",
    "| --- | ---: | ---: | ---: |",
    "| pass@1, temperature 1 | 20.0 % (8.1 to 41.6) | 60.0 % (38.7 to 78.1) | +40.0 |",
    "| format rate | 50.0 % (29.9 to 70.1) | 75.0 % (53.1 to 88.8) | +25.0 |",
    "| accuracy of well-formed responses | 40.0 % (16.8 to 68.7) | 80.0 % (54.8 to 93.0) | +40.0 |",
  ]
  # 0.25 x (0.4 + 0.8) / 2 = 15 points and 0.4 x (0.5 + 0.75) / 2 = 25 points
  assert out[8] == (
    "Of the change of +40.0 points in pass@1, +15.0 come from the format rate, +25.0 from the accuracy of well-formed "
    "responses, and +0.0 from correct answers in another form."
  )
  assert out[10:13] == [
    "b (first problem that only the trained policy solved)",
    "  before: 3 + 4 is 8 [cut]",
    "  after:  3 + 4 = 7",
  ]
  image = matplotlib.image.imread(workdir / "before_after.png")
  assert image.shape[0] > 300 and image.std() > 0.05


def test_no_well_formed_response(workdir):
  text = before_after.table(workdir, evaluation(0, 0, 0, 0), evaluation(3, 2, 4, 2))
  assert "| accuracy of well-formed responses | - | 50.0 % (15.0 to 85.0) | - |" in text


def test_the_first_problem_where_nothing_was_gained(workdir):
  assert before_after.responses(workdir, "heldout", 3, 3).startswith("a (first problem)")


def test_several_samples_a_problem_have_no_wilson_interval(workdir):
  row = evaluation(0, 4, 10, 4) | {"samples": 4}
  with pytest.raises(InputError, match=r"eval\.samples is 4, expected 1"):
    before_after.table(workdir, row, row)


def test_a_run_without_evaluations_is_refused(tmp_path):
  with pytest.raises(InputError, match="expected the workdir of a run that evaluated before and after"):
    before_after.main([f"--workdir={tmp_path}"])
