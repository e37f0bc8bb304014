"""Encoding of prompts and the choice of usable rows."""

import numpy as np
import pytest

from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.data.prompt_renderer import PromptRenderer
from srpo_jax.data.prompt_set import PromptSet, Selection
from srpo_jax.data.prompts import format_prompt
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError

PROBLEMS = [Problem(f"p{i}", "math", "one " * n + "?", "1") for i, n in enumerate((1, 30, 4))]


def prompt_set(tokenizer, problems=PROBLEMS, max_tokens=1000, instructions=None, **more):
  render = PromptRenderer(tokenizer, instructions={"math": "Box it."} if instructions is None else instructions)
  return PromptSet("set", problems, render=render, max_tokens=max_tokens, check=lambda p: None, **more)


def test_tokens_match_the_text_and_long_prompts_are_left_out(checkpoint, caplog):
  tokenizer = load_tokenizer(checkpoint)
  prompts = prompt_set(tokenizer)
  assert list(prompts) == ["p0", "p1", "p2"]
  for problem in PROBLEMS:
    prompt = prompts[problem.id]
    assert prompt.text == format_prompt(problem.question, "Box it.")
    assert tokenizer.decode(prompt.tokens) == prompt.text and prompt.tokens.dtype == np.int32
  assert prompts.longest == len(prompts["p1"].tokens)
  limit = len(prompts["p2"].tokens)
  assert prompt_set(tokenizer, max_tokens=limit).record == {"p0": 0, "p2": 2}
  assert "1 of 3 rows cannot be used, as row 1: a prompt of" in caplog.text


def test_unusable_prompts_are_refused(checkpoint, tmp_path):
  tokenizer = load_tokenizer(checkpoint)
  with pytest.raises(InputError, match=r"p0: no config\.prompt\.math"):
    prompt_set(tokenizer, instructions={"code": "x"})
  with pytest.raises(InputError, match=r"3 of 3 rows cannot be used, as row 0: .*config\.data\.max_prompt_tokens 2"):
    prompt_set(tokenizer, max_tokens=2)
  with pytest.raises(InputError, match=r"no tokenizer\.json"):
    load_tokenizer(tmp_path)


def test_difficulty_decides_which_rows_are_left(checkpoint, caplog):
  rates = [0.0] * 6 + [0.2, 0.5, 0.9, 1.0]
  problems = [Problem(f"p{i}", "math", "one", "1", pass_rate=rate) for i, rate in enumerate(rates)]
  keep = {"easy": 0.0, "solved": 0.0}
  left = prompt_set(load_tokenizer(checkpoint), problems, selection=Selection(keep, 0.5, 0))
  assert {"p6", "p7"} < set(left) and len(left) == 4 and not {"p8", "p9"} & set(left)  # two unsolved among four
  assert all(problems[index].id == id_ for id_, index in left.record.items())
  with pytest.raises(InputError, match=r"config\.data\.keep leaves none of 10 rows"):
    nothing = dict.fromkeys(("unsolved", "hard", "medium", "easy", "solved"), 0.0)
    prompt_set(load_tokenizer(checkpoint), problems, selection=Selection(nothing, 1.0, 0))
