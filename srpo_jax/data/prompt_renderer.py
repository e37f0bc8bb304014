"""The one place that makes a prompt from a problem. Training, evaluation, labelling, serving and replay all use it."""

import dataclasses
import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jinja2.exceptions import TemplateError

from srpo_jax.data.encoded import Prompt, token_id
from srpo_jax.data.prompt_examples import Example
from srpo_jax.data.prompts import (
  DEFAULT_INSTRUCTIONS,
  DEFAULT_SYSTEM,
  asked_text,
  fill_template,
  format_prompt,
)
from srpo_jax.rewards.format import THINK
from srpo_jax.types import BUILT_IN_DOMAINS, Problem
from srpo_jax.utils.errors import InputError

PROBE = "What is 1 + 1?"
# Date for templates that print the current one. A fixed date keeps prompts equal when a run resumes on another day.
TODAY = datetime.datetime(2024, 7, 26)
_CODES = ("%d", "%-d", "%a", "%A", "%b", "%B", "%m", "%-m", "%y", "%Y", "%H", "%I", "%M", "%S", "%p")
_REPLACED = "".join(f" | replace('{code}', '{TODAY.strftime(code)}')" for code in _CODES)
# Hides the function strftime_now of transformers, which takes no function from its caller.
FIXED_DATE = f"{{% macro strftime_now(format) %}}{{{{ format{_REPLACED} }}}}{{% endmacro %}}\n"


