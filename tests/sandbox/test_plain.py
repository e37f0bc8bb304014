"""Tests that plain data leaves a child unchanged and that hostile text is safe to read."""

import collections
import enum
import itertools
import json
import math
import random
import time
from array import array
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from fractions import Fraction

import numpy
import pytest

from srpo_jax.sandbox import plain
from srpo_jax.sandbox.plain import Stream, Unplain

VALUES = [
  *(None, True, False, 0, -1, 1 << 70, -(1 << 4000), 0.5, -0.0, 1e308, math.inf, -math.inf, 1 + 2j, "", "é\ud800\n"),
  *(b"", b"\x00\xff", [], [1, [2, [3]]], (), (1, (2,)), set(), {1, "a"}, frozenset({1}), {}, {"a": 1, (1, 2): [3]}),
  {None: {True: {0.5: b"x"}}},
  {"t": [1], "y": 2},
  *(Fraction(1, 3), Fraction(-(1 << 200), 3), range(1, 9, 2), range(-(1 << 70), 3, 1 << 69), deque([1, [2]]), deque()),
  *(array("i", [1, -2]), array("d", [0.5]), array("u", "ab"), Counter("aab"), OrderedDict(b=1, a=2)),
  *({2: 0, 1: 0}.keys(), {2: [0], 1: 0}.items()),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back_with_their_types(value):
  found = plain.loads(plain.dumps(value))
  assert found == value and type(found) is type(value) and repr(found) == repr(value)


def test_nan_and_iterators():
  assert all(math.isnan(plain.loads(plain.dumps(nan))) for nan in (math.nan, Decimal("nan"), Decimal("-sNaN7")))
  for stream in (iter([1, 2]), (i for i in (1, 2)), {0: 1, 1: 2}.values(), map(int, "12"), reversed((2, 1))):
    found = plain.loads(plain.dumps(stream))
    assert type(found) is Stream and list(found) == [1, 2]


def test_an_ordered_dict_keeps_the_order_that_it_was_given_later():
  table = OrderedDict.fromkeys("abc")
  table.move_to_end("a")
  for value in (table, table.keys(), table.items()):
    assert list(plain.loads(plain.dumps(value))) == list(value)


class Colour(enum.IntEnum):
  RED = 1


class Word(enum.StrEnum):
  A = "a"


Point = collections.namedtuple("Point", "x y")
EQUAL = [  # a value and the plain value of the same meaning
  *((Colour.RED, 1), (enum.IntFlag("Flag", "A B")(3), 3), (Word.A, "a"), (Point(1, [2]), (1, [2]))),
  *((time.gmtime(0), tuple(time.gmtime(0))), (bytearray(b"a\xff"), b"a\xff"), (Decimal("0.50"), Fraction(1, 2))),
  *((Decimal("-1e3"), Fraction(-1000)), (Decimal("-Infinity"), -math.inf), (Decimal("-0"), Fraction(0))),
  *((collections.defaultdict(list, {1: [2]}), {1: [2]}), (numpy.float64(0.5), 0.5), (numpy.str_("a"), "a")),
  *((numpy.int8(3), 3), (numpy.complex128(1j), 1j), (numpy.bytes_(b"a"), b"a"), ({Colour.RED: Word.A}, {1: "a"})),
]


@pytest.mark.parametrize(("value", "same"), EQUAL, ids=lambda value: type(value).__name__)
def test_a_value_arrives_as_the_plain_value_that_it_equals(value, same):
  found = plain.loads(plain.dumps(value))
  assert value == same == found and type(found) is type(same) and repr(found) == repr(same)


def test_depth_and_size_are_bounded():
  deep: list = []
  for _ in range(plain.MAX_DEPTH + 1):
    deep = [deep]
  deep.append(deep)
  circle: dict = {}
  circle[0] = circle
  long = Fraction(1, 1 << plain.MAX_RATIO_BITS)
  for value in (deep, circle, [0] * (plain.MAX_NODES + 1), itertools.count(), itertools.repeat(circle)):
    with pytest.raises(Unplain, match="nested too deep or too large"):
      plain.dumps(value)
  for value in (range(10**30), long, 1 / long, Decimal("1e999999999"), Decimal("1e-999999999"), Decimal("7" * 20_000)):
    with pytest.raises(Unplain, match="too large"):
      plain.dumps(value)


@pytest.mark.parametrize(
  "text",
  [
    *("", "nul", "NaN", "Infinity", "[1", '{"t": 1, "s": 2}', "{}", '{"q": [1]}', '{"i": "zz"}', '{"i": 5}'),
    '{"f": "x"}',
    *('{"b": "0"}', '{"d": [[1]]}', '{"d": [[[1], 2]]}', '{"s": [[1]]}', '{"c": [1]}', '{"c": ["a", "b"]}', '{"t": 5}'),
    *("[" * 100_000, "[" * 500 + "]" * 500, "9" * 50_000, '{"t":' * 2000 + "[]" + "}" * 2000, '{"d": 3}'),
    *(
      '{"y": null}',
      '{"t": {"a": 1}}',
      '{"t": "ab"}',
      '{"s": {"a": 1}}',
      '{"z": "ab"}',
      '{"d": {"ab": 1}}',
      '{"y": "ab"}',
    ),
    *('{"d": ["ab"]}', '{"c": {"1": 0, "2": 0}}', '{"c": "12"}'),
  ],
)
def test_text_that_nobody_honest_wrote_is_refused(text):
  with pytest.raises(Unplain):
    plain.loads(text)


@pytest.mark.parametrize("form", ['{"s": [%s]}', '{"z": [%s]}', '{"d": [%s]}'])
def test_keys_of_one_hash_are_refused_at_once(form):
  """A set of such keys would take the trainer minutes to build."""
  keys = [plain.dumps(complex(1_000_003.0 * n, -1.0 * n)) for n in range(2, 20_000)]
  assert len({hash(plain.loads(key)) for key in keys}) == 1
  body = ", ".join(f"[{key}, 1]" if "d" in form else key for key in keys)
  begin = time.thread_time()
  with pytest.raises(Unplain):
    plain.loads(form % body)
  assert time.thread_time() - begin < 5
  many = {n * 0.5: str(n) for n in range(5000)}
  assert plain.loads(plain.dumps(many)) == many


def test_any_text_is_read_or_refused():
  """Damaged text gives either a value or Unplain, and no other exception."""
  chance = random.Random(0)
  texts = [plain.dumps(value) for value in VALUES if value is not None]
  for _ in range(4000):
    text = list(chance.choice(texts)[:400])
    for _ in range(chance.randint(1, 4)):
      if text:
        text[chance.randrange(len(text))] = chance.choice('[]{}",:tsydbcifqezknovr0123456789aNI \\')
    try:
      plain.loads("".join(text))
    except Unplain:
      continue


def test_what_is_written_is_ascii_on_one_line():
  for value in VALUES:
    text = plain.dumps(value)
    assert text.isascii() and "\n" not in text
    json.loads(text)
