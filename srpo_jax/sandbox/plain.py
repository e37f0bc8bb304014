"""Plain data as JSON text, the only form in which a candidate's results leave the sandbox.

A value is encoded as the built-in type that it inherits from, because that is what it equals. Only the base type's own
methods read it. A subclass could answer comparisons as it likes, so its methods must never be asked. Values that JSON
lacks become an object with one key:

    {"i": hex} long integer     {"f": "nan"} non-finite float   {"c": [re, im]} complex   {"b": hex} bytes, bytearray
    {"q": [n, d]} Fraction, Decimal                             {"r": [start, stop, step]} range
    {"t": [..]} tuple           {"s": [..]} set                 {"z": [..]} frozenset     {"e": [..]} deque
    {"d": [[k, v], ..]} dict    {"n": [[k, v], ..]} Counter     {"o": [[k, v], ..]} OrderedDict
    {"k": [..]} a dict's keys   {"v": [[k, v], ..]} a dict's items
    {"a": [typecode, [..]]} array                               {"y": [..]} items that an iterator yielded
"""

import array
import collections
import decimal
import fractions
import itertools
import json
import math
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MAX_DEPTH = 64
MAX_NODES = 400_000
MAX_ALIKE = 4  # unequal keys that may share a hash, on average
MAX_RATIO_BITS = 1 << 16  # bits of a numerator or denominator, because reducing a fraction takes quadratic time
MAX_EXPONENT = 10_000  # of a Decimal, which becomes a numerator and a denominator
_LONG = 1 << 62  # larger integers are written in hex, because reading long decimal text takes quadratic time


class Unplain(Exception):
  """Raised for a value that is not plain data, is nested too deep or is too large."""


class Stream:
  """Items that an iterator yielded. Like an iterator, a Stream equals only itself."""

  def __init__(self, items: list[Any]):
    self.items = items

  def __iter__(self) -> Any:
    return iter(self.items)


def _integer(value: int) -> Any:
  return value if -_LONG < value < _LONG else {"i": hex(value)}


def _real(value: float) -> Any:
  return value if math.isfinite(value) else {"f": repr(value)}


def _complex(value: complex) -> Any:
  return {"c": [_real(value.real), _real(value.imag)]}


def _ratio(numerator: Any, denominator: Any) -> Any:
  if type(numerator) is not int or type(denominator) is not int:
    raise Unplain("not plain data: a fraction of other numbers")
  if max(numerator.bit_length(), denominator.bit_length()) > MAX_RATIO_BITS:
    raise Unplain("too large")
  return {"q": [_integer(numerator), _integer(denominator)]}


def _fraction(value: Any) -> Any:
  slots = vars(fractions.Fraction)
  return _ratio(slots["_numerator"].__get__(value), slots["_denominator"].__get__(value))


def _decimal(value: Any) -> Any:
  """Encodes a Decimal as a fraction, because it equals each number that has exactly its value."""
  kind = decimal.Decimal
  if not kind.is_finite(value):
    return {"f": "nan" if kind.is_nan(value) else "-inf" if kind.is_signed(value) else "inf"}
  if abs(kind.adjusted(value)) > MAX_EXPONENT:
    raise Unplain("too large")
  return _ratio(*kind.as_integer_ratio(value))


def _range(value: range) -> Any:
  if value[MAX_NODES:]:
    raise Unplain("too large")
  return {"r": [_integer(value.start), _integer(value.stop), _integer(value.step)]}


