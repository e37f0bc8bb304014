"""Prompts as tokens."""

import numpy as np
import pytest

from srpo_jax.data.encoded import encode_prompts, load_tokenizer
from srpo_jax.data.prompts import format_prompt
from srpo_jax.errors import InputError
from srpo_jax.types import Problem

PROBLEMS = [Problem(f"p{i}", "math", "one " * n + "?", "1") for i, n in enumerate((1, 30, 4))]


def test_tokens_are_those_of_the_text_and_long_prompts_are_left_out(checkpoint, caplog):
  tokenizer = load_tokenizer(checkpoint)
  prompts = encode_prompts(PROBLEMS, {"math": "Box it."}, tokenizer, 1000)
  assert list(prompts) == ["p0", "p1", "p2"]
  for problem in PROBLEMS:
    prompt = prompts[problem.id]
    assert prompt.text == format_prompt(problem.question, "Box it.")
    assert tokenizer.decode(prompt.tokens) == prompt.text and prompt.tokens.dtype == np.int32
  limit = len(prompts["p2"].tokens)
  assert list(encode_prompts(PROBLEMS, {"math": "Box it."}, tokenizer, limit)) == ["p0", "p2"]
  assert "left out 1 of 3 prompts" in caplog.text


def test_what_is_refused(checkpoint, tmp_path):
  tokenizer = load_tokenizer(checkpoint)
  with pytest.raises(InputError, match=r"p0: no config\.prompt\.math"):
    encode_prompts(PROBLEMS, {"code": "x"}, tokenizer, 100)
  with pytest.raises(InputError, match="max_prompt_tokens: 2, but the shortest"):
    encode_prompts(PROBLEMS, {"math": "x"}, tokenizer, 2)
  with pytest.raises(InputError, match=r"no tokenizer\.json"):
    load_tokenizer(tmp_path)
