r"""Makes text from outside safe to keep and to show. A policy, its programs and data sets may write anything.

Characters that would act on a terminal or a page instead of being seen become escapes, as in a Python string: control
characters (`\x1b`), halves of surrogate pairs (`\ud800`), and marks that reorder or hide text (`\u202e`).
"""

import logging
import re

MESSAGE_LENGTH = 4000  # characters of an error's line
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_UNSEEN = re.compile(
  r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
  r"\U000e0000-\U000e0fff]"
)
_BLANKS = re.compile(r"\s+")


def storable(text: str) -> str:
  """Returns the text with lone surrogates as escapes, because UTF-8, and so parquet, cannot hold them."""
  return _SURROGATES.sub(_escape, text)


def visible(text: str) -> str:
  """Returns the text with unseen characters as escapes. Line breaks and tabs stay."""
  return _UNSEEN.sub(_escape, text.replace("\r\n", "\n"))


def visible_line(text: str, length: int) -> str:
  """Returns the text as one visible line of at most `length` characters, cut with `...`. Blanks become single spaces.

  Only the beginning of a long text is looked at.
  """
  line = visible(_BLANKS.sub(" ", text[: 4 * length])).strip()
  return line if len(line) <= length else line[: length - 3] + "..."


def say(text: str) -> None:
  """Prints text from outside to standard output."""
  print(visible(text), flush=True)


class VisibleFormatter(logging.Formatter):
  """Formats log records, with unseen characters as escapes."""

  def format(self, record: logging.LogRecord) -> str:
    return visible(super().format(record))


def _escape(found: "re.Match[str]") -> str:
  return found[0].encode("unicode_escape").decode()