_typecode: Callable[[Any], str] = vars(array.array)["typecode"].__get__
_EMPTY: dict[Any, Any] = {}
_ORDERED: collections.OrderedDict[Any, Any] = collections.OrderedDict()
KEYS, ITEMS = type(_EMPTY.keys()), type(_EMPTY.items())
_SCALARS: Mapping[type, Callable[[Any], Any]] = {
  type(None): lambda value: None,
  bool: lambda value: value,
  str: str.__str__,
  int: lambda value: _integer(int.__int__(value)),
  float: lambda value: _real(float.__float__(value)),
  complex: lambda value: _complex(complex.__complex__(value)),
  bytes: lambda value: {"b": bytes.hex(value)},
  bytearray: lambda value: {"b": bytearray.hex(value)},
  fractions.Fraction: _fraction,
  decimal.Decimal: _decimal,
  range: _range,
}
_LISTS: Mapping[type, tuple[str, Callable[[Any], Iterable[Any]]]] = {
  list: ("", list.__iter__),
  tuple: ("t", tuple.__iter__),
  set: ("s", set.__iter__),
  frozenset: ("z", frozenset.__iter__),
  collections.deque: ("e", collections.deque.__iter__),
  KEYS: ("k", iter),
  type(_ORDERED.keys()): ("k", iter),
  array.array: ("a", lambda value: (_typecode(value), array.array.tolist(value))),
}
_PAIRS: Mapping[type, tuple[str, Callable[[Any], Iterable[tuple[Any, Any]]]]] = {
  dict: ("d", dict.items),
  collections.Counter: ("n", dict.items),
  collections.OrderedDict: ("o", collections.OrderedDict.items),
  ITEMS: ("v", iter),
  type(_ORDERED.items()): ("v", iter),
}
_STREAMS = (
  {map, filter, zip, enumerate, reversed, types.GeneratorType}
  | {type(_EMPTY.values()), type(_ORDERED.values()), type(reversed([])), type(iter(range(0)))}
  | {type(iter([])), type(iter(())), type(iter(_EMPTY)), type(iter(set())), type(iter("")), type(iter("é"))}
  | {type(iter(b"")), type(iter(_EMPTY.values())), type(iter(_EMPTY.items())), type(reversed(_EMPTY))}
  | {kind for kind in vars(itertools).values() if isinstance(kind, type)}
)
# By identity, because the metaclass of a candidate's class may have its own hash and equality.
_BASES = {id(kind): kind for kind in (*_SCALARS, *_LISTS, *_PAIRS)}
_STREAM_IDS = frozenset(map(id, _STREAMS))
# The type's own readers, because a metaclass may have attributes of these names.
_mro: Callable[[type], tuple[type, ...]] = vars(type)["__mro__"].__get__
_name: Callable[[type], str] = vars(type)["__name__"].__get__
_IMMUTABLE = 1 << 8  # flag of types written in C; no class statement can set it


class _Encoder:
  """Encodes one value and counts its nodes."""

  def __init__(self) -> None:
    self._nodes = 0

  def encode(self, value: Any, depth: int = 0) -> Any:
    self._nodes += 1
    if depth > MAX_DEPTH or self._nodes > MAX_NODES:
      raise Unplain("nested too deep or too large")
    kind = type(value)
    base = _BASES.get(id(kind)) or next((_BASES[id(each)] for each in _mro(kind) if id(each) in _BASES), object)
    if base in _SCALARS:
      return _SCALARS[base](value)
    if base in _LISTS:
      tag, items = _LISTS[base]
      body = [self.encode(item, depth + 1) for item in items(value)]
      return {tag: body} if tag else body
    if base in _PAIRS:
      tag, pairs = _PAIRS[base]
      return {tag: [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in pairs(value)]}
    if id(kind) in _STREAM_IDS:
      return {"y": [self.encode(item, depth + 1) for item in value]}
    if type(kind) is type and kind.__flags__ & _IMMUTABLE and kind.__module__ == "numpy":
      return self._numpy(value, kind, depth)
    raise Unplain(f"not plain data: {_name(kind)}")

  def _numpy(self, value: Any, kind: Any, depth: int) -> Any:
    """Encodes a NumPy scalar as the value it holds and an array as nested lists."""
    if kind.__name__ == "ndarray":
      return self.encode(kind.tolist(value), depth)
    plain = kind.item(value)
    if type(plain) in (bool, int, float, complex, str, bytes):
      return self.encode(plain, depth)
    raise Unplain(f"not plain data: numpy.{kind.__name__}")


def dumps(value: Any) -> str:
  """Encodes a value as ASCII text. Raises Unplain if it is not plain data."""
  return json.dumps(_Encoder().encode(value), allow_nan=False)


