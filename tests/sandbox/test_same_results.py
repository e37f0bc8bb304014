"""Tests that a program gives the same results in every execution and in every sandbox."""

import random

import pytest

from srpo_jax.sandbox.client import Sandbox
from tests.helpers.sandboxes import ask, calls, submit

CLASSES = """
class A: pass
class B:
  __slots__ = ("x",)
class C(Exception): pass
"""
# Expressions whose values depend on hashes of texts, on addresses or on the shared random generator.
EXPRESSIONS = (
  "list({'a', 'b', 'c', 'd'})",
  "next(iter({'ada', 'bob', 'cyd', 'dan', 'eve'}))",
  "hash('x') % 2",
  "[hash(text) for text in ('', 'left', 'right')]",
  "hash(b'bytes'), hash(('a', 1, None)), hash(frozenset('abc'))",
  "''.join(set('the quick brown fox'))",
  "list(set('mississippi') | {'z', 'y'})",
  "max({'x', 'yy', 'zz'}, key=len)",
  "list({word: len(word) for word in set('a bb ccc dd e'.split())})",
  "[i for i, item in sorted(enumerate([A() for _ in range(40)]), key=lambda pair: id(pair[1]))]",
  "(lambda items: [items.index(item) for item in set(items)])([A() for _ in range(60)])",
  "(lambda items: [items.index(item) for item in set(items)])([B() for _ in range(60)])",
  "(lambda items: [items.index(item) for item in set(items)])([C(i) for i in range(30)])",
  "(lambda items: [items.index(item) for item in set(items)])([object() for _ in range(99)])",
  "(lambda items: [items.index(item) for item in set(items)])([lambda: i for i in range(20)])",
  "(lambda items: [items.index(item) for item in set(items)])([type('T', (), {}) for i in range(20)])",
  "(lambda items: [items.index(item) for item in set(items)])([(A(), i) for i in range(20)])",
  "list({None, 1, 2, 3}) + [hash(None) % 97]",
  "[{None: 0, int: 1, str: 2, len: 3}[item] for item in {None, int, str, len}]",
  "[kind.__name__ for kind in {int, str, list, dict, set, bool, float, bytes, tuple}]",
  "repr(object()), repr(A()), str(print), repr(lambda: 0)",
  "id(A()) % 1000, id([]) % 1000, id({}) % 1000",
  "(lambda rows: [rows.index(row) for row in sorted(rows, key=id)])([[i] for i in range(50)])",
  "(lambda texts: sorted(range(30), key=lambda i: id(texts[i])))([str(i) * 40 for i in range(30)])",
  "random.random()",
  "[random.randint(1, 100) for _ in range(5)]",
  "random.sample(range(1000), 5)",
  "random.choice('abcdefgh') + random.choice('abcdefgh')",
  "(lambda cards: (random.shuffle(cards), cards)[1])(list(range(20)))",
  "random.gauss(0, 1), random.getrandbits(64), random.uniform(0, 9)",
  "list(map(str, {pathlib.PurePosixPath(name) for name in 'abcd'}))",
  "[member.name for member in set(enum.Enum('Color', 'RED GREEN BLUE CYAN'))]",
  "[str(day) for day in {datetime.date(2020, 1, day) for day in range(1, 12)}]",
  "[str(part) for part in {decimal.Decimal(i) / 7 for i in range(9)}]",
  "list(weakref.WeakSet([int, str, list])).index(str)",
  "sorted(vars(A), key=hash), list(set(dir(A())))[:9]",
)
IMPORTS = "import datetime, decimal, enum, pathlib, random, weakref\n"


def _programs(count: int) -> list[dict[str, object]]:
  """Returns jobs with one program each. A program first makes some objects, so that no two have the same memory."""
  draw = random.Random(5)
  jobs = []
  for number in range(count):
    made = f"made = [A() for _ in range({draw.randrange(200)})] + [str(i) * 9 for i in range({draw.randrange(99)})]\n"
    expression = EXPRESSIONS[number % len(EXPRESSIONS)]
    program = IMPORTS + CLASSES + made
    if number % 3 == 2:
      jobs.append({"mode": "stdin", "program": f"{program}input()\nprint({expression})", "inputs": ["1\n", "2\n"]})
    else:
      jobs.append(calls(f"{program}def f(n):\n  return {expression}\n", "f(1)", "f(2)"))
  return jobs


def _life(jobs: list[dict[str, object]], seed: int, tier: str, slots: int) -> list[list[bytes]]:
  """Runs the jobs in a new sandbox, in an order of its own, among other jobs that leave its processes changed."""
  draw = random.Random(seed)
  order = draw.sample(range(len(jobs)), len(jobs))
  found: dict[int, list[bytes]] = {}
  with Sandbox(slots=slots, tier=tier, min_tier=tier) as running:
    for turn, number in enumerate(order):
      if turn % 4 == 0:
        noise = f"x = {'y' * draw.randrange(1, 20_000)!r}\ndef f():\n  return x\n"
        submit(running, calls(noise, *["f()"] * draw.randrange(1, 40)))
      found[number] = [part for one in ask(running, jobs[number]) for part in (one.results, one.stdout)]
  return [found[number] for number in range(len(jobs))]


@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap", "landlock"])
def test_a_program_gives_the_same_results_in_every_sandbox(tier):
  jobs = _programs(len(EXPRESSIONS))
  lives = [_life(jobs, seed, tier, slots) for seed, slots in ((0, 1), (1, 2))]
  assert all(b"error" not in b"".join(parts) for parts in lives[0])
  assert lives[0] == lives[1]


@pytest.mark.slow
def test_100_programs_give_the_same_results_in_ten_sandboxes():
  jobs = _programs(100)
  first, *others = [_life(jobs, seed, "namespaces", 1 + seed % 3) for seed in range(10)]
  assert all(b"error" not in b"".join(parts) for parts in first)
  assert others == [first] * 9
