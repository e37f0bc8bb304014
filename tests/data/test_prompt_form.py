"""Prompts and the validators that can reward what they ask for."""

import pytest

from srpo_jax.data.prompt_config import PromptConfig
from srpo_jax.data.prompt_form import check_form
from srpo_jax.utils.errors import InputError

JSON = 'Answer with one JSON object: {"answer": ...}.'
BOX = r"Put it in \boxed{}."


def form(validator="json", domains=("math",), template="", **fields):
  check_form(PromptConfig(**fields), template, validator, domains)


def test_the_default_prompt_with_json_is_refused():
  with pytest.raises(InputError) as refused:
    form()
  message = str(refused.value)
  assert "\n" not in message
  assert message.startswith(r"config.prompt.math: asks for \boxed{}, but config.reward.validator=json")
  with pytest.raises(InputError, match=r"config\.prompt\.code: asks for a ```python block"):
    form(domains=["code"])


@pytest.mark.parametrize(
  "fields",
  [
    {"instructions": {"math": BOX}, "style": "chat"},
    {"instructions": {"math": JSON.replace("JSON", "object"), "puzzle": BOX}, "domains": ("math", "puzzle")},
    {"instructions": {"math": "Think."}, "style": "chat", "system": BOX},
    {"style": "template", "template": f"{{question}} {BOX}"},
    {"style": "template", "template": "{question} {instruction}"},
  ],
)
def test_other_texts_that_ask_for_a_box(fields):
  with pytest.raises(InputError, match=r"config\.prompt\.(math|puzzle|system|template): asks for"):
    form(**fields)


@pytest.mark.parametrize(
  "fields",
  [
    {"validator": "tags"},
    {"instructions": {"math": JSON, "code": BOX}},  # no problem of the domain code
    {"instructions": {"math": JSON + " Do not use \\boxed{}."}},
    {"instructions": {"math": "Answer."}},
    {"style": "template", "template": "{question}"},  # the instruction is not in the prompt
    {"domains": ["puzzle"]},
  ],
)
def test_prompts_that_the_validator_can_reward(fields):
  form(**fields)
