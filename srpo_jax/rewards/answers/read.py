r"""Reads the text of an answer as one value or several grouped values.

Math-Verify reads leniently: it takes a pair for a list, and it uses only the last part of a chain of equalities or some
words of a text. Here a text is read either as a whole or not at all.
"""

import functools
from collections.abc import Iterator

from srpo_jax.rewards.answers.brackets import enclosed, split, split_list, with_depth
from srpo_jax.rewards.answers.expression import symbols
from srpo_jax.rewards.answers.interval import intersection, is_range
from srpo_jax.rewards.answers.latex import Token, Unreadable, spelling, tokens
from srpo_jax.rewards.answers.matrix import is_matrix, matrix
from srpo_jax.rewards.answers.name import name
from srpo_jax.rewards.answers.parser import MAX_DEPTH
from srpo_jax.rewards.answers.quantity import infinity, numeral, quantity
from srpo_jax.rewards.answers.value import (
  Chain,
  Equation,
  Inequality,
  Infinity,
  Many,
  Opaque,
  Ordered,
  Quantity,
  Union,
  Value,
  Words,
)
from srpo_jax.rewards.answers.words import is_textual, joined_text, normalized, read_text
from srpo_jax.rewards.answers.wrapping import unwrapped, unwrapped_gold

MAX_ITEMS = 64
MAX_GOLD = 2048  # characters of a gold answer

_LESS = {"<": "(", "\\le": "["}
_MORE = {">": "(", "\\ge": "["}
_RELATIONS = frozenset(["=", "\\ne", "\\in", "\\approx", "\\equiv", "\\sim", *_LESS, *_MORE])
_SUCH_THAT = frozenset(["\\mid", "|", ":"])
_EMPTY = frozenset(["\\varnothing", "\\emptyset"])
_LINE = Ordered("(", ")", (Infinity(-1), Infinity(1)))
_LINE_IN_WORDS = frozenset(["all real numbers", "all reals", "all real", "the set of all real numbers", "real numbers"])


def read_value(text: str, max_length: int) -> Value:
  """Reads a text of at most `max_length` characters as a value. Returns Opaque with the reason if this fails."""
  if len(text) > max_length:
    return Opaque(text, f"longer than {max_length} characters")
  try:
    found = tokens(unwrapped(text))
  except Unreadable as error:
    return Opaque(text.strip(), str(error))
  try:
    if max((depth for _, depth in with_depth(found)), default=0) > MAX_DEPTH:
      raise Unreadable("nested too deep")
    return _value(found)
  except Unreadable as error:
    return Opaque(spelling(found), str(error))


@functools.lru_cache(maxsize=4096)
def read_gold(text: str, max_length: int = MAX_GOLD) -> Value:
  r"""Reads a gold answer. Beyond `read_value`, it may have a box, a list of one or a comma left around it."""
  return read_value(unwrapped_gold(text), max_length)


def _value(found: list[Token]) -> Value:
  if found and found[0].text == "\\approx":  # a gold answer that is rounded
    return Chain((_value(found[1:]),), exact=False)
  parts, conjunctions = split_list(found)
  if len(parts) == 1:
    items = list(_items(parts[0]))
    return items[0] if len(items) == 1 else Many(tuple(items))
  if len(parts) > MAX_ITEMS:
    raise Unreadable("too many parts")
  listed = tuple(item for part in parts for item in _items(part))
  if "or" in conjunctions and all(isinstance(item, Ordered) and item.solved for item in listed):
    return Union(listed)
  return Many(listed)


def _items(found: list[Token]) -> Iterator[Value]:
  r"""Yields the values of one part of a list: the elements of a set, both signs for each `\pm`, or else one value."""
  inside = _set_elements(found)
  if inside is not None:
    value = _value(inside) if inside else Many(())
    yield from value.items if isinstance(value, Many) and inside else (value,)
    return
  sides, relations = split(found, lambda token: token.text in _RELATIONS)
  if len(relations) > 1 and set(relations) == {"="} and all(_is_variable(side) for side in sides[:-1]):
    for side in sides[:-1]:  # x=y=4
      yield _item([*side, Token("symbol", "="), *sides[-1]])
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


