r"""Reads the text of an answer as one value or several grouped values.

Tokens become a tree of small dataclasses that keeps the meaning of every kind of grouping: `1,2` (solutions in any
order), `(1,2)` (a pair or an open interval, in order), `[1,2]`, `\{1,2\}`, matrices, equations, words, and numerals in
a base. Math-Verify reads these leniently: it takes a pair for a list, and it uses only the last part of a chain of
equalities or some words of a text. Here a text is read either as a whole or not at all.
"""

import dataclasses
from collections.abc import Callable, Iterator

from srpo_jax.rewards.answers.expression import Expression
from srpo_jax.rewards.answers.latex import CLOSERS, FUNCTIONS, OPENERS, Token, Unreadable, names, spelling, tokens
from srpo_jax.rewards.answers.parser import MAX_DEPTH, parse
from srpo_jax.rewards.answers.units import unit_name

MAX_ITEMS = 64


@dataclasses.dataclass(frozen=True)
class Quantity:
  """A scalar with its unit. `unit` is None if it has none. A percent sign is part of the value."""

  expression: Expression
  unit: str | None = None
  percent: bool = False


@dataclasses.dataclass(frozen=True)
class Words:
  """An answer in words, with case and blanks normalized. A choice `(B)` is the word `B`."""

  text: str


@dataclasses.dataclass(frozen=True)
class Numeral:
  """Digits in a base, such as `4210_{5}`. Compared as written, because such questions ask for the conversion."""

  digits: str
  base: int


@dataclasses.dataclass(frozen=True)
class Infinity:
  sign: int


@dataclasses.dataclass(frozen=True)
class Many:
  """Values in any order, with repetitions: a list of solutions or a finite set."""

  items: tuple["Value", ...]


@dataclasses.dataclass(frozen=True)
class Union:
  """A union of intervals, in any order."""

  items: tuple["Value", ...]


@dataclasses.dataclass(frozen=True)
class Ordered:
  """Values in order between delimiters: a tuple, an interval or a ratio.

  Attributes:
    solved: True if the text was an inequality, not an interval.
  """

  opener: str
  closer: str
  items: tuple["Value", ...]
  solved: bool = False


@dataclasses.dataclass(frozen=True)
class Matrix:
  rows: tuple[tuple["Value", ...], ...]


@dataclasses.dataclass(frozen=True)
class Equation:
  """An equation `left = right`.

  Attributes:
    name: the left side as text if it only names something, else None.
    single: True if the left side is one name, such as `x`, and not a sum of names, such as `m+n`.
  """

  left: "Value"
  right: "Value"
  name: str | None
  single: bool


@dataclasses.dataclass(frozen=True)
class Opaque:
  """A text that cannot be read as a value. It equals only its own spelling.

  Attributes:
    why: the reason in a few words.
  """

  spelling: str
  why: str


Value = Quantity | Words | Numeral | Infinity | Many | Union | Ordered | Matrix | Equation | Opaque

_CLOSED_BY = {"\\{": "\\}", "\\langle": "\\rangle", "{": "}"}
_LESS = {"<": "(", "\\le": "["}
_MORE = {">": "(", "\\ge": "["}
_RELATIONS = frozenset(["=", "\\ne", "\\in", "\\approx", "\\equiv", "\\sim", *_LESS, *_MORE])
_MATRICES = frozenset(["pmatrix", "bmatrix", "matrix"])
_CURRENCIES = {"\\$": "dollar", "\\euro": "euro", "\\pounds": "pound sterling"}
_NAME_COMMANDS = names(
  r"\angle \triangle \overline \vec \hat \bar \mathcal \mathbb \frac \prime \alpha \beta \gamma \delta \theta \lambda"
  r" \mu \phi \omega \sigma \tau \rho"
) | {"\\" + name for name in FUNCTIONS}


def read_value(text: str, max_length: int) -> Value:
  """Reads a text of at most `max_length` characters as a value. Returns Opaque with the reason if this fails."""
  if len(text) > max_length:
    return Opaque(text, f"longer than {max_length} characters")
  try:
    found = tokens(text)
  except Unreadable as error:
    return Opaque(text.strip(), str(error))
  try:
    if max((depth for _, depth in _with_depth(found)), default=0) > MAX_DEPTH:
      raise Unreadable("nested too deep")
    return _value(found)
  except Unreadable as error:
    return Opaque(spelling(found), str(error))


