r"""Reads answers in words: a choice letter, a name, a time of day, a date, or a list of names in one `\text{}`."""

import re

from srpo_jax.rewards.answers.latex import Token, names
from srpo_jax.rewards.answers.value import Many, Words

_MONTHS = names("january february march april may june july august september october november december")
_CLOCK = re.compile(r"([0-9]{1,2}) ?: ?([0-9]{2}) ?([ap]) ?\.? ?m\.?", re.IGNORECASE)
_DATE = re.compile(r"([a-z]+)\.? ?([0-9]{1,2}) ?(?:st|nd|rd|th)?", re.IGNORECASE)
_DAY_FIRST = re.compile(r"([0-9]{1,2}) ?(?:st|nd|rd|th)? ?(?:of )?([a-z]+)", re.IGNORECASE)
_LISTED = re.compile(r"[A-Za-z][A-Za-z '\-]*(?:,(?: ?and)? ?[A-Za-z][A-Za-z '\-]*)+")
_CHOICE = re.compile(r"\(?\s*([A-Z])\s*(?:\)\s*[.:,]?|[.:](?![0-9A-Za-z]))(.*)", re.DOTALL)
_ANOTHER_CHOICE = re.compile(
  r"\(\s*[A-Z]\s*\)|(?<![A-Za-z0-9])[A-Z]\s*[):]|(?<![A-Za-z0-9])[A-Z]\.(?:\s|$)|^\s*(?:[-+*^=,;&/!]|\\?%|and\b|or\b)"
  r"|^\s*[A-Z]\s*(?:$|[,;])|\b(?:and|or)\s+[A-Z]\b|(?i:\b(?:not|wrong|incorrect|false|neither|except)\b)"
)
_LOOKS = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:bf|rm|it|sf)|boldsymbol|bm|mbox|underline)\s*(?=\{)")
_BLANKS = re.compile(r"\\(?:qquad|quad|left|right|displaystyle|[ ,;:!()])|[~${}\s]+")
MAX_CHOICE = 200  # characters of a choice with its text


def choice(text: str) -> str | None:
  r"""Returns the letter of a choice with its text, brackets or point: `(B)~40`, `C)`, `\textbf{(B)}\ 72^\circ`.

  Returns None if the text names no single choice.
  """
  if len(text) > MAX_CHOICE:
    return None
  plain = _BLANKS.sub(" ", _LOOKS.sub("", text)).strip()
  found = _CHOICE.fullmatch(plain)
  if found is None or _ANOTHER_CHOICE.search(found[2]):
    return None
  return found[1]


def read_text(content: str) -> Words | Many | None:
  """Reads a text with a time, a date or a list of names. Returns None for other texts."""
  plain = " ".join(content.split())
  if (clock := _CLOCK.fullmatch(plain)) and 1 <= int(clock[1]) <= 24 and int(clock[2]) < 60:
    return Words(f"{int(clock[1])}:{clock[2]} {clock[3].lower()}m")
  for pattern, month, day in ((_DATE, 1, 2), (_DAY_FIRST, 2, 1)):
    date = pattern.fullmatch(plain)
    if date and date[month].lower() in _MONTHS and 1 <= int(date[day]) <= 31:
      return Words(f"{date[month].lower()} {int(date[day])}")
  if _LISTED.fullmatch(plain) and all(len(part.split()) <= 3 for part in plain.split(",")):
    parts = [re.sub(r"^and\b", "", part.strip()) for part in plain.split(",")]
    return Many(tuple(Words(_letter_or_text(part)) for part in parts))
  return None


def _letter_or_text(part: str) -> str:
  part = part.strip()
  return part if len(part) == 1 and part.isupper() else normalized(part)


def joined_text(found: list[Token]) -> str:
  """Returns the text of tokens with single blanks."""
  return " ".join("".join(" " * (token.gap or token.kind == "text") + token.text for token in found).split())


def is_textual(found: list[Token]) -> bool:
  """Returns True if the tokens hold words or a time of day, and otherwise only numbers and punctuation."""
  words = any(token.kind in ("word", "text") for token in found) or bool(_CLOCK.fullmatch(joined_text(found)))
  return words and all(token.kind in ("word", "text", "number", "letter") or token.text in ":.,'-" for token in found)


def normalized(text: str) -> str:
  """Returns a text without case, quotes and double blanks."""
  return " ".join(text.casefold().strip(" .\"'`").split())