def loads(text: str | bytes) -> Any:
  """Decodes a value from untrusted text. Raises Unplain for malformed or oversized text."""
  try:
    data = parse(text)
  except (ValueError, RecursionError) as error:
    raise Unplain(f"not plain data: {type(error).__name__}") from None
  return decode(data)


def decode(data: Any) -> Any:
  """Returns the value that parsed JSON stands for. Raises Unplain if it stands for none."""
  try:
    return _decode(data, 0)
  except (ValueError, TypeError, ArithmeticError, RecursionError, KeyError) as error:
    raise Unplain(f"not plain data: {type(error).__name__}") from None


def parse(text: str | bytes) -> Any:
  """Parses JSON for `decode`. Raises ValueError or RecursionError."""
  return json.loads(text, parse_constant=_refuse, parse_int=_short_int)


def _refuse(name: str) -> Any:
  raise ValueError(name)


def _short_int(digits: str) -> int:
  if len(digits) > 20:
    raise ValueError("expected a decimal integer of at most 20 characters")
  return int(digits)


def _decode(value: Any, depth: int) -> Any:
  if depth > 2 * MAX_DEPTH:
    raise ValueError("nested too deep")
  if isinstance(value, list):
    return [_decode(item, depth + 1) for item in value]
  if not isinstance(value, dict):
    return value
  ((tag, body),) = value.items()
  if tag == "i":
    return int(body, 16)
  if tag == "f":
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[body]
  if tag == "b":
    return bytes.fromhex(body)
  paired = tag in _FROM_PAIRS
  if not isinstance(body, list) or (paired and not all(isinstance(pair, list) for pair in body)):
    raise TypeError("expected a list of items or of pairs")
  if paired:
    pairs = [(_decode(key, depth + 1), _decode(item, depth + 1)) for key, item in body]
    keys = spread([key for key, _ in pairs])
    return _FROM_PAIRS[tag](dict(zip(keys, (item for _, item in pairs), strict=True)))
  items = [_decode(item, depth + 1) for item in body]
  return _FROM_ITEMS[tag](spread(items) if tag in "szk" else items)


def _to_complex(items: list[Any]) -> complex:
  real, imaginary = map(float, items)
  return complex(real, imaginary)


def _to_fraction(items: list[Any]) -> fractions.Fraction:
  numerator, denominator = items
  if type(numerator) is not int or type(denominator) is not int:
    raise TypeError("expected two integers")
  if max(numerator.bit_length(), denominator.bit_length()) > MAX_RATIO_BITS:
    raise ValueError("too large")
  return fractions.Fraction(numerator, denominator)


def _to_range(items: list[Any]) -> range:
  found = range(*items)
  if len(found) > MAX_NODES:
    raise ValueError("too large")
  return found


_FROM_PAIRS: Mapping[str, Callable[[dict[Any, Any]], Any]] = {
  "d": lambda pairs: pairs,
  "n": collections.Counter,
  "o": collections.OrderedDict,
  "v": dict.items,
}
_FROM_ITEMS: Mapping[str, Callable[[list[Any]], Any]] = {
  "t": tuple,
  "s": set,
  "z": frozenset,
  "k": lambda items: dict.fromkeys(items).keys(),
  "e": collections.deque,
  "a": lambda items: array.array(*items),
  "c": _to_complex,
  "q": _to_fraction,
  "r": _to_range,
  "y": Stream,
}


def spread(keys: list[Any]) -> list[Any]:
  """Returns the keys unchanged if a set or dict of them can be built in linear time.

  Python's hashes of numbers are not secret, so a candidate could send tens of thousands of unequal keys with the same
  hash. A set of those would take minutes to build. Repeated equal keys cost nothing.

  Raises:
    ValueError: Keys have more than MAX_ALIKE unequal keys before them with their hash, on average.
  """
  groups: dict[int, list[Any]] = {}
  compared = 0
  for key in keys:
    others = groups.setdefault(hash(key), [])
    compared += len(others)
    if compared > MAX_ALIKE * len(keys):
      raise ValueError("too many keys with one hash")
    if key not in others:
      others.append(key)
  return keys
