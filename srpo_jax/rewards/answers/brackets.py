"""Splits token lists at separators outside brackets."""

from collections.abc import Callable, Iterator

from srpo_jax.rewards.answers.latex import CLOSERS, OPENERS, Token, Unreadable

_CLOSED_BY = {"\\{": "\\}", "\\langle": "\\rangle", "{": "}"}


def with_depth(found: list[Token]) -> Iterator[tuple[Token, int]]:
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


def split(found: list[Token], separates: Callable[[Token], bool]) -> tuple[list[list[Token]], list[str]]:
  """Splits tokens at separators outside brackets and environments. Returns the parts and the separators.

  Raises:
    Unreadable: a part is empty or the brackets do not balance.
  """
  parts: list[list[Token]] = [[]]
  separators = []
  environments = 0
  for token, depth in with_depth(found):
    environments += (token.text == "\\begin") - (token.text == "\\end")
    if depth == 0 and not environments and token.kind in ("symbol", "command") and separates(token):
      separators.append(token.text)
      parts.append([])
    else:
      parts[-1].append(token)
  if not all(parts):
    raise Unreadable("an empty part")
  return parts, separators


def split_list(found: list[Token]) -> tuple[list[list[Token]], set[str]]:
  """Splits tokens at commas, semicolons, "and" and "or" outside brackets.

  Returns:
    The parts, and the words ("and", "or") that occurred.
  """
  parts: list[list[Token]] = [[]]
  words: set[str] = set()
  after_comma = False
  for token, depth in with_depth(found):
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


def enclosed(found: list[Token], *openers: str) -> list[Token] | None:
  """Returns the tokens inside the outer brackets, or None.

  The first token must be one of `openers`, and the last token must be the bracket that closes it.
  """
  if len(found) < 2 or found[0].text not in openers or found[-1].text not in CLOSERS:
    return None
  wanted = _CLOSED_BY.get(found[0].text)
  if wanted is not None and found[-1].text != wanted:
    return None
  outside = [index for index, (_, depth) in enumerate(with_depth(found)) if depth == 0]
  return found[1:-1] if outside == [0, len(found) - 1] else None
