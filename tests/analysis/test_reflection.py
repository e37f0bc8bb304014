"""Phrases of reflection and code before an answer in hand-written responses, and rates worked by hand."""

import re

import numpy as np
import pytest

from srpo_jax.analysis.reflection import (
  KINDS,
  PHRASES,
  Reflection,
  Seen,
  has_code,
  phrases,
  reflect,
  reflection_rates,
)
from srpo_jax.data.encoded import Prompt
from srpo_jax.rollout.collector import Group
from srpo_jax.training.metrics import reflection_metrics
from srpo_jax.types import Problem, Rollout, Verdict


@pytest.mark.parametrize(
  ("kind", "text", "found"),
  [
    ("recheck", "So 12. Let me double-check: 3 times 4 is 12.", "double-check"),
    ("recheck", "LET US\nVERIFY this. Then we re-evaluate and recheck.", "let us\nverify|re-evaluate|recheck"),
    ("recheck", "I'll compute it again, to be sure.", "compute it again|to be sure"),
    ("recheck", "I’ll check. Going over my steps, reconsidering.", "i'll check|going over my steps|reconsidering"),
    ("hesitation", "Wait, that is 5. But wait, no. Hmm, hold on. Oops!", "wait|wait|hmm|hold on|oops"),
    ("hesitation", "wait", ""),  # nothing follows, as in a truncated response
    ("hesitation", "I'm not sure.\nWait a minute: this is 3", "i'm not sure|wait a minute"),
    ("hesitation", "That doesn't seem right. I might have made one.", "that doesn't seem right|i might have made"),
    ("exploration", "Alternatively, try another approach. What if x = 0?", "alternatively|another approach|what if"),
    ("exploration", "Maybe we should. Let's try a smaller case.", "maybe we should|let's try a"),
    # beginnings of thoughts after marks of lists, emphasis and quotes, and after other words of hesitation
    ("hesitation", '- Wait, 5?\n1. **Wait**, no. (Hang on, so "wait, 3") Ok wait, x', "wait|wait|hang on|wait|wait"),
    ("hesitation", "Wait -- I see. Wait if x is 3. Oh no wait that's 4. Hm, so.", "wait|wait if|wait that|hm"),
    ("hesitation", "That's not right. Actually, no: something's off", "that's not right|actually, no|something's off"),
    ("recheck", "I double‑checked. Let's verify, then think again.", "double-checked|let's verify|think again"),
    ("recheck", "I don't know so recheck it; reassess, retracing my steps", "recheck|reassess|retracing my steps"),
    ("exploration", "Let's try x = 2; I'll start over. Another idea", "let's try x =|i'll start over|another idea"),
    # other spellings
    ("hesitation", "Wait — no. Wait – 5? Actually wait, 6. Uh-oh.", "wait|wait|wait|uh-oh"),
    ("exploration", "Let us try n=5, then let me take k=2.", "let us try n|let me take k"),
    ("recheck", "Let me carefully verify it.", "let me carefully verify"),
  ],
)
def test_phrases(kind, text, found):
  assert phrases(kind, text) == found.split("|") * bool(found)
  assert not any(phrases(other, text) for other in KINDS if other != kind)


@pytest.mark.parametrize(
  "text",
  [
    # parts of words
    "The waiter is awaiting the prechecked rechecker. Alternating angles. Hmmph-like whatiffery.",
    # verbs of word problems
    "How long did she wait? They wait a minute, then wait. Wait-times vary. Pictures hang on walls. He held on.",
    "Waits, waiting, waited, waitlist.",
    "She had to wait, because the bus was late. No wait is needed. The tea must wait: 5 minutes. It is 5 hm long.",
    # negated phrases
    "There is no need to double-check. We need not recheck it. I don't need to verify again.",
    "Done without trying another approach; never reconsider. It needn't re-evaluate anything.",
    "I won't double-check and can't verify it again. We cannot recheck. It isn't necessary to double-check.",
    "Instead of rechecking, go on, rather than double-checking. It is not necessary to verify. I haven't rechecked it.",
    "I don’t need to verify. There’s no need to re-check. I am not going to double-check.",
    # actions of other people
    "The clerk checks the bags. He tries again. She made sure of it. The inspector verifies each box.",
    "",
  ],
)
def test_texts_without_a_phrase(text):
  assert {kind: phrases(kind, text) for kind in KINDS} == {kind: [] for kind in KINDS}


