"""The README's examples: short, and run as they stand."""

import re
import sys

import numpy as np
import pytest

from srpo_jax.config import make_config
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.types import ScoreRequest
from tests.helpers.paths import ROOT
from tests.helpers.runs import launch, metrics, rollouts, toy

EXAMPLES = dict(re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S))


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
  for name, code in EXAMPLES.items():
    (tmp_path / name).write_text(code)
    monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
  monkeypatch.syspath_prepend(tmp_path)


def test_each_kind_has_an_example_under_20_lines():
  assert set(EXAMPLES) == {"my_reward.py", "my_advantage.py", "my_data.py"}
  assert all(code.count("\n") < 20 for code in EXAMPLES.values())


def test_reward():
  from my_reward import brevity

  with Scorer(workers=1, function=brevity) as scorer:
    for name, body in (("right", "4"), ("wrong", "5")):
      response = f" 2 + 2 </think> <answer>\\boxed{{{body}}}</answer>"
      scorer.submit(ScoreRequest(name, "2 + 2?", response, True, "math", "4"))
    verdicts = scorer.collect()
  assert verdicts["right"].reward == pytest.approx(1.1 + 0.1 / (1 + len(response) / 100))
  assert verdicts["wrong"].reward == pytest.approx(0.1)


def test_advantage():
  from my_advantage import leave_one_out

  rewards = np.array([[1.0, 0.0, 0.5, np.nan]])
  judged = np.array([[True, True, True, False]])
  np.testing.assert_allclose(leave_one_out(rewards, judged, ~judged), [[0.75, -0.75, 0.0, 0.0]])


def test_all_three_in_one_run(talkative, tmp_path):
  changes = {
    "data__train": "my_data:squares",
    "data__limit": 3,
    "reward__function": "my_reward:brevity",
    "advantage__function": "my_advantage:leave_one_out",
    "train__steps": 1,
  }
  workdir = launch(toy(talkative, **changes), tmp_path / "r")
  assert {r["prompt_id"] for r in rollouts(workdir, 0)} == {f"square-{i}" for i in range(3)}
  assert len(metrics(workdir)) == 1


def test_the_flags_it_shows_are_fields_of_the_config():
  flags = re.findall(r"--config\.([a-z_]+)\.([a-z_]+)=", (ROOT / "README.md").read_text())
  from configs import tiny

  raw = tiny.get_config().to_dict()
  assert len(flags) >= 8 and all(field in raw[section] for section, field in flags)
  assert make_config(raw)


def test_its_links_and_figures_are_there():
  text = (ROOT / "README.md").read_text()
  links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
  assert len(links) >= 2 and all((ROOT / link).is_file() for link in links)
  assert not re.findall(r"@[A-Z_]+@", text)
  paths = re.findall(r"`(srpo_jax/[\w/.]+)`", text)
  assert len(paths) >= 8 and all((ROOT / path).exists() for path in paths)
