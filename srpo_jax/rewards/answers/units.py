"""Normalizes the names of units after a number and refuses words that would change the value instead."""

import re

from srpo_jax.rewards.answers.latex import Unreadable, names

_ALIASES = {
  alias: group.split()[0]
  for group in (
    "cm centimeter centimetre",
    "mm millimeter millimetre",
    "m meter metre",
    "km kilometer kilometre",
    "in inch inche",
    "ft foot feet",
    "yd yard",
    "mi mile",
    "g gram gm",
    "kg kilogram",
    "mg milligram",
    "lb pound",
    "oz ounce",
    "l liter litre",
    "ml milliliter millilitre",
    "s sec second",
    "min minute",
    "h hr hour",
    "day d",
    "mph",
    "dollar usd",
    "euro eur",
    "cent",
    "degree deg",
    "radian rad",
    "square sq",
    "person people",
    "pm",
    "am",
  )
  for alias in group.split()
}
_CHANGES_VALUE = names(
  "hundred thousand million billion trillion dozen score half halves third thirds fourth fourths quarter quarters fifth"
  " fifths sixth sixths seventh sevenths eighth eighths ninth ninths tenth tenths hundredth hundredths thousandth"
  " thousandths times plus minus over not or and nor but except factorial root modulo mod base point negative more"
  " less fewer least most than about approximately nearly almost if when where is are was maybe possibly"
  " equals one two three four five six seven eight nine ten twelve twenty zero pi k"
)
_FORM = re.compile(r"[A-Za-z][A-Za-z \-./^0-9{}$]*")
_PART = re.compile(r"[a-z]+|\^\{?[0-9]\}?|/")
MAX_WORDS = 4


def unit_name(text: str) -> str:
  """Returns one name for all spellings of a unit. The name is empty for plain "units".

  Raises:
    Unreadable: the text is not a unit, as in `5 or 6`, `5 thousand` or a sentence.
  """
  text = text.strip()
  if not _FORM.fullmatch(text):
    raise Unreadable("text that is no unit")
  parts = _PART.findall(text.lower().replace(".", "").replace(" per ", " / "))
  words = [part for part in parts if part[0].isalpha()]
  if len(words) > MAX_WORDS or _CHANGES_VALUE.intersection(words):
    raise Unreadable("text that is no unit")
  unit = [_one_name(part) for part in parts]
  power = ""
  for word, sign in (("square", "^2"), ("squared", "^2"), ("cubic", "^3"), ("cubed", "^3")):
    if word in unit:
      unit.remove(word)
      if not unit:
        raise Unreadable("text that is no unit")
      power = sign
  return "" if unit in (["unit"], []) else (" ".join(unit) + power).replace(" ^", "^")


def _one_name(part: str) -> str:
  if not part[0].isalpha():
    return re.sub(r"[{}]", "", part)
  if part in _ALIASES:
    return _ALIASES[part]
  single = part[:-1] if len(part) > 2 and part.endswith("s") and not part.endswith("ss") else part
  return _ALIASES.get(single, single)