@dataclasses.dataclass(frozen=True)
class PromptRenderer:
  """Makes the prompt of a problem, as text and as tokens.

  The text holds all special tokens, so that encoding it without adding any gives the prompt's tokens. In the styles
  base and template, it begins with the BOS if the tokenizer puts one in front of a text by itself. In the style chat,
  the template decides.

  Args:
    tokenizer: Hugging Face tokenizer.
    template: text of style=template.
    instructions: domain -> instruction.
    examples: domain -> few-shot examples.

  The other arguments are fields of `PromptConfig`.

  Raises:
    InputError: the settings do not fit the tokenizer. Rendered prompts decide, so that nothing is guessed.
  """

  tokenizer: Any
  style: str = "base"
  template: str = ""
  instructions: Mapping[str, str] = dataclasses.field(default_factory=lambda: DEFAULT_INSTRUCTIONS)
  examples: Mapping[str, Sequence[Example]] = dataclasses.field(default_factory=dict)
  system: str = DEFAULT_SYSTEM
  opens_think: str = "prompt"
  eos: str = ""

  def __post_init__(self) -> None:
    _ = self.eos_id
    for domain in dict.fromkeys((*self.instructions, *self.examples)) or ("math",):
      self._check(domain)

  def __call__(self, problem: Problem) -> Prompt:
    """Returns the prompt of a problem. A user-defined domain may have no instruction.

    Raises:
      InputError: a built-in domain without an instruction.
    """
    if problem.domain in BUILT_IN_DOMAINS and problem.domain not in self.instructions:
      raise InputError(f"problem {problem.id}: no config.prompt.{problem.domain}, expected its domain's instruction")
    text = self.text(problem.question, problem.domain)
    return Prompt(
      problem,
      text,
      np.asarray(self._ids(text), np.int32),
      asked=asked_text(problem.question, self.instructions.get(problem.domain, "")),
      think_opened=self.opens_think != "model",
      eos=self.eos_id,
    )

  def text(self, question: str, domain: str) -> str:
    """Returns the text of the prompt of a question."""
    text = self._text(question, domain)
    return text + THINK if self.style == "chat" and self.opens_think == "prompt" else text

  def chat(self, question: str, domain: str) -> list[dict[str, str]]:
    """Returns the messages of the style chat. Examples are earlier turns."""
    instruction = self.instructions.get(domain, "")
    messages = [{"role": "system", "content": self.system}] if self.system else []
    for example in self.examples.get(domain, ()):
      messages.append({"role": "user", "content": asked_text(example.question, instruction)})
      messages.append({"role": "assistant", "content": THINK + example.response})
    return [*messages, {"role": "user", "content": asked_text(question, instruction)}]

  def turn_end(self) -> int | None:
    """Returns the id of the token with which the chat template ends the assistant's turn, or None if it has none."""
    turn = {"role": "assistant", "content": PROBE}
    after = self._apply_template([{"role": "user", "content": "?"}, turn], prompt=False).rpartition(PROBE)[2]
    return next(iter(self._ids(after)), None)

  @functools.cached_property
  def eos_id(self) -> int | None:
    """Id of the only token that ends a well-formed response. None: any stop token does."""
    return token_id(self.tokenizer, self.eos)

  @functools.cached_property
  def bos(self) -> str:
    """Text that the tokenizer puts in front of every text by itself. Empty if it puts none."""
    plain, whole = (self.tokenizer(PROBE, add_special_tokens=added)["input_ids"] for added in (False, True))
    starts = [i for i in range(len(whole) - len(plain) + 1) if whole[i : i + len(plain)] == plain]
    return "".join(self.tokenizer.convert_ids_to_tokens(whole[: starts[0]])) if starts else ""

  def _ids(self, text: str) -> list[int]:
    return self.tokenizer(text, add_special_tokens=False)["input_ids"]

  def _text(self, question: str, domain: str) -> str:
    """Returns the text without the `<think>` that the style chat appends."""
    instruction = self.instructions.get(domain, "")
    if self.style == "chat":
      return self._apply_template(self.chat(question, domain))
    if self.style == "template":
      text = fill_template(self.template, question, instruction)
    else:
      end = self.eos or self.tokenizer.eos_token or ""
      turns = [(example.question, example.response + end) for example in self.examples.get(domain, ())]
      text = format_prompt(question, instruction, turns)
    return text if text.startswith(self.bos) else self.bos + text

  def _apply_template(self, messages: Sequence[Mapping[str, str]], *, prompt: bool = True) -> str:
    template = self._chat_template
    try:
      return self.tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=False, add_generation_prompt=prompt
      )
    except (TemplateError, TypeError) as error:  # a template may refuse a role, or index what it does not expect
      advice = "; with config.prompt.system empty, no system message is sent" if self.system else ""
      raise InputError(f"config.prompt.style: the chat template refuses the prompt: {error}{advice}") from error

  @functools.cached_property
  def _chat_template(self) -> str:
    """The tokenizer's chat template, with a fixed date."""
    try:
      template = self.tokenizer.get_chat_template()
    except ValueError:  # there is none, or there are several and none is called "default"
      raise InputError(
        f"config.prompt.style: chat, but the tokenizer of {self.tokenizer.name_or_path} has no chat template, expected "
        "chat_template in its tokenizer_config.json, or prompt.style=base"
      ) from None
    return FIXED_DATE + template if "strftime_now" in template else template

  def _check(self, domain: str) -> None:
    """Checks a rendered prompt of a domain: who opens `<think>`, and that nothing was lost."""
    text = self._text(PROBE, domain)
    opened = text.rstrip().endswith(THINK)
    where, place = "config.prompt.opens_think", {"chat": "the chat template"}.get(self.style, "the template")
    if opened and (self.opens_think == "model" or (self.style == "chat" and self.opens_think == "prompt")):
      raise InputError(f"{where}: {self.opens_think}, but {place} ends in {THINK} by itself, expected template")
    if not opened and (self.opens_think == "template" or (self.style == "template" and self.opens_think == "prompt")):
      expected = "prompt or model" if self.style == "chat" else "model"
      raise InputError(f"{where}: {self.opens_think}, but {place} does not end in {THINK}, expected {expected}")
    if self.style == "chat":
      self._check_chat(text, domain)

  def _check_chat(self, text: str, domain: str) -> None:
    """Checks that the chat template keeps the system text, the examples and the question."""
    for message in self.chat(PROBE, domain):
      if message["content"].strip() in text:
        continue
      if message["role"] == "assistant":
        raise InputError(
          "config.prompt.examples: the chat template drops the thinking of earlier turns, so that an example would "
          "show no <think>: expected no examples with this template, or prompt.style=base, or a template of your own "
          "(prompt.style=template) with the examples in it"
        )
      field = "system" if message["role"] == "system" else "style"
      raise InputError(
        f"config.prompt.{field}: the chat template drops or changes the text {message['content'][:60]!r}"
      )
