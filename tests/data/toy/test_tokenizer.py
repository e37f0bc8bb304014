"""The demo's tokenizer: lossless, short, the same bytes every time, and the same ids beside a Qwen2 config."""

import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from srpo_jax.data.prompts import DEFAULT_INSTRUCTIONS, format_prompt
from srpo_jax.data.toy import arithmetic, arithmetic_traces
from srpo_jax.data.toy.tokenizer import EOS, PAD, build_tokenizer

TEXTS = [
  "",
  " ",
  "  two  spaces \n\n\t tab\r\n",
  "naïve café: 漢字かな한국어 Привет عربى 👩‍👩‍👧 \U0001f600",
  "they're x'rest",  # Qwen's pattern splits 're off; without it the merges would join e and s
  "money someone sixteenth seventy-seven, then add nothing: 12,345.67",
  "</think><answer>\\boxed{\\frac{1}{2}}</answer> User: hi\nAssistant: <think>",
  "\x00\x01\x7f control and \ufeff mark and e\u0301 (a letter and its accent)",
  "def f(x):\n  return {x: [x ** 2]}  # ```python",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return build_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(folder):
  return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def beside_config(tmp_path_factory):
  """Loads the tokenizer from a model's folder, where transformers uses the tokenizer class of the model type."""
  folder = build_tokenizer(tmp_path_factory.mktemp("model"))
  (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}))
  return AutoTokenizer.from_pretrained(folder)


def prompt(question):
  return format_prompt(question, DEFAULT_INSTRUCTIONS["math"])


def test_any_text_round_trips(folder, tokenizer):
  bare = Tokenizer.from_file(str(folder / "tokenizer.json"))
  every_plane = "".join(map(chr, [*range(0, 0x3000), *range(0xAC00, 0xAD00), *range(0x1F600, 0x1F650)]))
  for text in [*TEXTS, every_plane]:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert bare.decode(bare.encode(text).ids, skip_special_tokens=False) == text


def test_a_qwen2_config_beside_it_changes_no_id(tokenizer, beside_config):
  assert type(beside_config).__name__ == "Qwen2Tokenizer"
  questions = [p.question for p in arithmetic.problems("heldout", 90, 0)]
  for text in [*TEXTS[:-2], TEXTS[-1], *map(prompt, questions)]:
    assert beside_config.encode(text) == tokenizer.encode(text)
    assert beside_config.decode(beside_config.encode(text)) == text
  for name in ("eos_token_id", "pad_token_id", "bos_token_id"):
    assert getattr(beside_config, name) == getattr(tokenizer, name)
  assert len(beside_config) == len(tokenizer)


def test_special_tokens_and_size(tokenizer):
  assert (tokenizer.eos_token, tokenizer.pad_token) == (EOS, PAD) == ("<|endoftext|>", "<|pad|>")
  assert tokenizer.eos_token_id != tokenizer.pad_token_id and tokenizer.bos_token_id is None
  assert len(tokenizer) <= 1024 and len(tokenizer) % 64 == 0
  assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
  assert tokenizer.encode("a" + EOS)[-1] == tokenizer.eos_token_id
  assert tokenizer.decode([*tokenizer.encode("82"), tokenizer.eos_token_id], skip_special_tokens=True) == "82"


def test_digits_are_single_tokens_everywhere(tokenizer):
  for text in ("0123456789", "x12y", "$1,234.50", "(37+45)*6=492", "\\boxed{82}", " 7 88", "٣٤"):
    ids = tokenizer.encode(text)
    for token in tokenizer.convert_ids_to_tokens(ids):
      assert not any(c.isdigit() for c in token) or len(token) == 1, (text, token)


def test_the_template_is_three_tokens(tokenizer):
  question = tokenizer.encode("What is 37 + 45?")
  assert len(question) == 7  # "What is ", 3, 7, " + ", 4, 5, "?"
  whole = tokenizer.encode(prompt("What is 37 + 45?"))
  assert len(whole) == 3 + len(question)
  assert whole[2:-1] == question


@pytest.mark.parametrize(
  "piece",
  [" </think> <answer>\\boxed{", "}</answer>", " easy.", "forty", "What is ", ", then add ", "\nAssistant: <think>"],
)
def test_typical_pieces_are_single_tokens(tokenizer, piece):
  assert len(tokenizer.encode(piece)) == 1


def test_the_parts_of_a_sample_are_encoded_as_they_are_separately(tokenizer):
  """Checks that encoding a text gives the tokens of its parts, as the sampler emits them one by one."""
  rng = np.random.default_rng(0)
  lengths = Counter()
  for problem in arithmetic.problems("train", 600, 0):
    before = tokenizer.encode(prompt(problem.question))
    for write in (
      arithmetic_traces.worked,
      arithmetic_traces.guess,
      arithmetic_traces.slip,
      arithmetic_traces.malformed,
    ):
      text = write(arithmetic.expression_of(problem), rng)
      tokens = tokenizer.encode(text)
      assert tokenizer.encode(prompt(problem.question) + text) == before + tokens
      assert "".join(tokenizer.decode([token]) for token in tokens) == text
      lengths[write.__name__] = max(lengths[write.__name__], len(tokens) + 1)
    assert len(before) <= 16
  assert lengths["worked"] <= 40 and lengths["slip"] <= 40 and lengths["guess"] <= 8 and lengths["malformed"] <= 48


def test_number_words_are_not_cut_out_of_longer_ones(tokenizer):
  one = tokenizer.encode("one")[0]
  for word in ("money", "someone", "ones", "twenty1one2"):
    assert one not in tokenizer.encode(word)
  assert one in tokenizer.encode("twenty-one")


def test_two_builds_give_the_same_bytes(folder, tmp_path):
  code = f"from srpo_jax.data.toy.tokenizer import build_tokenizer; build_tokenizer({str(tmp_path / 'deep' / 'er')!r})"
  environment = dict(os.environ, PYTHONHASHSEED="54321", PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
  subprocess.run([sys.executable, "-c", code], check=True, env=environment)
  names = sorted(path.name for path in folder.iterdir())
  assert names == ["tokenizer.json", "tokenizer_config.json"]
  for name in names:
    assert (tmp_path / "deep" / "er" / name).read_bytes() == (folder / name).read_bytes()
