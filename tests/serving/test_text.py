"""Tests that text in pieces equals the text of all tokens at once, and that stop strings cut it as a search would."""

import random

import pytest
from transformers import AutoTokenizer

from srpo_jax.serving.text import TextStream, token_bytes
from srpo_jax.utils.errors import InputError


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
  return AutoTokenizer.from_pretrained(str(checkpoint))


@pytest.fixture(scope="module")
def vocabulary(tokenizer):
  return token_bytes(tokenizer, len(tokenizer) + 5)


def split(random_, tokens):
  while tokens:
    n = random_.randint(1, 4)
    yield tokens[:n]
    tokens = tokens[n:]


def pieces(vocabulary, chunks, stop=()):
  stream = TextStream(vocabulary, stop)
  chunks = list(chunks)
  return [stream.push(chunk, last=i == len(chunks) - 1) for i, chunk in enumerate(chunks)]


TEXT = "naïve 你好吗 🤖👩‍🔬 ∑x² <think> What is 3 + 4? </think> Ω\n\tdef f(x):"


@pytest.mark.parametrize("seed", range(20))
def test_pieces_make_up_the_text(tokenizer, vocabulary, seed):
  random_ = random.Random(seed)
  tokens = tokenizer(TEXT * 2, add_special_tokens=False)["input_ids"]
  got = pieces(vocabulary, split(random_, tokens))
  assert "".join(got) == TEXT * 2 and not any("�" in piece for piece in got)
  assert len([piece for piece in got if piece]) > 20


@pytest.mark.parametrize("seed", range(50))
def test_any_tokens_are_decoded_as_the_tokenizer_does(tokenizer, vocabulary, seed):
  """The tokens include broken characters, special ids and ids that the tokenizer does not know."""
  random_ = random.Random(seed)
  tokens = [random_.randrange(256 if seed % 2 else len(tokenizer) + 5) for _ in range(60)]
  expected = tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
  assert "".join(pieces(vocabulary, split(random_, tokens))) == expected


@pytest.mark.parametrize("seed", range(200))
def test_stop_strings(vocabulary, tokenizer, seed):
  """Compares with a search of the whole text, over an alphabet in which stop strings begin often and overlap."""
  random_ = random.Random(seed)
  text = "".join(random_.choice("ab你") for _ in range(random_.randint(1, 30)))
  stop = ["".join(random_.choice("ab你") for _ in range(random_.randint(1, 4))) for _ in range(random_.randint(1, 3))]
  tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
  at = min((text.find(s) for s in stop if s in text), default=len(text))
  assert "".join(pieces(vocabulary, split(random_, tokens), stop)) == text[:at]


def test_text_is_held_back_only_where_a_stop_may_begin(vocabulary, tokenizer):
  ids = tokenizer("one END two ENDED", add_special_tokens=False)["input_ids"]
  stream = TextStream(vocabulary, ["ENDED"])
  got = ""
  for i, token in enumerate(ids):
    got += stream.push([token])
    whole = tokenizer.decode(ids[: i + 1])
    held = max(n for n in range(5) if whole.endswith("ENDED"[:n])) if not stream.stopped else 5
    assert got == whole[: len(whole) - held]
  assert stream.stopped and got == "one END two " and stream.push(ids) == ""


def test_a_tokenizer_of_another_kind_is_refused(tokenizer):
  from tokenizers import decoders

  other = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
  other.backend_tokenizer.decoder = decoders.Metaspace()
  with pytest.raises(InputError, match="byte-level"):
    token_bytes(other, 10)
