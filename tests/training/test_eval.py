"""Every field of a held-out evaluation row, computed from hand-made verdicts."""

import numpy as np

from srpo_jax.data.encoded import Prompt
from srpo_jax.model.sampling import Purpose
from srpo_jax.rollout.collector import Group
from srpo_jax.training.eval import evaluate
from srpo_jax.types import Problem, Rollout, Verdict

# problem -> (difficulty, verdicts of its two samples at temperature 1, verdict of its greedy response).
# A verdict is (format, correct).
OUTCOMES = {
  "a": ("easy", [(1, 1), (1, 0)], (1, 1)),
  "b": ("easy", [(0, 1), (1, 1)], (0, 0)),
  "c": ("hard", [(1, None), (0, 0)], (1, 0)),
}


class FakeCollector:
  """Returns the outcomes above and records the arguments of each call."""

  def __init__(self):
    self.asked = []

  def collect(self, params, prompts, **kwargs):
    self.asked.append(kwargs)

    def group(prompt):
      _, sampled, greedy = OUTCOMES[prompt.problem.id]
      verdicts = sampled if kwargs["temperature"] else [greedy]
      lengths = range(3, 3 + len(verdicts))
      tokens = [np.zeros(n, np.int32) for n in lengths]
      rollouts = [Rollout("x", i, t[:1], t, t.astype(np.float32), len(t) > 3) for i, t in enumerate(tokens)]
      scored = [Verdict("x", form, 0, correct, 0.0, "") for form, correct in verdicts]
      return Group(prompt, tuple(rollouts), ("",) * len(scored), tuple(scored))

    return [group(prompt) for prompt in prompts], {}


PROMPTS = [
  Prompt(Problem(id_, "math", "?", "1", difficulty=level), "?", np.zeros(1, np.int32))
  for id_, (level, _, _) in OUTCOMES.items()
]


def test_every_field():
  collector = FakeCollector()
  row = evaluate(collector, {}, PROMPTS, name="set", step=7, samples=2, max_new_tokens=9)
  assert row == {
    "step": 7,
    "set": "set",
    "n": 3,
    "samples": 2,
    "pass@1": 3 / 6,
    "n_judged": 2,
    "pass@1_judged": 3 / 4,
    "greedy": 1 / 3,
    "format_rate": 4 / 6,
    "greedy_format_rate": 2 / 3,
    "well_formed_accuracy": 2 / 4,
    "greedy_well_formed_accuracy": 1 / 2,
    "length_mean": 3.5,
    "truncated_frac": 0.5,
    "by": {"easy": 3 / 4, "hard": 0.0},
    "greedy_by": {"easy": 1 / 2, "hard": 0.0},
  }
  sampled, greedy = collector.asked
  assert (sampled["temperature"], sampled["samples"], greedy["temperature"], greedy["samples"]) == (1.0, 2, 0.0, 1)
  assert all(a["purpose"] is Purpose.EVAL and a["step"] == 7 and a["max_new_tokens"] == 9 for a in collector.asked)


def test_without_greedy_responses():
  collector, kept = FakeCollector(), []
  asked = {"name": "set", "step": 7, "samples": 2, "max_new_tokens": 9}
  row = evaluate(collector, {}, PROMPTS, **asked, greedy=False, keep=kept.extend)
  assert len(collector.asked) == 1 and [group.prompt.problem.id for group in kept] == ["a", "b", "c"]
  whole = evaluate(FakeCollector(), {}, PROMPTS, **asked)
  unmeasured = {"greedy": None, "greedy_format_rate": None, "greedy_well_formed_accuracy": None}
  assert row == whole | unmeasured | {"greedy_by": {"easy": None, "hard": None}}
