"""Exact text of the prompt in the styles that need no tokenizer."""

import pytest

from srpo_jax.data.prompts import (
  DEFAULT_INSTRUCTIONS,
  DEFAULT_SYSTEM,
  fill_template,
  format_prompt,
  read_template,
  template_parts,
)
from srpo_jax.utils.errors import InputError

# A second copy of the text on purpose, since released weights are evaluated with exactly this text.
RULES = (
  "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
  "first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning "
  "process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> "
  "reasoning process here </think> <answer> answer here </answer>."
)
EXPECTED = f"{RULES} Answer in \\boxed{{}}. User: What is $x$?\nAssistant: <think>"


def test_the_template_is_the_published_one():
  assert format_prompt("What is $x$?", "Answer in \\boxed{}.") == EXPECTED
  assert DEFAULT_SYSTEM == RULES


def test_examples_are_earlier_turns_after_the_rules():
  turns = [("1 + 1?", " So. </think> <answer> \\boxed{2} </answer><EOS>"), ("{question}", "So. </think> <answer> b")]
  assert format_prompt("What is $x$?", "Box it.", turns) == (
    f"{RULES} Box it. User: 1 + 1?\nAssistant: <think> So. </think> <answer> \\boxed{{2}} </answer><EOS>\n"
    "User: {question}\nAssistant: <think>So. </think> <answer> b\n"
    "User: What is $x$?\nAssistant: <think>"
  )


@pytest.mark.parametrize("question", ["\\frac{1}{2}", "{question} {instruction} {0} {", "{{}}", "%s \\1 \\g<0>"])
def test_a_question_is_inserted_as_it_is(question):
  before, between, after = template_parts()
  assert format_prompt(question, "In {question}: do.") == f"{before}In {{question}}: do.{between}{question}{after}"
  filled = fill_template("{{instruction}} \\1 {question}\n<think>", question, "In {question}: do.")
  assert filled == f"{{In {{question}}: do.}} \\1 {question}\n<think>"


def test_an_empty_instruction_leaves_no_gap():
  assert "answer here </answer>. User: Why?\nAssistant: <think>" in format_prompt("Why?", "")


def test_default_instructions_name_the_form_of_the_format_reward():
  assert "\\boxed{}" in DEFAULT_INSTRUCTIONS["math"]
  assert "```python" in DEFAULT_INSTRUCTIONS["code"]


def test_a_template_is_a_text_or_a_file(tmp_path):
  file = tmp_path / "template.txt"
  file.write_text("Q: {question}\nA: <think>\n\n")
  assert read_template("Q: {question}\n") == "Q: {question}\n"
  assert read_template(str(file)) == "Q: {question}\nA: <think>\n"  # without the line break at the file's end
  file.write_text("Q: {instruction}")
  with pytest.raises(InputError, match=r"config\.prompt\.template: .*template\.txt: no {question} in this file"):
    read_template(str(file))
  for missing in ("Solve this.", str(tmp_path), "x" * 5000):
    with pytest.raises(InputError, match=r"config\.prompt\.template: .*: expected a text with {question}, or a file"):
      read_template(missing)
