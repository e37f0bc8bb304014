r"""Normalised words of a question, by which questions are compared.

Case, punctuation, operators, whitespace and LaTeX's spacing and grouping are dropped. Words, numbers and identifiers
remain. Every identifier of one letter, Latin or Greek, becomes the same symbol `SYMBOL`, so that renaming variables
changes nothing. A run of letters that names points or a product is split into single letters. Such runs are capitals
(`ABC`) and letters inside `$...$` (`xy`). Chinese, Japanese and Korean text has no spaces and is split by character.

    words(r"Let $x_1 = \frac{ab}{2}$. Is $\triangle ABC$ isosceles?")
    == ["let", "·", "1", "frac", "·", "·", "2", "is", "triangle", "·", "·", "·", "isosceles"]
"""

import re

import numpy as np
import xxhash

SYMBOL = "·"
_PRODUCT = 4  # most letters of a product; a longer run is a word, inside mathematics too
_POINTS = 5  # most letters of a name made of points, such as ABCDE

# Commands that only affect layout. The text inside \text{...} is prose and is read as prose.
LAYOUT = re.compile(
  r"\\(?:left|right|bigg?[lrm]?|Bigg?[lrm]?|displaystyle|textstyle|quad|qquad|limits|hspace\*?\{[^{}]*\}|[,;:!>\s])(?![a-zA-Z])"
  r"|\\(?:,|;|:|!|>|\s)|~|&nbsp;"
)
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|operatorname|mbox|emph)\s*\{([^{}]*)\}")
SAME = re.compile(r"\\[dt](?=frac(?![a-z]))")  # \dfrac, \tfrac
_MATH = re.compile(r"\$\$?(.+?)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_GREEK = (
  "alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|iota|kappa|lambda|mu|nu|xi|rho|sigma|tau|upsilon|"
  "phi|varphi|chi|psi|omega|ell"
)
_SYMBOLS = re.compile(rf"\\(?:{_GREEK})(?![a-z])", re.IGNORECASE)
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(
  rf"\d+(?:\.\d+)?|[{_CJK}]|[^\W\d_{_CJK}]+(?:['’](?=[^\W\d_])[^\W\d_]+)?|{SYMBOL}"  # a word, or `don't`
)
_ASCII_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+(?:\.[0-9]+)?")  # same words in ASCII text, twice as fast
_THOUSANDS = re.compile(r"([0-9])(?:,|\{,\}|\\,)(?=[0-9]{3}(?![0-9]))")
_PROSE = re.compile(r"(\\(?:text|textbf|textit|textrm|mathrm|operatorname|mbox)\s*\{[^{}]*\})")
# The lookbehind comes after the first letter because few positions get that far.
_CAPITALS = re.compile(rf"[A-Z](?<![A-Za-z\\'’][A-Z])[A-Z]{{1,{_POINTS - 1}}}(?![A-Za-z])")
_LETTERS = re.compile(rf"[A-Za-z](?<![A-Za-z\\][A-Za-z])[A-Za-z]{{1,{_PRODUCT - 1}}}(?![A-Za-z])")


def words(text: str) -> list[str]:
  """Returns the normalised words of a text in order. A text without letters and digits has none."""
  if "," in text:
    text = _THOUSANDS.sub(r"\1", text)
  if "\\" in text or "$" in text or "~" in text:
    text = SAME.sub(r"\\", text)
    text = _MATH.sub(_spaced_products, text)
    if "\\" in text or "~" in text:
      text = _SYMBOLS.sub(f" {SYMBOL} ", _TEXT.sub(r" \1 ", LAYOUT.sub(" ", text)))
  text = _CAPITALS.sub(_spaced, text)
  found = _ASCII_WORD.findall(text.lower()) if text.isascii() else _WORD.findall(text.casefold())
  return [word if len(word) > 1 or not _is_letter(word) else SYMBOL for word in found]


def _is_letter(word: str) -> bool:
  return word.isalpha() and not ("\u3040" <= word <= "\ufaff")


def _spaced_products(match: re.Match[str]) -> str:
  """Splits the letters of a product or a polygon. Words inside \\text and names of commands stay whole."""
  inner = next(group for group in match.groups() if group is not None)
  if "\\" not in inner:
    return f" {_products(inner)} "
  parts = _PROSE.split(inner)
  return " " + "".join(part if part.startswith("\\") and "{" in part else _products(part) for part in parts) + " "


def _products(text: str) -> str:
  return _LETTERS.sub(_spaced, text)


def _spaced(match: re.Match[str]) -> str:
  return " ".join(match.group())


def word_hashes(items: list[str]) -> np.ndarray:
  """Returns a 64-bit hash of each word, uint64 [word]. The hashes are the same on every machine."""
  return np.fromiter(map(_hashes.__getitem__, items), np.uint64, len(items))


class _Hashes(dict[str, int]):
  """Cache of word hashes. A look-up takes a quarter of the time of a hash. It stops growing at about 100 MB."""

  def __missing__(self, word: str) -> int:
    found = xxhash.xxh3_64_intdigest(word.encode())
    if len(self) < 1 << 19:
      self[word] = found
    return found


_hashes = _Hashes()


def gram_hashes(hashes: np.ndarray, starts: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
  """Hashes every run of `n` words within one text.

  Args:
    hashes: word hashes of all texts, one text after the other; uint64 [word].
    starts: start of each text and end of the last; int64 [text + 1].
    n: number of words in a gram.

  Returns:
    The hashes in order, uint64 [gram], and the index of each gram's text, int32 [gram].
  """
  total = len(hashes) - n + 1
  if total <= 0:
    return np.empty(0, np.uint64), np.empty(0, np.int32)
  grams = np.zeros(total, np.uint64)
  for offset in range(n):  # polynomial hash in an odd base, modulo 2^64
    grams *= np.uint64(0x9E3779B97F4A7C15)
    grams += hashes[offset : offset + total]
  grams = _mixed(grams)
  lengths = np.diff(starts)
  owners = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
  whole = owners[:total] == owners[n - 1 :]
  return grams[whole], owners[:total][whole]


def _mixed(hashes: np.ndarray) -> np.ndarray:
  hashes = hashes ^ (hashes >> np.uint64(32))
  hashes *= np.uint64(0xD6E8FEB86659FD93)
  return hashes ^ (hashes >> np.uint64(32))
