"""Refuses prompts that ask for another form of the answer than the validator wants."""

import re
from collections.abc import Iterable, Sequence

from srpo_jax.data.prompt_config import PromptConfig
from srpo_jax.utils.errors import InputError

_JSON = re.compile(r"json|[\"'`]answer[\"'`]", re.IGNORECASE)
_OTHERS = {
  "\\boxed{}": re.compile(r"\\f?boxed(?![A-Za-z])"),
  "a ```python block": re.compile(r"```\s*py", re.IGNORECASE),
}


def check_form(prompt: PromptConfig, template: str, validator: str, domains: Iterable[str]) -> None:
  r"""Checks that the prompts of some domains do not ask for a form whose reward is always 0.

  With the validator `json`, an instruction that asks for `\boxed{}` or a code block and does not mention JSON would
  teach the policy answers that the judge cannot read.

  Args:
    prompt: the section `prompt` of the config.
    template: text of style=template.
    validator: form that an answer must have.
    domains: domains of the problems.

  Raises:
    InputError: a prompt asks for another form. The message names its field.
  """
  if validator != "json":
    return
  for domain in domains:
    texts = _texts(prompt, template, domain)
    if any(_JSON.search(text) for _, text in texts):
      continue
    for field, text in texts:
      for asked, pattern in _OTHERS.items():
        if pattern.search(text):
          raise InputError(
            f"config.prompt.{field}: asks for {asked}, but config.reward.validator=json never rewards such an answer, "
            f'expected a prompt that asks for one JSON object with the key "answer", or config.reward.validator=tags'
          )


def _texts(prompt: PromptConfig, template: str, domain: str) -> Sequence[tuple[str, str]]:
  """Returns (field, text) for every text of the config that stands in the prompts of a domain."""
  instruction = (domain, prompt.instructions.get(domain, ""))
  if prompt.style == "template":
    return [("template", template), *([instruction] if "{instruction}" in template else [])]
  return [*([("system", prompt.system)] if prompt.style == "chat" else []), instruction]
