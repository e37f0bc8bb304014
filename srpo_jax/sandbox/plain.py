"""Plain data as JSON text: the only thing that comes back from a candidate.

Only exact built-in types pass. A subclass, or any object with methods of its own, could answer comparisons as it likes;
here it never reaches one. JSON writes what it can; the rest is one object with one key:

    {"i": hex} a long integer   {"f": "nan"} not finite       {"c": [re, im]} complex   {"b": hex} bytes
    {"t": [..]} tuple           {"s": [..]} set               {"z": [..]} frozenset     {"d": [[k, v], ..]} dict
    {"y": [..]} what an iterator yields
"""

import collections
import itertools
import json
import math
import types
from typing import Any

MAX_DEPTH = 64
MAX_NODES = 400_000
MAX_ALIKE = 64  # unequal keys with one hash
_LONG = 1 << 62  # beyond it, decimal text would cost quadratic time


class Unplain(Exception):
  """The value is not plain data, or too much of it."""


class Stream:
  """What an iterator yielded: equal to nothing by itself, as an iterator is."""

  def __init__(self, items: list[Any]):
    self.items = items

  def __iter__(self) -> Any:
    return iter(self.items)


_DICTS = frozenset({dict, collections.Counter, collections.defaultdict, collections.OrderedDict})
_EMPTY: dict[Any, Any] = {}
_STREAMS = frozenset(
  {map, filter, zip, range, enumerate, types.GeneratorType}
  | {type(_EMPTY.keys()), type(_EMPTY.values()), type(_EMPTY.items()), type(reversed([])), type(iter(range(0)))}
  | {type(iter([])), type(iter(())), type(iter(_EMPTY)), type(iter(set())), type(iter("")), type(iter("é"))}
  | {type(iter(b"")), type(iter(_EMPTY.values())), type(iter(_EMPTY.items())), type(reversed(_EMPTY))}
  | {collections.deque}
  | {kind for kind in vars(itertools).values() if isinstance(kind, type)}
)


class _Encoder:
  """One pass over a value."""

  def __init__(self) -> None:
    self._nodes = 0

  def encode(self, value: Any, depth: int = 0) -> Any:
    self._nodes += 1
    if depth > MAX_DEPTH or self._nodes > MAX_NODES:
      raise Unplain("nested too deep or too large")
    kind = type(value)
    if value is None or kind is bool or kind is str:
      return value
    if kind is int:
      return value if -_LONG < value < _LONG else {"i": hex(value)}
    if kind is float:
      return value if math.isfinite(value) else {"f": repr(value)}
    if kind is list:
      return [self.encode(item, depth + 1) for item in value]
    if kind is tuple:
      return {"t": [self.encode(item, depth + 1) for item in value]}
    if kind in _DICTS:
      return {"d": [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in dict.items(value)]}
    if kind is set or kind is frozenset:
      return {"s" if kind is set else "z": [self.encode(item, depth + 1) for item in value]}
    if kind is complex:
      return {"c": [self.encode(value.real), self.encode(value.imag)]}
    if kind is bytes:
      return {"b": value.hex()}
    if kind in _STREAMS:
      return {"y": [self.encode(item, depth + 1) for item in value]}
    if kind.__module__ == "numpy":
      return self._numpy(value, kind.__name__, depth)
    raise Unplain(f"not plain data: {kind.__name__}")

  def _numpy(self, value: Any, name: str, depth: int) -> Any:
    """A NumPy scalar as the number it holds; an array as nested lists."""
    if name == "ndarray":
      return self.encode(value.tolist(), depth)
    plain = value.item()
    if type(plain) in (bool, int, float, complex, str, bytes):
      return self.encode(plain, depth)
    raise Unplain(f"not plain data: numpy.{name}")


def dumps(value: Any) -> str:
  """ASCII text of a value. Raises Unplain."""
  return json.dumps(_Encoder().encode(value), allow_nan=False)


def loads(text: str | bytes) -> Any:
  """The value again, whoever wrote the text. Raises Unplain for what `dumps` would not write."""
  try:
    data = parse(text)
  except (ValueError, RecursionError) as error:
    raise Unplain(f"not plain data: {type(error).__name__}") from None
  return decode(data)


def decode(data: Any) -> Any:
  """The value that parsed JSON stands for. Raises Unplain."""
  try:
    return _decode(data, 0)
  except (ValueError, TypeError, OverflowError, RecursionError, KeyError) as error:
    raise Unplain(f"not plain data: {type(error).__name__}") from None


def parse(text: str | bytes) -> Any:
  """JSON as `loads` reads it, not yet decoded. Raises ValueError or RecursionError."""
  return json.loads(text, parse_constant=_refuse, parse_int=_short_int)


def _refuse(name: str) -> Any:
  raise ValueError(name)


def _short_int(digits: str) -> int:
  if len(digits) > 20:
    raise ValueError("an integer in decimal that is too long")
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
  if tag == "d":
    pairs = [(_decode(key, depth + 1), _decode(item, depth + 1)) for key, item in body]
    return dict(zip(spread([key for key, _ in pairs]), (item for _, item in pairs), strict=True))
  items = [_decode(item, depth + 1) for item in body]
  if tag == "c":
    real, imaginary = map(float, items)
    return complex(real, imaginary)
  return {"t": tuple, "s": set, "z": frozenset, "y": Stream}[tag](spread(items) if tag in "sz" else items)


def spread(keys: list[Any]) -> list[Any]:
  """The keys, where a set or a dict of them takes linear time.

  Python's hashes of numbers are no secret: tens of thousands of unequal keys with one hash would take minutes. Equal
  ones, as a list may hold, cost nothing. Raises ValueError.
  """
  if len(keys) > MAX_ALIKE:
    groups: dict[int, list[Any]] = {}
    for key in keys:
      others = groups.setdefault(hash(key), [])
      if key not in others:
        others.append(key)
        if len(others) > MAX_ALIKE:
          raise ValueError("too many keys with one hash")
  return keys