def test_a_denial_reaches_no_further_than_its_clause():
  assert phrases("recheck", "That was without doubt wrong. Recheck it.") == ["recheck"]
  assert phrases("recheck", "I do not like the number at all and so I recheck it") == ["recheck"]


def test_every_fragment_finds_something():
  examples = {
    "recheck": "recheck; double check; reverify; re-examine; reevaluate; reassess; reanalyze; recalculate; recompute; "
    "reconsider; rethink; reread; check again; let me check; to be sure; check my work; go over my work; sanity check",
    "hesitation": "wait, 3; wait wait; wait no; wait is that; hold on, 3; actually no; hmm; hm, 3; uh oh; oops; "
    "i'm unsure; that doesn't seem right; that's not right; that looks off; something is wrong; i may have missed; "
    "i made a mistake; on second thought; is that right?",
    "exploration": "alternatively; another approach; another way; different approach; what if; let's try another; "
    "let's try x =; let me look at it differently; let me start over; instead, let; maybe i could; suppose instead; "
    "approach this differently",
  }
  for kind, text in examples.items():
    for fragment, example in zip(PHRASES[kind], text.split("; "), strict=True):
      pattern = re.compile(fragment.removeprefix("^").replace(" ", r"\s+"))
      assert pattern.search(example), (fragment, example)
      assert len(phrases(kind, example)) == 1, (kind, example)


def test_only_the_thinking_counts():
  response = "Wait, recheck. </think> Wait, recheck. <answer> Alternatively, recheck </answer>"
  assert reflect(response).counts == {"recheck": 1, "hesitation": 1, "exploration": 0}
  assert reflect("Hmm, alternatively").counts == {"recheck": 0, "hesitation": 1, "exploration": 1}  # never closed
  assert reflect("Hmm <answer> Wait, recheck </answer>").counts == {"recheck": 0, "hesitation": 1, "exploration": 0}


@pytest.mark.parametrize(
  ("text", "code"),
  [
    ("```python\nprint(3 * 4)\n```", True),
    ("First.\n  ```py\n  x = 3\n  ```\nSo", True),
    ("```\nfor i in range(3):\n  print(i)\n```", True),
    ("1. So: ```python\nx = 3\nassert x * 4 == 12\n``` holds", True),  # a fence within a line
    ("```\n3 x 4 = 12\n```", False),  # not Python
    ("```\nx\n```", False),  # does nothing
    ("```latex\n\\frac{1}{2}\n```", False),
    ("```python\n```", False),
    ("```python\nprint(3", False),  # never closed
    ("Run `sum(range(1, 101))` to see.", True),
    ("That is `17 * 23`, or `3 * 4 == 12`.", True),
    (">>> 2 ** 10\n1024", True),
    ("print(sum(k * k for k in range(10)))", True),
    ("The value `x` and `n + 1` and `f(3)`.", False),  # code with unknown names does not run
    ("3 * 4 = 12 and f(2) = 5", False),
    ("f(2)", False),
    ("(2 + 3)", False),
    ("max is 3, and so the sum (1 + 2) holds", False),
    ("`" + "(" * 500 + "1" + ")" * 500 + "`", False),  # nested too deeply for Python's parser
    ("`\x00`", False),
    ("", False),
  ],
)
def test_code(text, code):
  assert has_code(text) is code


def test_nothing_that_a_model_writes_warns(recwarn):
  assert not has_code("`1if 2 else 3`") and has_code("`'\\frac' + 'x'`")
  assert not recwarn.list


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
