"""Exact text of the prompt."""

import pytest

from srpo_jax.data.prompts import DEFAULT_INSTRUCTIONS, format_prompt, template_parts

# A second copy of the text on purpose, since released weights are evaluated with exactly this text.
EXPECTED = (
  "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
  "first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning "
  "process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> "
  "reasoning process here </think> <answer> answer here </answer>. Answer in \\boxed{}. User: What is $x$?\n"
  "Assistant: <think>"
)


def test_the_template_is_the_published_one():
  assert format_prompt("What is $x$?", "Answer in \\boxed{}.") == EXPECTED


@pytest.mark.parametrize("question", ["\\frac{1}{2}", "{question} {instruction} {0} {", "{{}}", "%s \\1 \\g<0>"])
def test_a_question_is_inserted_as_it_is(question):
  before, between, after = template_parts()
  assert format_prompt(question, "In {question}: do.") == f"{before}In {{question}}: do.{between}{question}{after}"


def test_an_empty_instruction_leaves_no_gap():
  assert "answer here </answer>. User: Why?\nAssistant: <think>" in format_prompt("Why?", "")


def test_default_instructions_name_the_form_of_the_format_reward():
  assert "\\boxed{}" in DEFAULT_INSTRUCTIONS["math"]
  assert "```python" in DEFAULT_INSTRUCTIONS["code"]
