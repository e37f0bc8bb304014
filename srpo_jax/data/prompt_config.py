"""The section `prompt` of a config."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from srpo_jax.data.prompts import DEFAULT_INSTRUCTIONS, DEFAULT_SYSTEM, STYLES
from srpo_jax.rewards.format import OPENERS
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.fields import defaults, field


@dataclasses.dataclass(frozen=True)
class PromptConfig:
  """Text that the policy continues. `--config.prompt.DOMAIN=TEXT` is short for `prompt.instructions.DOMAIN`."""

  style: str = field(
    "base",
    "Form of the prompt. base: SRPO's text for base models. chat: the tokenizer's chat template. template: `template`.",
    source="I",
    choices=STYLES,
  )
  template: str = field(
    "", "Text of style=template, with {question} and optionally {instruction}, or a file with such a text."
  )
  instructions: dict[str, str] = field(DEFAULT_INSTRUCTIONS, "Text of {instruction}, by domain.")
  examples: str = field(
    "",
    "Few-shot examples before the question: a .jsonl file or module:function() -> rows, with the fields question, "
    "response and optionally domain. A prompt gets those of its own domain. Empty: none.",
  )
  system: str = field(DEFAULT_SYSTEM, "System message of style=chat. Empty: no system message.")
  opens_think: str = field(
    "prompt",
    "Who opens <think>. prompt: the prompt ends in <think>, which style=chat appends to the chat template. template: "
    "the chat template or `template` itself ends in <think>. model: every response must begin with <think>.",
    choices=OPENERS,
  )
  eos: str = field(
    "",
    "Token that ends a well-formed response, such as <|im_end|>. It is added to the tokens that end a response. "
    "Empty: any token that ends a response (the tokenizer's EOS and eos_token_id of generation_config.json).",
  )

  def check(self, config: Any, where: str) -> None:
    if (self.style == "template") != bool(self.template):
      expected = "a text with {question}, or a file" if self.style == "template" else "nothing, or style=template"
      raise InputError(f"{where}.template: expected {expected} with style={self.style}, got {self.template[:60]!r}")
    if self.style == "base" and self.opens_think != "prompt":
      raise InputError(
        f"{where}.opens_think: expected prompt with style=base, whose text ends in <think>, got {self.opens_think!r}"
      )
    if self.style == "template" and self.examples:
      raise InputError(f"{where}.examples: expected nothing with style=template: write the examples into the template")

  def check_domains(self, domains: tuple[str, ...], where: str) -> None:
    """Raises InputError if an instruction belongs to none of `domains`."""
    for domain in self.instructions:
      if domain not in domains:
        others = [entry.name for entry in dataclasses.fields(self)]
        raise InputError(f"{where}.{domain}: unknown field, expected one of {', '.join((*domains, *others))}")


def gather_instructions(values: Any) -> Any:
  """Returns the plain values of a config with every `prompt.DOMAIN` moved into `prompt.instructions`.

  A section `prompt` without `instructions` has only instructions, as in earlier versions. Its other fields get their
  defaults.
  """
  prompt = values.get("prompt") if isinstance(values, Mapping) else None
  if not isinstance(prompt, Mapping) or not isinstance(prompt.get("instructions", {}), Mapping):
    return values
  names = {entry.name for entry in dataclasses.fields(PromptConfig)}
  stated = {name: value for name, value in prompt.items() if name in names}
  if "instructions" not in stated:
    stated = defaults(PromptConfig) | {"instructions": {}} | stated
  short = {domain: text for domain, text in prompt.items() if domain not in names}
  return {**values, "prompt": stated | {"instructions": {**stated["instructions"], **short}}}
