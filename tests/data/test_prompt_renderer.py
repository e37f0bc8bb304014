"""Prompts of every style, against strings written by hand and against transformers."""

import datetime

import numpy as np
import pytest

from srpo_jax.data.encoded import load_tokenizer, stop_tokens
from srpo_jax.data.prompt_examples import Example
from srpo_jax.data.prompt_renderer import PromptRenderer
from srpo_jax.data.prompts import format_prompt
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError
from tests.helpers import chat_templates
from tests.helpers.chat_templates import DEAF, LLAMA3, NO_SYSTEM, QWEN3, QWEN25, SMOLLM2, THINKING, chat_folder

PROBLEM = Problem("p", "math", "What is $x$?")
BOX = {"math": "Box it.", "code": "Fence it."}
WORKED = Example("1 + 1?", "Two. </think> <answer> \\boxed{2} </answer>", "math")
EXAMPLES = {"math": (WORKED,), "code": (Example("Write f.", "So. </think> <answer> ... </answer>", "code"),)}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
  """Returns a function that makes a tokenizer with a chat template."""
  made = {}

  def make(template, **more):
    key = (template, *more.items())
    if key not in made:
      made[key] = load_tokenizer(chat_folder(tmp_path_factory.mktemp("tokenizer"), template, **more))
    return made[key]

  return make


def render(tokenizer, problem=PROBLEM, **more):
  return PromptRenderer(tokenizer, **({"instructions": BOX} | more))(problem)


def ids(tokenizer, text):
  return tokenizer(text, add_special_tokens=False)["input_ids"]


CHAT = {"style": "chat", "system": "Rules."}
QWEN25_START = "<|im_start|>system\nRules.<|im_end|>\n<|im_start|>user\n"
TURN = (
  "1 + 1?\n\nBox it.<|im_end|>\n<|im_start|>assistant\n<think>Two. </think> <answer> \\boxed{2} </answer><|im_end|>\n"
)
ASKED = "What is $x$?\n\nBox it.<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
  ("template", "settings", "text"),
  [
    (QWEN25, CHAT, f"{QWEN25_START}{ASKED}<think>"),
    (QWEN25, CHAT | {"opens_think": "model"}, QWEN25_START + ASKED),
    (QWEN25, CHAT | {"system": ""}, f"{QWEN25_START.replace('Rules.', 'You are Qwen.')}{ASKED}<think>"),
    (SMOLLM2, CHAT | {"system": ""}, f"{QWEN25_START.replace('Rules.', 'You are SmolLM.')}{ASKED}<think>"),
    (QWEN25, CHAT | {"examples": EXAMPLES}, f"{QWEN25_START}{TURN}<|im_start|>user\n{ASKED}<think>"),
    (THINKING, CHAT | {"opens_think": "template"}, f"{QWEN25_START}{ASKED}<think>\n"),
    (QWEN3, CHAT | {"opens_think": "model"}, f"{QWEN25_START}{ASKED}"),
    (
      LLAMA3,
      CHAT,
      "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\nRules.<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nWhat is $x$?\n\nBox it.<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n<think>",
    ),
    (
      QWEN25,
      {"style": "template", "template": "{instruction} Q: {question}\n<think>"},
      "Box it. Q: What is $x$?\n<think>",
    ),
    (
      QWEN25,
      {"style": "template", "template": "Q: {question}\nA:", "opens_think": "model"},
      "Q: What is $x$?\nA:",
    ),
    (None, {}, format_prompt("What is $x$?", "Box it.")),
  ],
)  # fmt: skip
def test_the_text_of_each_style(tokenizer, template, settings, text):
  made = tokenizer(template)
  prompt = render(made, **settings)
  assert prompt.text == text and prompt.tokens.tolist() == ids(made, text) and prompt.tokens.dtype == np.int32
  assert prompt.think_opened == (settings.get("opens_think") != "model") and prompt.problem is PROBLEM
  assert prompt.asked == "What is $x$?\n\nBox it."


@pytest.mark.parametrize("examples", [{}, EXAMPLES])
@pytest.mark.parametrize("template", [QWEN25, SMOLLM2, LLAMA3, QWEN3, THINKING])
def test_a_chat_has_the_ids_of_transformers(tokenizer, template, examples):
  if template is QWEN3 and examples:
    pytest.skip("Qwen3's template drops the thinking of examples")
  made = tokenizer(template)
  opens = "template" if template is THINKING else "model"
  messages = [{"role": "system", "content": "Rules."}]
  for example in examples.get("math", ()):
    messages.append({"role": "user", "content": f"{example.question}\n\nBox it."})
    messages.append({"role": "assistant", "content": f"<think>{example.response}"})
  messages.append({"role": "user", "content": "What is $x$?\n\nBox it."})
  dated = template.replace("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024")
  expected = made.apply_chat_template(messages, chat_template=dated, add_generation_prompt=True, return_dict=False)
  found = render(made, **CHAT, opens_think=opens, examples=examples).tokens.tolist()
  assert found == expected and found.count(made.bos_token_id) == (template is LLAMA3)