def _value(found: list[Token]) -> Value:
  parts, conjunctions = _split_list(found)
  if len(parts) == 1:
    items = list(_items(parts[0]))
    return items[0] if len(items) == 1 else Many(tuple(items))
  if len(parts) > MAX_ITEMS:
    raise Unreadable("too many parts")
  listed = tuple(item for part in parts for item in _items(part))
  if "or" in conjunctions and all(isinstance(item, Ordered) and item.solved for item in listed):
    return Union(listed)
  return Many(listed)


def _split_list(found: list[Token]) -> tuple[list[list[Token]], set[str]]:
  """Splits tokens at commas, semicolons, "and" and "or" outside brackets.

  Returns:
    The parts, and the words ("and", "or") that occurred.
  """
  parts: list[list[Token]] = [[]]
  words: set[str] = set()
  after_comma = False
  for token, depth in _with_depth(found):
    word = _conjunction(token)
    if depth or not (word or (token.text in (",", ";") and token.kind == "symbol")):
      parts[-1].append(token)
      after_comma = False
    elif word and after_comma:  # "1, 2, and 3"
      words.add(word)
      after_comma = False
    else:
      words.update({word} if word else ())
      parts.append([])
      after_comma = not word
  if not all(parts):
    raise Unreadable("an empty part")
  return parts, words


def _conjunction(token: Token) -> str:
  text = token.text.strip(" ,").lower()
  return text if token.kind in ("word", "text") and text in ("and", "or") else ""


def _with_depth(found: list[Token]) -> Iterator[tuple[Token, int]]:
  """Yields each token with the number of brackets open around it. A bracket does not count itself.

  Raises:
    Unreadable: the brackets do not balance.
  """
  depth = 0
  for token in found:
    if token.kind in ("symbol", "command") and token.text in CLOSERS:
      depth -= 1
      if depth < 0:
        raise Unreadable("a bracket that was not opened")
    yield token, depth
    if token.kind in ("symbol", "command") and token.text in OPENERS:
      depth += 1
  if depth:
    raise Unreadable("a bracket that is not closed")


def _split(found: list[Token], separates: Callable[[Token], bool]) -> tuple[list[list[Token]], list[str]]:
  """Splits tokens at separators outside brackets. Returns the parts and the separators.

  Raises:
    Unreadable: a part is empty or the brackets do not balance.
  """
  parts: list[list[Token]] = [[]]
  separators = []
  for token, depth in _with_depth(found):
    if depth == 0 and token.kind in ("symbol", "command") and separates(token):
      separators.append(token.text)
      parts.append([])
    else:
      parts[-1].append(token)
  if not all(parts):
    raise Unreadable("an empty part")
  return parts, separators


def _items(found: list[Token]) -> Iterator[Value]:
  r"""Yields the values of one part of a list: the elements of a set, both signs for each `\pm`, or else one value."""
  inside = _enclosed(found, "\\{")
  if inside is not None:
    value = _value(inside) if inside else Many(())
    yield from value.items if isinstance(value, Many) else (value,)
    return
  signs = [index for index, token in enumerate(found) if token.text in ("\\pm", "\\mp")]
  if not signs or found[0].text in ("(", "[", "\\begin"):
    yield _item(found)
    return
  if len(signs) > 2:
    raise Unreadable("too many double signs")
  for choice in range(2 ** len(signs)):
    chosen = list(found)
    for bit, index in enumerate(signs):
      chosen[index] = Token("symbol", "-" if choice >> bit & 1 else "+")
    yield _item(chosen)


def _enclosed(found: list[Token], *openers: str) -> list[Token] | None:
  """Returns the tokens inside the outer brackets, or None.

  The first token must be one of `openers`, and the last token must be the bracket that closes it.
  """
  if len(found) < 2 or found[0].text not in openers or found[-1].text not in CLOSERS:
    return None
  wanted = _CLOSED_BY.get(found[0].text)
  if wanted is not None and found[-1].text != wanted:
    return None
  outside = [index for index, (_, depth) in enumerate(_with_depth(found)) if depth == 0]
  return found[1:-1] if outside == [0, len(found) - 1] else None


