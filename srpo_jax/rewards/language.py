"""Detects responses that mix languages: they use letters of a script that the prompt does not use.

Letters are counted wherever a reader meets words: in prose, formulas, inline code, comments and strings. The names of a
program and the addresses of URLs are not words. The scan only moves forward. It searches once for a closing delimiter
that does not occur, so a megabyte of opening delimiters costs as much as a megabyte of prose.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from srpo_jax.rewards.code_words import without_code

MIN_LETTERS = 2
MIN_SHARE = 0.002  # of all letters in the response without code, mathematics and URLs
MAX_SYMBOLS = 2  # different letters of an alphabet that may stand alone, as symbols

_EXEMPT = "exempt"  # Latin and Greek, the letters of mathematics in every language
_FAMILIES = {
  "LATIN": _EXEMPT,
  "GREEK": _EXEMPT,
  "MODIFIER": _EXEMPT,
  "FEMININE": _EXEMPT,
  "MASCULINE": _EXEMPT,
  "IDEOGRAPHIC": "CJK",
  "BOPOMOFO": "CJK",
  "HIRAGANA": "KANA",
  "KATAKANA": "KANA",
  "KATAKANA-HIRAGANA": "KANA",
}
_WORDS = ("CJK", "HANGUL")  # scripts in which one letter is a word or a syllable, never a symbol

_OPENER = re.compile(
  r"(?P<fence>```)|(?P<code>`)|(?P<dollars>\$\$)|(?P<dollar>\$)|(?P<paren>\\\()|(?P<bracket>\\\[)"
  r"|(?P<command>\\[A-Za-z]+)|(?P<escaped>\\.)",
  re.DOTALL,
)
_CLOSERS = {"fence": "```", "dollars": "$$", "paren": "\\)", "bracket": "\\]"}  # these may span lines
_INLINE = {"code": re.compile(r"[^`\n]*+`"), "dollar": re.compile(r"(?:[^$\n\\]|\\.)*+\$")}  # these may not span lines

# A scheme, or a host of several labels with a path. A blank, a quote, a bracket or an East Asian mark ends it.
_EAST = r"\u3000-\u3003\u3008-\u301f\uff01-\uff0f\uff1a-\uff1f\uff3b-\uff3d\uff5b-\uff5d\u201c-\u201d"
_PART = rf"[^\s`\"'<>|\\^{{}}\[\]()${_EAST}]"
_URL = re.compile(
  rf"(?:\b(?:https?|ftp)://|\bwww\.|\b(?:[a-z0-9-]{{1,63}}\.){{1,9}}[a-z]{{2,9}}/)(?:{_PART}|\({_PART}*\))*"
)


def language_mix(prompt: str, response: str) -> bool:
  """Returns True if the response has letters of a script that the prompt does not use.

  At least 2 letters, and over 0.2 % of the letters of the response's prose, must belong to one such script. Words in
  formulas, inline code, comments and strings count. Names of a program in a fence and URLs do not. Latin and Greek
  letters never mix languages. Up to 2 different letters of an alphabet may stand alone, as symbols of mathematics do. A
  prompt with kana allows kanji. Linear in the length of both texts.
  """
  own = {_EXEMPT, *letter_scripts(prompt)}
  if "KANA" in own:
    own.add("CJK")
  scripts = {letter: script_of(letter) for letter in set(response) if letter.isalpha()}
  foreign = {letter: script for letter, script in scripts.items() if script not in own}
  if not foreign:
    return False
  words = _without_marks(_URL.sub(" ", response))
  total = sum(letter_scripts("".join(prose(words))).values())
  counts = _foreign_counts(without_code(words, foreign.keys()), foreign)
  return any(count >= MIN_LETTERS and count > MIN_SHARE * total for count in counts.values())


def _without_marks(text: str) -> str:
  """Removes combining marks and characters of no width, which stand between the letters of one word."""
  hidden = {ord(c): None for c in set(text) if ord(c) > 127 and unicodedata.category(c) in ("Mn", "Mc", "Me", "Cf")}
  return text.translate(hidden) if hidden else text


def _foreign_counts(text: str, foreign: dict[str, str]) -> Counter[str]:
  """Counts the letters of each foreign script, without the letters that stand alone as symbols."""
  counts: Counter[str] = Counter()
  alone: dict[str, Counter[str]] = {}
  for run in re.findall(f"[{re.escape(''.join(foreign))}]+", text):
    script = foreign[run[0]]
    if len(run) == 1 and script not in _WORDS:
      alone.setdefault(script, Counter())[run] += 1
    else:
      counts.update(foreign[letter] for letter in run)
  for script, letters in alone.items():
    if len(letters) > MAX_SYMBOLS:
      counts[script] += sum(letters.values())
  return counts


def letter_scripts(text: str) -> Counter[str]:
  """Counts the letters of each script in `text`. Latin and Greek are counted together under one name."""
  scripts: Counter[str] = Counter()
  for character, count in Counter(text).items():
    if character.isalpha():
      scripts[script_of(character)] += count
  return scripts


def script_of(letter: str) -> str:
  """Returns the script of a letter, from its Unicode name. Letterlike symbols and styled alphabets are exempt."""
  if "\u2100" <= letter <= "\u214f" or "\U0001ee00" <= letter <= "\U0001eeff":
    return _EXEMPT
  plain = unicodedata.normalize("NFKD", letter)[0]
  word = unicodedata.name(plain, "UNNAMED").partition(" ")[0]
  return _FAMILIES.get(word, word)


def prose(text: str) -> Iterator[str]:
  """Yields the pieces of `text` outside code and LaTeX, with a blank after each but the last."""
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