def test_base_examples_are_of_the_prompts_own_domain_and_end_with_the_eos(tokenizer):
  made = tokenizer(None)
  assert render(made, examples=EXAMPLES).text == format_prompt(
    "What is $x$?", "Box it.", [("1 + 1?", f"{WORKED.response}<|endoftext|>")]
  )
  other = render(made, Problem("p", "puzzle", "Solve."), examples=EXAMPLES)
  assert other.text == format_prompt("Solve.", "")
  ended = render(made, examples=EXAMPLES, eos="<|im_end|>")
  assert "</answer><|im_end|>\nUser: What is $x$?" in ended.text and ended.eos == ids(made, "<|im_end|>")[0]


@pytest.mark.parametrize("bos", [False, True])
def test_a_prompt_has_the_bos_that_the_tokenizer_puts_itself(tokenizer, bos):
  made = tokenizer(LLAMA3, bos=bos)
  start = "<|begin_of_text|>" * bos
  plain = format_prompt("What is $x$?", "Box it.")
  prompt = render(made)
  assert prompt.text == start + plain and prompt.tokens.tolist() == made(plain)["input_ids"]  # as transformers adds it
  own = {"style": "template", "template": "<|begin_of_text|>{question}<think>"}
  for settings in ({}, own, CHAT):
    found = render(made, **settings)
    assert found.tokens.tolist().count(made.bos_token_id) == (bos or settings != {})
    assert found.tokens.tolist() == ids(made, found.text)


def test_a_prompt_of_qwen2_is_encoded_as_before(checkpoint):
  made = load_tokenizer(checkpoint)
  text = format_prompt("What is $x$?", "Box it.")
  assert render(made).text == text and render(made).tokens.tolist() == ids(made, text)


def test_the_date_of_a_template_is_fixed(tokenizer):
  texts = {render(tokenizer(LLAMA3), **CHAT).text for _ in range(2)}
  today = datetime.date.today().strftime("%d %b %Y")
  assert len(texts) == 1 and today not in texts.pop()


@pytest.mark.parametrize(
  ("template", "settings", "message"),
  [
    (None, CHAT, r"config\.prompt\.style: chat, but the tokenizer of .* has no chat template"),
    (NO_SYSTEM, CHAT, r"config\.prompt\.style: the chat template refuses the prompt: no system role here; with config"),
    (DEAF, {"style": "chat"}, r"config\.prompt\.system: the chat template drops or changes the text 'A conversation"),
    (QWEN3, CHAT | {"examples": EXAMPLES}, r"config\.prompt\.examples: the chat template drops the thinking"),
    (THINKING, CHAT, r"config\.prompt\.opens_think: prompt, but the chat template ends in <think> by itself, expected"),
    (THINKING, CHAT | {"opens_think": "model"}, r"opens_think: model, but the chat template ends in <think> by itself"),
    (QWEN25, CHAT | {"opens_think": "template"}, r"opens_think: template, but the chat template does not end"),
    (QWEN25, {"style": "template", "template": "{question}"}, r"opens_think: prompt, but the template does not end in"),
    (
      QWEN25,
      {"style": "template", "template": "{question}<think>", "opens_think": "model"},
      r"opens_think: model, but the template ends in <think> by itself, expected template",
    ),
    (QWEN25, {"eos": "no token"}, r"config\.prompt\.eos: 'no token' is \d+ tokens of the tokenizer, expected one"),
    (QWEN25, {"instructions": {"code": "x"}}, r"problem p: no config\.prompt\.math"),
  ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(tokenizer, template, settings, message):
  with pytest.raises(InputError, match=message):
    render(tokenizer(template), **settings)


def test_a_template_may_refuse_a_system_message_and_get_none(tokenizer):
  assert "You are Qwen." in render(tokenizer(NO_SYSTEM), style="chat", system="").text


def test_the_end_of_a_turn_and_the_tokens_that_end_a_response(tokenizer, tmp_path):
  turn = {name: ids(tokenizer(QWEN25), name)[0] for name in ("<|im_end|>", "<|eot_id|>")}
  assert PromptRenderer(tokenizer(QWEN25), style="chat").turn_end() == turn["<|im_end|>"]
  assert PromptRenderer(tokenizer(LLAMA3), style="chat").turn_end() == turn["<|eot_id|>"]
  made = tokenizer(chat_templates.QWEN25)
  folder = chat_folder(tmp_path)
  assert stop_tokens(folder, made) == (made.eos_token_id,)
  assert stop_tokens(folder, made, turn["<|im_end|>"]) == tuple(sorted((made.eos_token_id, turn["<|im_end|>"])))
