"""Doctor's report on the responses of the policy, on responses written by hand."""

import numpy as np
import pytest

from srpo_jax.checks.finding import PASS, WARN
from srpo_jax.checks.responses import check_responses
from srpo_jax.checks.sampling import Deadline, Draws, cut
from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.data.prompt_renderer import PromptRenderer
from srpo_jax.types import Problem, Rollout
from tests.helpers.runs import toy

RIGHT = " So. </think> <answer> \\boxed{2} </answer>"
WRONG = " So. </think> <answer> \\boxed{3} </answer>"
STOP = 150


@pytest.fixture(scope="module")
def tokenizer(talkative):
  return load_tokenizer(talkative)


def check(talkative, tokenizer, texts, *, ended=True, seconds=None, **changes):
  """Returns the finding on two prompts with the same responses each."""
  config = toy(talkative, reward__function="", **changes)
  prompts = [PromptRenderer(tokenizer)(Problem(name, "math", "1 + 1?", "2")) for name in ("a", "b")]
  rollouts = []
  for prompt in prompts:
    for sample, text in enumerate(texts):
      ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], *([STOP] if ended else [])]
      n = len(ids)
      rollouts.append(Rollout(prompt.problem.id, sample, prompt.tokens, np.array(ids), np.zeros(n), not ended))
  return check_responses(config, tokenizer, prompts, Draws(tuple(rollouts), 8, 64, seconds))


@pytest.mark.parametrize(
  ("texts", "changes", "level", "found", "todo"),
  [
    ([RIGHT, WRONG], {}, PASS, "4 of 4 have the required form, 4 end within 64 tokens, 2 are correct (2 prompts", ""),
    ([RIGHT, "2"], {}, PASS, "2 of 4 have the required form", ""),
    (["It is 2.", "2"], {}, WARN, "0 of 4 have", "config.prompt.examples, or an instruct model prompt.style=chat"),
    (["2", "3"], {"prompt__examples": "x.jsonl"}, WARN, "0 of 4 have", "more or shorter config.prompt.examples"),
    (["2", "3"], {"prompt__style": "chat"}, WARN, "0 of 4 have", "worked examples, config.prompt.examples (docs"),
    ([RIGHT, RIGHT], {}, WARN, "4 are correct (2 prompts, temperature 1); every advantage is zero", "too easy"),
    ([WRONG, WRONG], {}, WARN, "4 of 4 have the required form", "too hard"),
  ],
)
def test_rewards_that_train_nothing_are_reported_with_the_fix(
  talkative, tokenizer, texts, changes, level, found, todo
):  # fmt: skip
  finding = check(talkative, tokenizer, texts, **changes)
  assert finding.level == level and found in finding.found and todo in finding.todo and bool(todo) == (level == WARN)


def test_responses_that_do_not_end_are_reported(talkative, tokenizer):
  finding = check(talkative, tokenizer, [RIGHT, WRONG], ended=False, seconds=120.0)
  assert finding.level == WARN and "0 end within 64 tokens" in finding.found and "raise config.rollout" in finding.todo
  assert "stopped after 120 s at " in finding.found


def test_sampling_ends_at_a_deadline_after_the_first_chunk():
  deadline = Deadline(0.0)
  assert [deadline() for _ in range(3)] == [False, True, True] and deadline.passed
  assert not any(Deadline(1e6)() for _ in range(3))


def test_a_cut_response_is_truncated(tokenizer):
  whole = Rollout("p", 0, np.zeros(1), np.arange(5), np.arange(5.0), False)
  assert cut(whole, 5) is whole
  short = cut(whole, 2)
  assert short.tokens.tolist() == [0, 1] and short.logprobs.tolist() == [0, 1] and short.truncated
