"""Plain data as JSON text, the only form in which a candidate's results leave the sandbox.

Only exact built-in types are encoded. A subclass, or any object with methods of its own, could answer comparisons as it
likes, so it must never reach one. Values that JSON lacks become an object with one key:

    {"i": hex} long integer     {"f": "nan"} non-finite float   {"c": [re, im]} complex   {"b": hex} bytes
    {"t": [..]} tuple           {"s": [..]} set                 {"z": [..]} frozenset     {"d": [[k, v], ..]} dict
    {"y": [..]} items that an iterator yielded
"""

import collections
import itertools
import json
import math
import types
from typing import Any

MAX_DEPTH = 64
MAX_NODES = 400_000
MAX_ALIKE = 64  # unequal keys that may share a hash
_LONG = 1 << 62  # larger integers are written in hex, because reading long decimal text takes quadratic time


class Unplain(Exception):
  """Raised for a value that is not plain data, is nested too deep or is too large."""


class Stream:
  """Items that an iterator yielded. Like an iterator, a Stream equals only itself."""

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
  """Encodes one value and counts its nodes."""

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
    """Encodes a NumPy scalar as the value it holds and an array as nested lists."""
    if name == "ndarray":
      return self.encode(value.tolist(), depth)
    plain = value.item()
    if type(plain) in (bool, int, float, complex, str, bytes):
      return self.encode(plain, depth)
    raise Unplain(f"not plain data: numpy.{name}")


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
  except (ValueError, TypeError, OverflowError, RecursionError, KeyError) as error:
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
  if not isinstance(body, list) or (tag == "d" and not all(isinstance(pair, list) for pair in body)):
    raise TypeError("expected a list of items or of pairs")
  if tag == "d":
    pairs = [(_decode(key, depth + 1), _decode(item, depth + 1)) for key, item in body]
    return dict(zip(spread([key for key, _ in pairs]), (item for _, item in pairs), strict=True))
  items = [_decode(item, depth + 1) for item in body]
  if tag == "c":
    real, imaginary = map(float, items)
    return complex(real, imaginary)
  return {"t": tuple, "s": set, "z": frozenset, "y": Stream}[tag](spread(items) if tag in "sz" else items)


def spread(keys: list[Any]) -> list[Any]:
  """Returns the keys unchanged if a set or dict of them can be built in linear time.

  Python's hashes of numbers are not secret, so a candidate could send tens of thousands of unequal keys with the same
  hash. A set of those would take minutes to build. Repeated equal keys cost nothing.

  Raises:
    ValueError: More than MAX_ALIKE unequal keys share a hash.
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
