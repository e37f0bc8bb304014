"""Where phrases and code count in a response, and rates of reflection worked by hand."""

import numpy as np
import pytest

from srpo_jax.analysis.reflection import (
  KINDS,
  Reflection,
  Seen,
  reflect,
  reflection_rates,
)
from srpo_jax.data.encoded import Prompt
from srpo_jax.rollout.collector import Group
from srpo_jax.training.metrics import reflection_metrics
from srpo_jax.types import Problem, Rollout, Verdict


def test_only_the_thinking_counts():
  response = "Wait, recheck. </think> Wait, recheck. <answer> Alternatively, recheck </answer>"
  assert reflect(response).counts == {"recheck": 1, "hesitation": 1, "exploration": 0}
  assert reflect("Hmm, alternatively").counts == {"recheck": 0, "hesitation": 1, "exploration": 1}  # never closed
  assert reflect("Hmm <answer> Wait, recheck </answer>").counts == {"recheck": 0, "hesitation": 1, "exploration": 0}


def test_code_after_the_answer_opens_does_not_count():
  assert not reflect("so 12 </think> <answer> ```python\nprint(12)\n``` </answer>").code
  assert reflect("`3 * 4` </think> <answer> 12 </answer>").code


def seen(counts, tokens, correct, domain="math", code=False):
  return Seen(Reflection(dict(zip(KINDS, counts, strict=True)), code), domain, tokens, correct)


def test_rates():
  rows = [
    seen((2, 0, 1), 100, True, code=True),
    seen((0, 1, 0), 300, False),
    seen((1, 1, 0), 500, None),
    seen((3, 0, 0), 100, False, domain="code", code=True),
  ]
  rates = reflection_rates(rows)
  assert len(rates) == 3 * (2 * 3 + 1)
  assert rates["reflection/recheck_per_response"] == 6 / 4
  assert rates["reflection/recheck_per_1k_tokens"] == 6.0
  assert rates["reflection/recheck_per_response_correct"] == 2.0
  assert rates["reflection/recheck_per_1k_tokens_wrong"] == 7.5
  assert rates["reflection/hesitation_per_response_wrong"] == 0.5
  assert rates["reflection/exploration_per_1k_tokens_correct"] == 10.0
  assert rates["reflection/code_frac"] == pytest.approx(1 / 3)  # only responses to math problems count
  assert rates["reflection/code_frac_correct"] == 1.0 and rates["reflection/code_frac_wrong"] == 0.0


def test_metrics_of_a_step():
  """Checks that the rates count only the response's text and tokens, and that verdicts decide correct and wrong."""

  def group(domain, *responses):
    prompt = Prompt(Problem("p", domain, "?", "1"), "Wait, no. Recheck:", np.zeros(50, np.int32))
    rollouts = tuple(
      Rollout("p", i, prompt.tokens, np.zeros(n, np.int32), np.zeros(n, np.float32), False)
      for i, (_, n, _) in enumerate(responses)
    )
    verdicts = tuple(Verdict("p", 1, 0, correct, 0.0, "") for *_, correct in responses)
    return Group(prompt, rollouts, tuple(text for text, *_ in responses), verdicts)

  row = reflection_metrics(
    [
      group("math", ("Wait, recheck: `2 * 3`</think> Wait, no.", 100, 1), ("Hmm. Hmm. Oops!</think>", 300, 0)),
      group("code", ("So</think>```python\nx = 1\n```", 400, None), ("Alternatively, recheck", 200, 0)),
    ]
  )
  assert row["reflection/hesitation_per_response"] == 1.0 and row["reflection/hesitation_per_1k_tokens"] == 4.0
  assert row["reflection/hesitation_per_response_correct"] == 1.0
  assert row["reflection/hesitation_per_1k_tokens_wrong"] == 6.0
  assert row["reflection/recheck_per_1k_tokens_correct"] == 10.0
  assert row["reflection/exploration_per_response_wrong"] == 0.5
  assert [row[f"reflection/code_frac{part}"] for part in ("", "_correct", "_wrong")] == [0.5, 1.0, 0.0]


def test_rates_of_nothing_are_null():
  rates = reflection_rates([seen((1, 0, 0), 10, False, domain="code")])
  assert rates["reflection/recheck_per_response_correct"] is None and rates["reflection/code_frac"] is None
  assert set(reflection_rates([]).values()) == {None}