def _item(found: list[Token]) -> Value:
  """Reads one value. Unreadable text becomes Opaque, so that a part at least equals its own spelling."""
  try:
    return _related(found)
  except Unreadable as error:
    return Opaque(spelling(found), str(error))


def _related(found: list[Token]) -> Value:
  sides, relations = _split(found, lambda token: token.text in _RELATIONS)
  if not relations:
    return _joined(found)
  if relations == ["="]:
    name = _name(sides[0])
    single = name is not None and not any(token.text in ("+", "-") for token in sides[0])
    return Equation(_item(sides[0]), _item(sides[1]), name, single)
  if "=" in relations:
    raise Unreadable("a chain of equalities")
  if relations == ["\\in"] and _name(sides[0]):
    return _joined(sides[1])
  return _interval(sides, relations)


def _interval(sides: list[list[Token]], relations: list[str]) -> Value:
  """Returns the interval that an inequality for one name describes."""
  if all(relation in _MORE for relation in relations):
    sides, relations = sides[::-1], [{">": "<", "\\ge": "\\le"}[relation] for relation in relations[::-1]]
  if not all(relation in _LESS for relation in relations):
    raise Unreadable("a relation that is not read")
  named = [_name(side) is not None for side in sides]
  closers = {"(": ")", "[": "]"}
  if named == [True, False]:
    return Ordered("(", closers[_LESS[relations[0]]], (Infinity(-1), _item(sides[1])), solved=True)
  if named == [False, True]:
    return Ordered(_LESS[relations[0]], ")", (_item(sides[0]), Infinity(1)), solved=True)
  if named == [False, True, False]:
    ends = (_item(sides[0]), _item(sides[2]))
    return Ordered(_LESS[relations[0]], closers[_LESS[relations[1]]], ends, solved=True)
  raise Unreadable("an inequality that is not solved")


def _name(found: list[Token]) -> str | None:
  """Returns the tokens as a name, such as `x`, `S_{10}`, `f(2)` or `m+n`, or None if they compute something."""
  text = ""
  previous = ""
  called = 0  # brackets open after a letter: `f(2)`
  subscript = False
  if not found or found[0].text in ("+", "-"):
    return None
  for token in found:
    if token.text in ("(", "{"):
      called += called > 0 or previous.isalpha() or subscript
    elif token.text in (")", "}"):
      called -= called > 0
      subscript = False
    if token.kind == "number" and not called and previous != "_":
      return None
    if token.kind == "symbol" and token.text not in "(){}_',+-[]":
      return None
    if token.kind == "command" and token.text not in _NAME_COMMANDS:
      return None
    subscript = subscript or token.text == "_"
    text += token.text.strip()
    previous = token.text
  return text.replace("{", "").replace("}", "") if any(character.isalpha() for character in text) else None


def _joined(found: list[Token]) -> Value:
  parts, unions = _split(found, lambda token: token.text == "\\cup")
  if unions:
    return Union(tuple(_item(part) for part in parts))
  parts, colons = _split(found, lambda token: token.text == ":")
  if colons:
    return Ordered(":", ":", tuple(_item(part) for part in parts))
  return _bracketed(found) or _matrix(found) or _words(found) or _numeral(found) or _infinity(found) or _quantity(found)


def _bracketed(found: list[Token]) -> Value | None:
  inside = _enclosed(found, "(", "[", "\\langle")
  if inside is None:
    return None
  if len(inside) == 1 and inside[0].kind == "letter" and inside[0].text.isupper() and found[0].text == "(":
    return Words(inside[0].text)
  parts, commas = _split(inside, lambda token: token.text == ",")
  if not commas:
    return None
  return Ordered(found[0].text, found[-1].text, tuple(_item(part) for part in parts))


