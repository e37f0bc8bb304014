"""Decodes tokens to text piece by piece. Holds back incomplete characters and text that may begin a stop string.

The tokenizer must be byte-level: a token is a string of bytes, and a character may be spread over several tokens.
An incremental UTF-8 decoder turns the bytes into the same text as decoding all tokens at once.
"""

import codecs
import json
from collections.abc import Sequence
from typing import Any

from transformers.convert_slow_tokenizer import bytes_to_unicode

from srpo_jax.utils.errors import InputError


def token_bytes(tokenizer: Any, vocab_size: int) -> list[bytes]:
  """Returns the bytes of every token id of the model. Ids that the tokenizer does not know have no bytes.

  Raises:
    InputError: the tokenizer is not byte-level.
  """
  decoder = json.loads(tokenizer.backend_tokenizer.to_str()).get("decoder") or {}
  if {part["type"] for part in decoder.get("decoders", [decoder]) if part} != {"ByteLevel"}:
    raise InputError(f"{tokenizer.name_or_path}: the tokenizer's decoder is {decoder!r}, expected a byte-level one")
  byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}
  found = [b""] * vocab_size
  for token, id_ in tokenizer.get_vocab().items():
    if id_ < vocab_size:
      try:
        found[id_] = bytes(byte_of[letter] for letter in token)
      except KeyError:  # an added token, which stands in plain text
        found[id_] = token.encode()
  return found


class TextStream:
  """The text of one response.

  Args:
    vocabulary: the bytes of every token id.
    stop: stop strings. The text ends before the first of them.
  """

  def __init__(self, vocabulary: Sequence[bytes], stop: Sequence[str] = ()):
    self._vocabulary, self._stop = vocabulary, stop
    self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
    self._held = ""  # the end of the text so far, held back because it may begin a stop string
    self.stopped = False

  def push(self, tokens: Sequence[int], last: bool = False) -> str:
    """Returns the text that these tokens add.

    Args:
      last: True for the last tokens. They add held-back text as well, with U+FFFD for an incomplete character.
    """
    if self.stopped:
      return ""
    text = self._held + self._decoder.decode(b"".join(self._vocabulary[token] for token in tokens), last)
    begins = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
    if begins:
      self.stopped, self._held = True, ""
      return text[: min(begins)]
    held = 0 if last else max((_overlap(text, stop) for stop in self._stop), default=0)
    cut = len(text) - held
    self._held = text[cut:]
    return text[:cut]


def _overlap(text: str, stop: str) -> int:
  """Returns the length of the longest suffix of `text` that is a proper prefix of `stop`."""
  return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
