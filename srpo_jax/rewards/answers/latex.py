r"""Splits a short mathematical text, LaTeX or plain, into tokens and removes everything that only changes its looks.

`\dfrac`, `\left`, thin spaces, dollars, thousands separators and Unicode signs are normalized here, so that `value.py`
sees one spelling of each thing. This takes one pass. Unknown text stays a token, which `value.py` refuses.
"""

import dataclasses
import re
from fractions import Fraction

from srpo_jax.rewards.format import _braced


class Unreadable(ValueError):
  """The text is not a value that this package can read. The message gives the reason in a few words."""


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
  kind: str  # number | letter | word | command | text | symbol
  text: str  # number: ASCII digits, at most one point; text: the content of \text{...}; command: with its backslash
  gap: bool = False  # True if a blank precedes the token


def names(text: str) -> frozenset[str]:
  """Returns the blank-separated names in a text."""
  return frozenset(text.split())


# `log` without a base is the natural logarithm on both sides. Only its ratio to other logarithms could show the base.
FUNCTIONS = names("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp")
OPENERS = frozenset(["(", "[", "{", "\\{", "\\langle", "\\lfloor", "\\lceil"])
CLOSERS = frozenset([")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil"])

_UNICODE = str.maketrans(
  {
    "−": "-",
    "–": "-",
    "×": r"\cdot ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "÷": "/",
    "⁄": "/",
    "π": r"\pi ",
    "∞": r"\infty ",
    "√": r"\sqrt ",
    "∪": r"\cup ",
    "∈": r"\in ",
    "±": r"\pm ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "≈": r"\approx ",
    "∅": r"\varnothing ",
    "°": r"\degree ",
    "²": "^2 ",
    "³": "^3 ",
    "½": r"\frac{1}{2}",
    "θ": r"\theta ",
    "€": r"\euro ",
    "£": r"\pounds ",
    "\u00a0": " ",
    "\u2009": " ",
    "\u202f": " ",
    "’": "'",
  }
)
_SPELLING = {
  r"\dfrac": r"\frac",
  r"\tfrac": r"\frac",
  r"\cfrac": r"\frac",
  r"\times": r"\cdot",
  r"\ast": r"\cdot",
  r"\div": "/",
  r"\leq": r"\le",
  r"\leqslant": r"\le",
  r"\geq": r"\ge",
  r"\geqslant": r"\ge",
  r"\neq": r"\ne",
  r"\lt": "<",
  r"\gt": ">",
  r"\%": "%",
  r"\bigcup": r"\cup",
  r"\lbrace": r"\{",
  r"\rbrace": r"\}",
  r"\lbrack": "[",
  r"\rbrack": "]",
  r"\vert": "|",
  r"\lvert": "|",
  r"\rvert": "|",
  r"\circ": r"\degree",
  r"\imath": "i",
  r"\colon": ":",
  r"\land": "and",
  r"\lor": "or",
  "*": r"\cdot",
}
_PLAIN_WORDS = {"pi": r"\pi", "sqrt": r"\sqrt", "infty": r"\infty", "infinity": r"\infty"} | {
  name: "\\" + name for name in FUNCTIONS
}
_SHORT_WORDS = names("or no cm mm km kg mg ml ft mi am pm")  # two letters that are not a product
_BLANK_COMMANDS = names(
  r"\left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \displaystyle \textstyle \limits \quad \qquad"
  r" \( \) \[ \] \! \, \; \: \>"
) | {"\\ ", "\\\n"}
_TEXT_COMMANDS = names(
  r"\text \textbf \textit \textrm \texttt \textsf \textnormal \mathrm \mathbf \mathit \mathsf \mbox \hbox"
  r" \operatorname"
)
_GROUPED = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:(?:\{,\}|,\s*\\!\s*|\\,|\\!|~|\\ )[0-9]{3})+(?![0-9])")
_NOT_DIGIT = re.compile(r"[^0-9]")
_TOKEN = re.compile(
  r"(?P<repeating>[0-9]*\.[0-9]{0,20}\\(?:overline|bar|dot)\s*\{[0-9]{1,20}\})|(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(?P<command>\\(?:[A-Za-z]+|.))|(?P<word>[A-Za-z]+)|(?P<blank>[\s~$]+)"
  r"|(?P<symbol>.)",
  re.DOTALL,
)
_PREFIXED_FUNCTION = re.compile(rf"\\({'|'.join(sorted(FUNCTIONS, key=len, reverse=True))})([A-Za-gi-z])")


