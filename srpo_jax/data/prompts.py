"""Text of the prompt in the styles that need no tokenizer: the SRPO template, and a template of the user's own."""

import re
from collections.abc import Sequence
from pathlib import Path

from srpo_jax.utils.errors import InputError

STYLES = ("base", "chat", "template")

PROMPT_TEMPLATE = (
  "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
  "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
  "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
  "i.e., <think> reasoning process here </think> <answer> answer here </answer>. "
  "{instruction} User: {question}\nAssistant: <think>"
)

DEFAULT_INSTRUCTIONS = {
  "math": "Put the final answer in \\boxed{} inside the answer tags.",
  "code": "Put the whole program in one ```python block inside the answer tags.",
}
DEFAULT_SYSTEM = PROMPT_TEMPLATE.partition(" {instruction}")[0]  # the rules about the tags

_PLACE = re.compile(r"\{(question|instruction)\}")


def template_parts() -> tuple[str, str, str]:
  """Returns the fixed text of the template before the instruction, between it and the question, and after both."""
  before, rest = PROMPT_TEMPLATE.split("{instruction}")
  between, after = rest.split("{question}")
  return before, between, after


def format_prompt(question: str, instruction: str, turns: Sequence[tuple[str, str]] = ()) -> str:
  """Puts a question and an instruction into the template. The template ends in `<think>`, where the completion starts.

  All texts are inserted unchanged, including any braces. An empty instruction leaves no extra blank.

  Args:
    turns: earlier (question, response) pairs. A response begins after `<think>` and ends with its EOS, if it has one.
  """
  before, between, after = template_parts()
  # str.format would read the braces of LaTeX as fields, and str.replace could find "{question}" in an instruction.
  ask = between.lstrip()
  earlier = "".join(f"{ask}{asked}{after}{response}\n" for asked, response in turns)
  return before + (instruction + " " if instruction else "") + earlier + ask + question + after


def fill_template(template: str, question: str, instruction: str) -> str:
  """Puts a question and an instruction into a user's template. Both texts are inserted unchanged."""
  values = {"question": question, "instruction": instruction}
  return _PLACE.sub(lambda place: values[place[1]], template)


def read_template(named: str) -> str:
  """Returns a user's template. `named` is its text, which has `{question}`, or the name of a file with the text.

  The line break at the end of a file is not part of the template.

  Raises:
    InputError: there is no `{question}`, or the file cannot be read.
  """
  if "{question}" in named:
    return named
  try:
    text = Path(named).read_text(encoding="utf-8")
  except (OSError, ValueError) as error:
    reason = getattr(error, "strerror", None) or "not UTF-8"
    raise InputError(
      f"config.prompt.template: {named[:60]!r}: expected a text with {{question}}, or a file with one ({reason})"
    ) from None
  if "{question}" not in text:
    raise InputError(f"config.prompt.template: {named}: no {{question}} in this file, expected the question's place")
  return text.removesuffix("\n")


def asked_text(question: str, instruction: str) -> str:
  """Returns the user's turn of a chat: the question and, after a blank line, the instruction."""
  return f"{question}\n\n{instruction}" if instruction else question