def _is_variable(found: list[Token]) -> bool:
  return len(found) == 1 and found[0].kind == "letter"


def _set_elements(found: list[Token]) -> list[Token] | None:
  r"""Returns the tokens between `\{` and `\}`, or between bare braces around a list. None if this is no such set."""
  inside = enclosed(found, "\\{")
  if inside is not None:
    return None if _condition(inside) else inside
  inside = enclosed(found, "{")
  if inside is None or not any(token.text == "," and not depth for token, depth in with_depth(inside)):
    return None
  return inside


def _condition(inside: list[Token]) -> list[Token] | None:
  r"""Returns the condition of a set such as `\{x \mid x > 0\}`, or None if the tokens are no condition on one name."""
  for index, (token, depth) in enumerate(with_depth(inside)):
    if token.text in _SUCH_THAT and token.kind != "text" and not depth and index:
      named = inside[:index]
      if _is_variable(named) or (
        len(named) == 3 and _is_variable(named[:1]) and named[1].text == "\\in" and named[2].text == "\\reals"
      ):
        return inside[index + 1 :]
  return None


def _item(found: list[Token]) -> Value:
  """Reads one value. Unreadable text becomes Opaque, so that a part at least equals its own spelling."""
  try:
    inside = enclosed(found, "\\{")
    if inside is not None and (condition := _condition(inside)):
      return _conditions(condition)
    return _related(found)
  except Unreadable as error:
    return Opaque(spelling(found), str(error))


def _conditions(found: list[Token]) -> Value:
  """Reads the condition of a set. It must be a single interval, or a union of intervals."""
  value = _value(found)
  if isinstance(value, Equation):
    return value.right
  if isinstance(value, Many) and (common := intersection(value.items)):
    return common
  if isinstance(value, Union) or (isinstance(value, Ordered) and is_range(value)):
    return value
  raise Unreadable("a condition that is not read")


def _related(found: list[Token]) -> Value:
  sides, relations = split(found, lambda token: token.text in _RELATIONS)
  if not relations:
    return _joined(found)
  if all(relation in ("=", "\\approx") for relation in relations):
    return _equal(sides, relations)
  if "=" in relations:
    raise Unreadable("a chain of equalities")
  if relations == ["\\in"] and name(sides[0]):
    return _joined(sides[1])
  if relations == ["\\ne"] and name(sides[0]):
    point = _item(sides[1])
    return Union((Ordered("(", ")", (Infinity(-1), point)), Ordered("(", ")", (point, Infinity(1)))))
  return _interval(sides, relations)


def _equal(sides: list[list[Token]], relations: list[str]) -> Value:
  """Reads an equation, or a chain of values that are called equal."""
  named = name(sides[0])
  if named is not None:
    single = not any(token.text in ("+", "-") for token in sides[0])
    right = _item(sides[1]) if len(sides) == 2 else _chain(sides[1:], relations[1:])
    return Equation(_item(sides[0]), right, named, single)
  if relations == ["="]:
    left, right = _item(sides[0]), _item(sides[1])
    closed = all(isinstance(side, Quantity) and not symbols(side.expression.tree) for side in (left, right))
    return Chain((left, right), exact=True) if closed else Equation(left, right, None, False)
  return _chain(sides, relations)


def _chain(sides: list[list[Token]], relations: list[str]) -> Chain:
  members = tuple(_item(side) for side in sides)
  if not all(isinstance(member, Quantity) and not symbols(member.expression.tree) for member in members):
    raise Unreadable("a chain of equalities")
  return Chain(members, exact="\\approx" not in relations)