def tokens(text: str) -> list[Token]:
  """Returns the tokens of a mathematical text. Linear in its length.

  Raises:
    Unreadable: a command such as `\\text` has no closed brace group after it.
  """
  text = _GROUPED.sub(lambda match: _NOT_DIGIT.sub("", match[0]), text.translate(_UNICODE).strip())
  found: list[Token] = []
  position, gap = 0, False
  while match := _TOKEN.match(text, position):
    kind, piece = match.lastgroup or "", match[0]
    position = match.end()
    if kind == "blank" or piece in _BLANK_COMMANDS:
      gap = True
    elif piece in _TEXT_COMMANDS:
      content = _braced(text, position)
      if content is None:
        raise Unreadable(f"{piece} without braces")
      position = text.index("{", position) + len(content) + 2
      found.append(Token("text", content.replace("~", " "), gap))
      gap = False
    else:
      found += _tokens_of(kind, piece, gap)
      gap = False
  return _with_thousands(_without_full_stop(found))


def _tokens_of(kind: str, piece: str, gap: bool) -> list[Token]:
  if kind == "word":
    command = _PLAIN_WORDS.get(piece.lower() if len(piece) > 2 else piece)
    if command:
      return [Token("command", command, gap)]
    if len(piece) > 2 or piece.lower() in _SHORT_WORDS:
      return [Token("word", piece, gap)]
    return [Token("letter", letter, gap and index == 0) for index, letter in enumerate(piece)]
  if kind == "repeating":
    return [Token("number", _repeating(piece), gap)]
  piece = _SPELLING.get(piece, piece)
  if kind == "command" and (split := _PREFIXED_FUNCTION.fullmatch(piece)) and piece[1:] not in FUNCTIONS:
    # A gold answer that lost a blank: `\cotx`.
    return [Token("command", "\\" + split[1], gap), Token("letter", split[2])]
  if kind in ("command", "symbol"):
    if piece == "i":
      kind = "letter"
    elif piece in ("and", "or"):
      kind = "word"
    else:
      kind = "command" if len(piece) > 1 else "symbol"
  return [Token(kind, piece, gap)]


def _repeating(piece: str) -> str:
  r"""Returns the fraction that a repeating decimal such as `0.1\overline{6}` stands for, as text."""
  whole, _, decimals = piece.partition(".")
  first, _, period = decimals.partition("\\")
  period = _NOT_DIGIT.sub("", period)
  scale = 10 ** len(first)
  value = Fraction(int(whole + first or 0), scale) + Fraction(int(period), scale * (10 ** len(period) - 1))
  return f"{value.numerator}/{value.denominator}"


def _without_full_stop(found: list[Token]) -> list[Token]:
  return found[:-1] if found and found[-1].text == "." and found[-1].kind == "symbol" else found


def _with_thousands(found: list[Token]) -> list[Token]:
  """Joins numbers such as `1,000` outside brackets, and `118 000` everywhere.

  Inside brackets, or next to a blank, a comma separates values. The argument of a command, `\\frac{20,000}{3}`, holds
  one value, so that its braces do not count as brackets.
  """
  joined: list[Token] = []
  open_brackets: list[bool] = []  # True for brackets around values, False for braces around an argument
  index = 0
  while index < len(found):
    token = found[index]
    if token.kind in ("symbol", "command") and token.text in OPENERS:
      open_brackets.append(not (token.text == "{" and _is_argument(joined)))
    elif token.kind in ("symbol", "command") and token.text in CLOSERS and open_brackets:
      open_brackets.pop()
    digits = token.text
    if token.kind == "number" and digits.isdigit() and len(digits) <= 3:
      while not any(open_brackets) and _thousand_follows(found, index):
        digits += found[index + 2].text
        index += 2
      groups = _blank_groups(found, index)
      digits += "".join(found[index + 1 + place].text for place in range(groups))
      index += groups
    joined.append(dataclasses.replace(token, text=digits))
    index += 1
  return joined


def _is_argument(before: list[Token]) -> bool:
  """Returns True if a brace after these tokens opens the argument of a command."""
  return bool(before) and (before[-1].text in ("}", "^", "_") or before[-1].kind == "command")


def _blank_groups(found: list[Token], index: int) -> int:
  """Returns the number of groups of three digits that follow a number after blanks, as in `118 000`."""
  groups = 0
  if found[index].text.startswith("0"):
    return 0
  while (next_index := index + 1 + groups) < len(found):
    token = found[next_index]
    if token.kind != "number" or not token.gap or not token.text.isdigit() or len(token.text) != 3:
      break
    groups += 1
  after = found[index + 1 + groups] if index + 1 + groups < len(found) else None
  return 0 if after is not None and (after.kind == "number" or after.text in ("/", "_")) else groups


def _thousand_follows(found: list[Token], index: int) -> bool:
  group = found[index + 1 : index + 3]
  if len(group) < 2 or group[0].text != "," or group[0].gap or group[1].gap or group[1].kind != "number":
    return False
  if "." in found[index].text:
    return False
  whole = group[1].text.partition(".")[0]
  return len(whole) == 3


def spelling(found: list[Token]) -> str:
  """Returns a string for a token list. Texts that differ only in looks have the same string."""
  return "\x1f".join(token.text.strip() if token.kind == "text" else token.text for token in found)
