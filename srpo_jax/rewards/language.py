"""Detects responses that mix languages: they use letters of a script that the prompt does not use.

Code, mathematics and URLs are removed first, because they bring letters of their own. The scan only moves forward. It
searches once for a closing delimiter that does not occur, so a megabyte of opening delimiters costs as much as a
megabyte of prose.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

MIN_LETTERS = 2
MIN_SHARE = 0.002  # of all letters in the response without code, mathematics and URLs

_EXEMPT = "exempt"  # Latin and Greek, the letters of mathematics in every language
_FAMILIES = {
  "LATIN": _EXEMPT,
  "GREEK": _EXEMPT,
  "MODIFIER": _EXEMPT,
  "FEMININE": _EXEMPT,
  "MASCULINE": _EXEMPT,
  "IDEOGRAPHIC": "CJK",
  "HIRAGANA": "KANA",
  "KATAKANA": "KANA",
  "KATAKANA-HIRAGANA": "KANA",
}

_OPENER = re.compile(
  r"(?P<fence>```)|(?P<code>`)|(?P<dollars>\$\$)|(?P<dollar>\$)|(?P<paren>\\\()|(?P<bracket>\\\[)"
  r"|(?P<command>\\[A-Za-z]+)|(?P<escaped>\\.)|(?P<url>(?:https?://|ftp://|www\.)[!-~]*)",
  re.DOTALL,
)
_CLOSERS = {"fence": "```", "dollars": "$$", "paren": "\\)", "bracket": "\\]"}  # these may span lines
_INLINE = {"code": re.compile(r"[^`\n]*+`"), "dollar": re.compile(r"(?:[^$\n\\]|\\.)*+\$")}  # these may not span lines


def language_mix(prompt: str, response: str) -> bool:
  """Returns True if the response has letters of a script that the prompt does not use.

  At least 2 letters, and over 0.2 % of the response's letters, must belong to one such script. Letters in fenced and
  inline code, LaTeX and URLs are not counted. Latin and Greek letters never mix languages. A fence or formula that is
  opened but not closed is ordinary text, so nothing can be hidden behind it. Linear in the length of both texts.
  """
  counts = letter_scripts("".join(prose(response)))
  total = sum(counts.values())
  own = letter_scripts(prompt)
  return any(
    count >= MIN_LETTERS and count > MIN_SHARE * total
    for script, count in counts.items()
    if script != _EXEMPT and script not in own
  )


def letter_scripts(text: str) -> Counter[str]:
  """Counts the letters of each script in `text`. Latin and Greek are counted together under one name."""
  scripts: Counter[str] = Counter()
  for character, count in Counter(text).items():
    if character.isalpha():
      scripts[script_of(character)] += count
  return scripts


def script_of(letter: str) -> str:
  """Returns the script of a letter, from its Unicode name. Letterlike symbols and styled alphabets are exempt."""
  if "\u2100" <= letter <= "\u214f":
    return _EXEMPT
  plain = unicodedata.normalize("NFKD", letter)[0]
  word = unicodedata.name(plain, "UNNAMED").partition(" ")[0]
  return _FAMILIES.get(word, word)


def prose(text: str) -> Iterator[str]:
  """Yields the pieces of `text` outside code, LaTeX and URLs, with a blank after each but the last."""
  position = 0
  absent: set[str] = set()  # closing delimiters that no longer occur in the rest of the text
  while opener := _OPENER.search(text, position):
    yield text[position : opener.start()] + " "
    position = _end_of(text, opener, absent)
  yield text[position:]


def _end_of(text: str, opener: re.Match[str], absent: set[str]) -> int:
  kind, end = opener.lastgroup or "", opener.end()
  if kind in _INLINE:
    closed = _INLINE[kind].match(text, end)
    return closed.end() if closed else end
  closer = _CLOSERS.get(kind)
  if closer is None or closer in absent:
    return end
  found = text.find(closer, end)
  if found < 0:
    absent.add(closer)
    return end
  return found + len(closer)
