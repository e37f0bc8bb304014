"""Whether a response mixes languages: letters of a script that its prompt does not use.

Code, mathematics and addresses are taken out first, because they bring letters of their own. The scan moves forward
only: a delimiter that never closes is looked for once, so a megabyte of them costs as much as a megabyte of prose.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

MIN_LETTERS = 2
MIN_SHARE = 0.002  # of all letters of the stripped response

_EXEMPT = "exempt"  # Latin and Greek: the letters of mathematics in any language
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
_CLOSERS = {"fence": "```", "dollars": "$$", "paren": "\\)", "bracket": "\\]"}  # these may run over lines
_INLINE = {"code": re.compile(r"[^`\n]*+`"), "dollar": re.compile(r"(?:[^$\n\\]|\\.)*+\$")}  # these may not


def language_mix(prompt: str, response: str) -> bool:
  """True where at least 2 letters, and over 0.2 % of them, are of one script that the prompt does not use.

  Fenced and inline code, LaTeX and URLs do not count; Latin and Greek never do. An opened fence or formula that is not
  closed is ordinary text: nothing can be hidden behind it. Linear in the length of both texts.
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
  """How many letters of each script `text` holds; Latin and Greek together under one name."""
  scripts: Counter[str] = Counter()
  for character, count in Counter(text).items():
    if character.isalpha():
      scripts[script_of(character)] += count
  return scripts


def script_of(letter: str) -> str:
  """The script of one letter, from its Unicode name; letterlike symbols and styled alphabets count as mathematics."""
  if "\u2100" <= letter <= "\u214f":
    return _EXEMPT
  plain = unicodedata.normalize("NFKD", letter)[0]
  word = unicodedata.name(plain, "UNNAMED").partition(" ")[0]
  return _FAMILIES.get(word, word)


def prose(text: str) -> Iterator[str]:
  """The pieces of `text` outside code, LaTeX and URLs, each followed by a blank."""
  position = 0
  absent: set[str] = set()  # closers that do not occur any more
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
