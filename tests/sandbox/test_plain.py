"""Tests that plain data leaves a child unchanged and that hostile text is safe to read."""

import collections
import enum
import json
import math
import random
import time

import pytest

from srpo_jax.sandbox import plain
from srpo_jax.sandbox.plain import Stream, Unplain

VALUES = [
  *(None, True, False, 0, -1, 1 << 70, -(1 << 4000), 0.5, -0.0, 1e308, math.inf, -math.inf, 1 + 2j, "", "é\ud800\n"),
  *(b"", b"\x00\xff", [], [1, [2, [3]]], (), (1, (2,)), set(), {1, "a"}, frozenset({1}), {}, {"a": 1, (1, 2): [3]}),
  {None: {True: {0.5: b"x"}}},
  {"t": [1], "y": 2},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back_with_their_types(value):
  found = plain.loads(plain.dumps(value))
  assert found == value and type(found) is type(value) and repr(found) == repr(value)


def test_nan_and_iterators():
  assert math.isnan(plain.loads(plain.dumps(math.nan)))
  for stream in (iter([1, 2]), (i for i in (1, 2)), {1: 0, 2: 0}.keys(), map(int, "12"), range(1, 3)):
    found = plain.loads(plain.dumps(stream))
    assert type(found) is Stream and list(found) == [1, 2]


def test_the_librarys_own_dicts_are_dicts():
  counter, ordered = collections.Counter("aab"), collections.OrderedDict(b=1, a=2)
  table = collections.defaultdict(list, {1: [2]})
  found = [plain.loads(plain.dumps(value)) for value in (counter, ordered, table)]
  assert found == [{"a": 2, "b": 1}, {"b": 1, "a": 2}, {1: [2]}]


class Liar(int):
  def __eq__(self, other):
    return True

  __hash__ = int.__hash__


class Colour(enum.IntEnum):
  RED = 1


class Word(str):
  pass


class Items(list):
  pass


class Pairs(dict):
  pass


@pytest.mark.parametrize(
  "value", [Liar(1), Colour.RED, Word("a"), Items([1]), Pairs(), object(), len, int, [Liar(1)], {Word("a"): 1}, math]
)
def test_subclasses_and_objects_do_not_pass(value):
  with pytest.raises(Unplain, match="not plain data"):
    plain.dumps(value)


def test_depth_and_size_are_bounded():
  deep: list = []
  for _ in range(plain.MAX_DEPTH + 1):
    deep = [deep]
  for value in (deep, [0] * (plain.MAX_NODES + 1), iter(int, 1)):
    with pytest.raises(Unplain):
      plain.dumps(value if not callable(getattr(value, "__next__", None)) else (i for i in value))


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
        text[chance.randrange(len(text))] = chance.choice('[]{}",:tsydbcif0123456789aNI \\')
    try:
      plain.loads("".join(text))
    except Unplain:
      continue


def test_what_is_written_is_ascii_on_one_line():
  for value in VALUES:
    text = plain.dumps(value)
    assert text.isascii() and "\n" not in text
    json.loads(text)
