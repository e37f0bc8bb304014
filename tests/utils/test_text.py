"""Text from outside is shown and kept without harm."""

import logging
import random
import types

import numpy as np
import pytest

from srpo_jax.rollout.collector import text_of
from srpo_jax.types import Rollout
from srpo_jax.utils.errors import InputError, TrainingError, report
from srpo_jax.utils.logs import start_logging
from srpo_jax.utils.text import say, storable, visible, visible_line
from tests.helpers.odd_text import ODD, REORDERING, is_clean

SHOWN = "Ünïcode 中文 العربية 👩‍👩‍👧 naïve α²\u00a0\\n 'x' \"y\" می‌خواهم"


def test_text_that_is_seen_stays_as_it_is():
  assert visible(SHOWN) == storable(SHOWN) == SHOWN
  assert visible("a\tb\nc") == "a\tb\nc" and storable("a\x00\x1b\u202e") == "a\x00\x1b\u202e"
  assert visible_line("  two\n\twords\u00a0here ", 20) == "two words here"


def test_escapes_are_those_of_python():
  assert visible("\ud800\x00\x1b[2J\x9b\u202e\r\x7f") == "\\ud800\\x00\\x1b[2J\\x9b\\u202e\\r\\x7f"
  assert storable("a\ud83d\ude00") == "a\\ud83d\\ude00"


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_a_line_is_clean_and_stays_the_same_when_cleaned_again(text):
  line = visible_line(text, 60)
  assert is_clean(line, 60) and visible_line(line, 60) == line
  storable(text).encode()


def test_random_text_becomes_clean():
  draw = random.Random(0)
  kinds = [*map(chr, range(256)), *REORDERING, "\ud800", "\udfff", "\u2028", "\ufeff", "中", "\U0001f600", "\u200d"]
  for length in range(200):
    text = "".join(draw.choices(kinds, k=length))
    line = visible_line(text, 50)
    assert is_clean(line, 50) and visible_line(line, 50) == line
    lines = visible(text)
    assert is_clean(lines.replace("\n", "").replace("\t", ""), 100_000) and visible(lines) == lines
    assert storable(text).encode().decode() == storable(text)


@pytest.mark.parametrize("kind", [InputError, TrainingError, lambda text: OSError(2, "No such file", text)])
@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_an_error_is_one_clean_line(text, kind, capsys):
  assert report(kind(text)) in (1, 2)
  line = capsys.readouterr().err
  assert line.startswith("error: ") and line.endswith("\n") and is_clean(line[:-1], 4100)


def test_log_lines_and_printed_text_are_clean(capsys):
  before = logging.getLogger().handlers[:]
  try:
    start_logging()
    logging.warning("of %s", "\x1b[2J\ud800\u202e")
    say("row \x1b[2J\ud800")
  finally:
    logging.getLogger().handlers[:] = before
  shown = capsys.readouterr()
  assert "of \\x1b[2J\\ud800\\u202e\n" in shown.err and shown.out == "row \\x1b[2J\\ud800\n"
  shown.err.encode()


def test_the_text_of_a_response_can_be_kept():
  """A tokenizer of the user's own may decode to anything."""
  tokenizer = types.SimpleNamespace(decode=lambda tokens, **_: "\ud800\x00" * len(tokens))
  tokens = np.arange(2, dtype=np.int32)
  rollout = Rollout("p", 0, tokens, tokens, np.zeros(2, np.float32), truncated=True)
  assert text_of(rollout, tokenizer) == "\\ud800\x00" * 2