def _matrix(found: list[Token]) -> Value | None:
  if not found or found[0].text != "\\begin":
    return None
  begin, end = [token.text for token in found[1:4]], [token.text for token in found[-4:]]
  environment = begin[1] if len(begin) == 3 else ""
  if environment not in _MATRICES or begin != ["{", environment, "}"] or end != ["\\end", *begin]:
    raise Unreadable("an environment that is not read")
  body = found[4:-4]
  if body and body[-1].text == "\\\\":
    body = body[:-1]
  rows = _split(body, lambda token: token.text == "\\\\")[0]
  cells = tuple(tuple(_item(cell) for cell in _split(row, lambda token: token.text == "&")[0]) for row in rows)
  if len({len(row) for row in cells}) != 1:
    raise Unreadable("rows of different lengths")
  return Matrix(cells)


def _words(found: list[Token]) -> Value | None:
  if len(found) == 1 and found[0].kind == "text":
    content = found[0].text.strip()
    inner = tokens(content)
    one_letter = len(inner) in (1, 3) and inner[len(inner) // 2].kind == "letter"
    if one_letter or any(token.kind == "number" for token in inner):
      return _joined(inner) if not any(token.kind == "text" for token in inner) else None
    return Words(_normalized(content))
  if len(found) == 1 and found[0].kind == "letter" and found[0].text.isupper():
    return Words(found[0].text)
  plain = all(token.kind in ("word", "letter", "text") or token.text in ("'", "-", ".") for token in found)
  if plain and any(token.kind == "word" for token in found):
    return Words(_normalized("".join(" " * token.gap + token.text for token in found)))
  return None


def _normalized(text: str) -> str:
  return " ".join(text.casefold().strip(" .").split())


def _numeral(found: list[Token]) -> Value | None:
  texts = [token.text for token in found if token.text not in ("{", "}")]
  if len(texts) != 3 or texts[1] != "_" or not (texts[0].isascii() and texts[0].isdigit() and texts[2].isdigit()):
    return None
  if not 2 <= int(texts[2][:4]) <= 36:
    raise Unreadable("a base out of range")
  return Numeral(texts[0].lstrip("0"), int(texts[2]))


def _infinity(found: list[Token]) -> Value | None:
  texts = [token.text for token in found]
  if texts[-1:] != ["\\infty"] or len(texts) > 2 or texts[0] not in ("+", "-", "\\infty"):
    return None
  return Infinity(-1 if texts[0] == "-" else 1)


def _quantity(found: list[Token]) -> Quantity:
  rest, currency = _without_currency(found)
  rest, percent = _without_percent(rest)
  rest, unit = _without_unit(rest)
  if percent and (unit or currency):
    raise Unreadable("a percentage with a unit")
  units = dict.fromkeys(name for name in (currency, unit) if name)
  if not rest:
    raise Unreadable("no number")
  return Quantity(parse(rest), " ".join(units) or None, percent)


def _without_currency(found: list[Token]) -> tuple[list[Token], str]:
  for index in (0, 1):
    if index < len(found) and found[index].text in _CURRENCIES and (index == 0 or found[0].text == "-"):
      return found[:index] + found[index + 1 :], _CURRENCIES[found[index].text]
  return found, ""


def _without_percent(found: list[Token]) -> tuple[list[Token], bool]:
  last = found[-1] if found else Token("symbol", "")
  if last.text == "%" or (last.kind in ("word", "text") and last.text.strip(" .").lower() == "percent"):
    return found[:-1], True
  return found, False


def _without_unit(found: list[Token]) -> tuple[list[Token], str]:
  """Removes a unit from the end and returns both parts. A unit is words, `\\text{cm}^2`, or a degree sign."""
  texts = [token.text for token in found]
  for ending in (["^", "\\degree"], ["^", "{", "\\degree", "}"], ["\\degree"]):
    if texts[-len(ending) :] == ending:
      return found[: -len(ending)], "degree"
  power = ""
  end = len(found)
  if len(texts) > 2 and texts[-2] == "^" and texts[-1] in ("2", "3"):
    end, power = end - 2, "^" + texts[-1]
  elif len(texts) > 4 and texts[-4:-2] == ["^", "{"] and texts[-2] in ("2", "3") and texts[-1] == "}":
    end, power = end - 4, "^" + texts[-2]
  start = end
  while start > 0 and found[start - 1].kind in ("word", "text"):
    start -= 1
  if start == end:
    return found, ""
  words = " ".join(token.text for token in found[start:end])
  return found[:start], unit_name(words + power)