def _interval(sides: list[list[Token]], relations: list[str]) -> Value:
  """Returns the interval that an inequality for one name describes."""
  if all(relation in _MORE for relation in relations):
    sides, relations = sides[::-1], [{">": "<", "\\ge": "\\le"}[relation] for relation in relations[::-1]]
  if not all(relation in _LESS for relation in relations):
    raise Unreadable("a relation that is not read")
  named = [name(side) is not None for side in sides]
  closers = {"(": ")", "[": "]"}
  if named == [True, False]:
    return Ordered("(", closers[_LESS[relations[0]]], (Infinity(-1), _item(sides[1])), solved=True)
  if named == [False, True]:
    return Ordered(_LESS[relations[0]], ")", (_item(sides[0]), Infinity(1)), solved=True)
  if named == [False, True, False]:
    ends = (_item(sides[0]), _item(sides[2]))
    return Ordered(_LESS[relations[0]], closers[_LESS[relations[1]]], ends, solved=True)
  if len(sides) == 2:
    left, right = quantity(sides[0]), quantity(sides[1])
    return Inequality(left, right, strict=relations == ["<"])
  raise Unreadable("an inequality that is not solved")


def _joined(found: list[Token]) -> Value:
  parts, unions = split(found, lambda token: token.text == "\\cup")
  if unions:
    return Union(tuple(_united(part) for part in parts))
  parts, colons = split(found, lambda token: token.text == ":")
  if colons and not is_textual(found):
    return Ordered(":", ":", tuple(_item(part) for part in parts))
  if [token.text for token in found] == ["\\reals"]:
    return _LINE
  if len(found) == 1 and found[0].text in _EMPTY:
    return Many(())
  if is_matrix(found):
    return matrix(found, _item)
  return _bracketed(found) or numeral(found) or _words(found) or infinity(found) or quantity(found)


def _united(found: list[Token]) -> Value:
  inside = _set_elements(found)
  if inside:
    value = _value(inside)
    return value if isinstance(value, Many) else Many((value,))
  return _item(found)


def _bracketed(found: list[Token]) -> Value | None:
  inside = enclosed(found, "(", "[", "\\langle")
  if inside is None:
    return None
  if len(inside) == 1 and found[0].text == "(":
    letter = inside[0].text.strip()
    if inside[0].kind in ("letter", "text") and len(letter) == 1 and letter.isupper():
      return Words(letter)
  parts, separators = split(inside, lambda token: token.text in (",", ";"))
  if not separators:
    if found[0].text != "(":
      raise Unreadable("brackets around a single value")
    return None
  if len(set(separators)) > 1:
    raise Unreadable("brackets with two kinds of separators")
  return Ordered(found[0].text, found[-1].text, tuple(_item(part) for part in parts))


def _words(found: list[Token]) -> Value | None:
  if len(found) == 1 and found[0].kind == "text":
    content = found[0].text.strip()
    if listed := read_text(content):
      return listed
    inner = tokens(content)
    one_letter = len(inner) in (1, 3) and inner[len(inner) // 2].kind == "letter"
    if one_letter or any(token.kind == "number" for token in inner):
      return _joined(inner) if not any(token.kind == "text" for token in inner) else None
    return _named_set(normalized(content))
  if len(found) == 1 and found[0].kind == "letter" and found[0].text.isupper():
    return Words(found[0].text)
  if is_textual(found) and (listed := read_text(joined_text(found))):
    return listed
  plain = all(token.kind in ("word", "letter", "text") or token.text in ("'", "-", ".") for token in found)
  if plain and any(token.kind in ("word", "text") for token in found):
    if any(token.kind == "text" for token in found) and not any(token.kind == "word" for token in found):
      return None if len(found) < 2 or found[0].kind != "text" else _named_set(normalized(joined_text(found)))
    return _named_set(normalized("".join(" " * token.gap + token.text for token in found)))
  return None


def _named_set(text: str) -> Value:
  """Returns the whole line for its names in words, else the words."""
  return _LINE if text in _LINE_IN_WORDS else Words(text)
