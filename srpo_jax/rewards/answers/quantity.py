"""Reads a token list as one number: a scalar with its unit, a numeral in a base, or infinity."""

from srpo_jax.rewards.answers.latex import Token, Unreadable
from srpo_jax.rewards.answers.parser import parse
from srpo_jax.rewards.answers.units import unit_name
from srpo_jax.rewards.answers.value import Infinity, Numeral, Quantity

_CURRENCIES = {"\\$": "dollar", "\\euro": "euro", "\\pounds": "pound sterling"}
_PERCENT = frozenset(["percent", "pct", "percentage"])
_ORDINALS = frozenset(["st", "nd", "rd", "th"])
_JOINS = frozenset(["/", "-", "\\cdot", "^", "{", "}"])  # what may stand between the parts of a unit: N-m, m/s^2


def quantity(found: list[Token]) -> Quantity:
  """Reads a scalar with its currency, percent sign or unit. Raises Unreadable if it is none."""
  rest, currency = _without_currency(found)
  rest, percent = _without_percent(rest)
  rest, unit = _without_ordinal(rest) or _without_unit(rest)
  if percent and (unit or currency):
    raise Unreadable("a percentage with a unit")
  units = dict.fromkeys(name for name in (currency, unit) if name)
  if not rest:
    raise Unreadable("no number")
  return Quantity(parse(rest), " ".join(units) or None, percent)


def numeral(found: list[Token]) -> Numeral | None:
  """Reads digits in a base, such as `4210_{5}`, `-37_8` or `\\text{A5}_{11}`."""
  minus = bool(found) and found[0].text == "-"
  texts = [token.text.strip() for token in found[minus:] if token.text not in ("{", "}")]
  if len(texts) < 3 or texts[-2] != "_" or not texts[-1].isdigit():
    return None
  digits = "".join(texts[:-2]).upper()
  if not digits.isascii() or not digits.isalnum() or not any(digit.isdigit() for digit in digits):
    return None
  base = int(texts[-1][:4])
  if not 2 <= base <= 36:
    raise Unreadable("a base out of range")
  if any(int(digit, 36) >= base for digit in digits):
    return None
  return Numeral("-" * minus + (digits.lstrip("0") or "0"), base)


def infinity(found: list[Token]) -> Infinity | None:
  """Reads a signed infinity."""
  texts = [token.text for token in found]
  if texts[-1:] != ["\\infty"] or len(texts) > 2 or texts[0] not in ("+", "-", "\\infty"):
    return None
  return Infinity(-1 if texts[0] == "-" else 1)


def _without_currency(found: list[Token]) -> tuple[list[Token], str]:
  for index in (0, 1):
    if index < len(found) and found[index].text in _CURRENCIES and (index == 0 or found[0].text == "-"):
      return found[:index] + found[index + 1 :], _CURRENCIES[found[index].text]
  return found, ""


def _without_percent(found: list[Token]) -> tuple[list[Token], bool]:
  last = found[-1] if found else Token("symbol", "")
  if last.text == "%" or (last.kind in ("word", "text") and last.text.strip(" .").lower() in _PERCENT):
    return found[:-1], True
  return found, False


def _without_ordinal(found: list[Token]) -> tuple[list[Token], str] | None:
  r"""Removes the ending of an ordinal: `12th` or `12^{\mathrm{th}}`."""
  texts = [token.text.strip() for token in found]
  for length, around in ((2, ["^"]), (4, ["^", "{", "}"])):
    ending = texts[-length:]
    if len(ending) == length and [text for text in ending if text not in _ORDINALS] == around and len(found) > length:
      return found[:-length], "ordinal"
  if len(found) == 2 and found[0].kind == "number" and texts[1] in _ORDINALS and found[1].kind in ("word", "text"):
    return found[:1], "ordinal"
  if len(found) == 3 and found[0].kind == "number" and "".join(texts[1:]) in _ORDINALS and not found[1].gap:
    return found[:1], "ordinal"
  return None


def _without_unit(found: list[Token]) -> tuple[list[Token], str]:
  r"""Removes a unit from the end and returns both parts. A unit is words, `\text{m}/\text{s}^2`, or a degree sign."""
  start = _unit_start(found)
  scale = "".join(token.text.strip() for token in found[start:])
  rest = found[:start]
  texts = [token.text for token in rest]
  for ending in (["^", "\\degree"], ["^", "{", "\\degree", "}"], ["\\degree"]):
    if texts[-len(ending) :] == ending and (start == len(found) or scale in ("C", "F")):
      return rest[: -len(ending)], f"degree {scale}".strip()
  if start == len(found):
    return found, ""
  words = "".join(_unit_text(token) for token in found[start:])
  return rest, unit_name(" ".join(words.split()).replace(" ^", "^"))


def _unit_text(token: Token) -> str:
  if token.text in ("{", "}"):
    return ""
  if token.text in ("-", "\\cdot"):
    return "-"
  return f" {token.text} " if token.kind in ("word", "text", "letter") or token.text == "/" else token.text


def _unit_start(found: list[Token]) -> int:
  """Returns the index at which the unit at the end begins, or the number of tokens if there is none."""
  start = end = len(found)
  while start > 0:
    token = found[start - 1]
    if token.kind in ("word", "text"):
      end = start - 1
    elif token.kind == "letter" and start > 2 and found[start - 2].text == "/" and _is_word(found[start - 3]):
      pass  # the hour of `km/h`
    elif token.text not in _JOINS and not (token.text in ("2", "3") and _is_power(found, start - 1)):
      break
    start -= 1
  if 0 < end < len(found) and found[end - 1].text in ("\\triangle", "\\angle"):
    return len(found)  # corners, no unit
  if end == len(found) or (end < len(found) and not _closed(found[end:])):
    return len(found)
  return end


def _is_word(token: Token) -> bool:
  return token.kind in ("word", "text")


def _is_power(found: list[Token], index: int) -> bool:
  texts = [token.text for token in found[max(0, index - 2) : index]]
  return texts[-1:] == ["^"] or texts == ["^", "{"] or texts == ["^", "-"]


def _closed(unit: list[Token]) -> bool:
  """Returns True if the tokens end as a unit does: with a word or a power, and with balanced braces."""
  texts = [token.text for token in unit]
  return texts.count("{") == texts.count("}") and texts[-1] not in ("/", "-", "\\cdot", "^", "{")
