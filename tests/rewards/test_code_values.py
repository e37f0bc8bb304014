"""Results of code responses count if they equal the expected value under Python's `==`, and no lie changes that."""

import json
import subprocess
import sys

import pytest

from srpo_jax.rewards.scorer import Scorer
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.types import ScoreRequest


@pytest.fixture(scope="module", params=["namespaces", "bubblewrap"])
def scorer(request):
  options = SandboxOptions(min_tier="bubblewrap", tier=request.param, slots=2, timeout_s=8, packages=("numpy",))
  with Scorer(workers=1, sandbox=options) as running:
    yield running


def judged(scorer: Scorer, *pairs: tuple[str, str]):
  """Returns the verdicts of programs on the text of their tests."""
  for number, (program, tests) in enumerate(pairs):
    response = f"I write.</think><answer>```python\n{program}\n```</answer>"
    cases = {"type": "assert", "cases": [tests]}
    scorer.submit(ScoreRequest(str(number), "Write f.", response, True, "code", None, cases))
  return list(scorer.collect().values())


TRUTHS = [  # programs whose f returns something true or false
  "import re\ndef f(x): return re.match('a', x)",
  "def f(x): return object()",
  "class A:\n  def __bool__(self): return x == 'a'\ndef f(s):\n  global x\n  x = s\n  return A()",
  "class A:\n  def __len__(self): return 0\ndef f(x): return A()",
  "from fractions import Fraction as F\ndef f(x): return F(0) if x == 'a' else F(1, 3)",
  "def f(x): return (y for y in x)",
  "class A:\n  def __bool__(self): return 2\ndef f(x): return A()",
  "class A:\n  def __bool__(self): raise ValueError\ndef f(x): return A()",
  "import enum\nclass A(enum.Enum):\n  B = 0\ndef f(x): return A.B",
  "def f(x): return f if x == 'b' else None",
  "import builtins\nlen = bool = lambda x: True\nbuiltins.bool = lambda x: True\ndef f(x): return ''",
]
ASKING = ["assert f('a')", "assert not f('b')", "assert f('b') or not f('a')", "assert bool(f('a')) == True"]

EQUAL = [  # values and tests; Python is the oracle
  ("Fraction(1, 2)", "assert f() == 0.5"),
  ("Fraction(1, 3)", "assert f() == 1 / 3"),
  ("Fraction(6, 2)", "assert f() == 3 and f() != 4 and f() > 2"),
  ("Fraction(1, 3)", "from fractions import Fraction\nassert f() == Fraction(1, 3) and f() + 1 == Fraction('4/3')"),
  ("Decimal('0.50')", "assert f() == 0.5 and str(f()) == '0.50' and round(f(), 1) == Decimal('0.5')"),
  ("Decimal('0.1')", "assert f() == 0.1"),
  ("Decimal('0.1')", "from decimal import Decimal\nassert f() == Decimal('0.10') and abs(f() - 1) < 1"),
  ("[Decimal(1), Fraction(2)]", "assert f() == [1, 2]"),
  ("Point(1, 2)", "assert f() == (1, 2) and f()[1] == 2 and f().x == 1"),
  ("Point(1, 2)", "assert f() == [1, 2]"),
  ("[Colour.RED]", "assert f() == [1] and f()[0] == 1 and f()[0].name == 'RED' and str(f()[0]) == '1'"),
  ("Plain.RED", "assert f() == 1"),
  ("Word('a')", "assert f() == 'a' and f()[0] == 'a' and len(f()) == 1 and f().upper() == 'A'"),
  ("Number(5)", "assert f() == 5 and f() + 1 == 6 and abs(f()) == 5"),
  ("Items([1, Items()])", "assert f() == [1, []] and len(f()) == 2 and f()[-1] == []"),
  ("Items([1])", "assert f() == (1,)"),
  ("{Word('a'): Items()}", "assert f() == {'a': []} and f()['a'] == []"),
  ("{Number(1), Word('a')}", "assert f() == {1, 'a'}"),
  ("bytearray(b'ab')", "assert f() == b'ab' and f()[0] == 97 and f() == bytearray(b'ab')"),
  ("bytearray(b'ab')", "assert f() == 'ab'"),
  ("array('i', [1, 2])", "from array import array\nassert f() == array('d', [1, 2]) and list(f()) == [1, 2]"),
  ("array('i', [1, 2])", "assert f() == [1, 2]"),
  ("deque([1, 2])", "from collections import deque\nassert f() == deque([1, 2]) and f()[0] == 1 and 2 in f()"),
  ("deque([1, 2])", "assert f() == [1, 2]"),
  ("Counter('aab')", "assert f() == {'a': 2, 'b': 1} and f()['c'] == 0 and f().most_common(1) == [('a', 2)]"),
  ("Counter(a=0)", "from collections import Counter\nassert f() == Counter() and f() != {}"),
  ("defaultdict(int, {1: 2})", "assert f() == {1: 2} and f()[5] == 0"),
  ("OrderedDict(b=1, a=2)", "assert f() == {'a': 2, 'b': 1} and list(f()) == ['b', 'a']"),
  ("OrderedDict(b=1)", "import collections\nassert f() == collections.OrderedDict([('b', 1)])"),
  ("OrderedDict(b=1, a=2)", "import collections\nassert f() == collections.OrderedDict([('a', 2), ('b', 1)])"),
  ("range(3)", "assert f() == range(0, 3) and f() != [0, 1, 2] and f()[1:] == range(1, 3)"),
  ("{1: 2}.keys()", "assert f() == {1} and list(f()) == [1] and f() != [1]"),
  ("{1: 2}.items()", "assert f() == {(1, 2)} and dict(f()) == {1: 2}"),
  ("{1: 2}.values()", "assert list(f()) == [2] and sum(f()) == 2 and f() != [2]"),
  ("[Held(1), Held(2)]", "assert len(f()) == 2 and f()[1].n == 2 and len(f()[::2]) == 1"),
  ("Held(3)", "assert len(f()) == 3 and sorted(f()) == [0, 1, 2] and max(f()) == 2 and f()[7] == 7"),
  ("Held(3)", "assert list(f()) == [0, 1, 2] and set(f()) == {0, 1, 2} and tuple(f()) == (0, 1, 2) and sum(f()) == 3"),
  (
    "Held(3)",
    "assert str(f()) == 'held' and int(f()) == 3 and float(f()) == 3.0 and abs(f()) == 3 and round(f(), 2) == 2",
  ),
  ("Held(3)", "assert any(f()) and not all(f()) and min(f()) == 0 and list(reversed(f())) == [2, 1, 0]"),
  ("Held(3)", "assert f() == 3"),
  ("[Held(1)]", "assert f()[1]"),
  ("list(range(500_000))", "assert len(f()) == 500_000 and f()[-1] == 499_999 and sum(f()) == 124999750000"),
  ("1 << (1 << 20)", "assert f() != 7 and f() and f() > 2 ** 999"),
]
SETTING = """
import enum
from array import array
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction
Point = namedtuple("Point", "x y")
class Colour(enum.IntEnum): RED = 1
class Plain(enum.Enum): RED = 1
class Word(str): pass
class Number(int): pass
class Items(list): pass
class Held:
  def __init__(self, n): self.n = n
  def __len__(self): return self.n
  def __iter__(self): return iter(range(self.n))
  def __reversed__(self): return iter([2, 1, 0])
  def __getitem__(self, index): return index
  def __str__(self): return "held"
  def __int__(self): return self.n
  def __float__(self): return float(self.n)
  def __abs__(self): return self.n
  def __round__(self, digits): return digits
"""
FORMS = [(program, test) for program in TRUTHS for test in ASKING]
FORMS += [(f"{SETTING}def f(): return {value}", test) for value, test in EQUAL]
NUMPY = [
  ("np.float32(0.5)", "assert f() == 0.5 and abs(f()) == 0.5 and f() > 0.25"),
  ("np.float64(0.5)", "assert f() == 0.5 and str(f()) == '0.5'"),
  ("np.int64(3)", "assert f() == 3 and f()"),
  ("np.int64(3)", "assert f() is True"),
  ("np.arange(3)", "assert len(f()) == 3 and f()[1] == 1 and list(f()) == [0, 1, 2] and sum(f()) == 3"),
  ("np.arange(3)", "assert f()"),
]
NUMPY_FORMS = [(f"import numpy as np\ndef f(): return {value}", test) for value, test in NUMPY]
ORACLE = """
import builtins, json, os, sys
own, held = dict(vars(builtins)), []
for program, test in json.load(sys.stdin):
  pid = os.fork()
  if pid == 0:
    try:
      space = {}
      exec(program, space)
      vars(builtins).update(own)
      exec(test, {name: value for name, value in space.items() if name not in own})
    except BaseException:
      os._exit(1)
    os._exit(0)
  held.append(int(os.waitpid(pid, 0)[1] == 0))
print(json.dumps(held))
"""


def test_verdicts_are_those_of_asserts_run_by_python(scorer, request):
  """The oracle runs program and asserts unchanged in a process for each, the asserts with the real built-ins.

  The programs above are safe to run.
  """
  forms = FORMS + NUMPY_FORMS if "namespaces" in request.node.name else FORMS[::5]  # bubblewrap starts slowly
  found = [verdict.correct for verdict in judged(scorer, *forms)]
  command = [sys.executable, "-c", ORACLE]
  done = subprocess.run(command, input=json.dumps(forms), capture_output=True, text=True, check=True)
  real = json.loads(done.stdout)
  assert 0.2 < sum(real) / len(real) < 0.9
  assert found == real, [pair for pair, one, other in zip(forms, found, real, strict=True) if one != other]


LIES = [  # what f returns, and tests that it must not pass
  (
    "class N(int):\n  __eq__ = __lt__ = __ge__ = __bool__ = lambda *_: True\n  __hash__ = int.__hash__\n"
    "  __sub__ = __int__ = __index__ = lambda *_: 42\nv = N(0)",
    ["f() == 42", "f() in (42,)", "f() >= 42", "abs(f() - 42) < 2", "f() is True", "[f()] == [42]", "{f()} == {42}"],
  ),
  (
    "class N(float):\n  __sub__ = __abs__ = lambda *_: 0.0\n  __round__ = lambda *_: N(3)\nv = N(3)",
    ["abs(f() - 42.5) < 1e-6", "math.isclose(f(), 42.5)", "round(f(), 2) == 42.5", "f() == 42.5"],
  ),
  ("class A:\n  __sub__ = __rsub__ = __abs__ = __lt__ = lambda *_: 0\nv = A()", ["abs(f() - 42) < 1", "f() < 1"]),
  (
    "class L(list):\n  __iter__ = lambda _: iter([42])\n  __eq__ = lambda *_: True\nv = L()",
    ["f() == [42]", "[f()] == [[42]]", "(f(), 1) == ([42], 1)", "not f() == []", "42 in f()"],
  ),
  (
    "class M(type):\n  __eq__ = __instancecheck__ = __subclasscheck__ = lambda *_: True\n"
    "  __hash__ = lambda _: hash(list)\nclass A(metaclass=M):\n  __class__ = list\n  __iter__ = lambda _: iter([42])\n"
    "  __eq__ = lambda *_: True\n  __reduce__ = lambda _: (list, ([42],))\nv = A()",
    ["f() == [42]", "[f()] == [[42]]"],
  ),
  ("class ndarray:\n  tolist = lambda _: [42]\nndarray.__module__ = 'numpy'\nv = ndarray()", ["f() == [42]"]),
  ("class int64:\n  item = lambda _: 42\nint64.__module__ = 'numpy'\nv = int64()", ["f() == 42"]),
  (
    "import fractions\nclass F(fractions.Fraction):\n  numerator = _numerator = 42\n  __eq__ = lambda *_: True\n"
    "v = F(1, 3)\nfractions.Fraction.register(type(v))",
    ["f() == 42", "f() == 14", "f() * 1 == 42"],
  ),
  (
    "import builtins\nlen = abs = lambda x: 42\nsorted = list = tuple = lambda x: [42]\nbool = lambda x: True\n"
    "for name in ('len', 'sorted', 'abs', 'bool', 'list'): setattr(builtins, name, globals()[name])\nv = ''",
    ["len(f()) == 42", "sorted(f()) == [42]", "list(f()) == [42]", "f()", "bool(f())", "str(f()) == 'a'"],
  ),
  ("v = float('nan')", ["f()", "f() != 1", "not f() > 1", "not abs(f() - 1) > 1e-6", "abs(f()) != 1", "f() == f()"]),
  ("v = [float('nan')]", ["f() != [1]", "f()[0] != 1", "sum(f()) != 1", "max(f()) != 1", "f()[0]"]),
  ("import decimal\nv = decimal.Decimal('nan')", ["f()", "f() != 1", "round(f(), 1) != 1", "not f() == 1"]),
  ("class N(float): pass\nv = N('nan')", ["f()", "f() != 1", "not f() > 1", "-f() != 1"]),
  ("v = 2000000001.0", ["f() == 2000000000.0", "f() == 2000000000", "2e9 == f()", "f() in [2e9]"]),
  ("v = 2.0000000000000004", ["f() == 2", "f() == 2.0", "f() in (1, 2.0)", "{'a': f()} == {'a': 2.0}"]),
  ("v = 1e-12", ["f() == 0", "f() == 0.0", "f() == 2e-12", "not f()"]),
  ("v = 0.3000001", ["f() == 0.3", "[f()] == [0.3]", "0.3 == f()", "f() in [0.3]"]),
  ("v = []\nv += [v, v, v]", ["f() == 1", "f()[0][0] != 1", "f() != 1"]),
  ("import itertools\nv = itertools.count()", ["f() == 1", "f() != 1", "0 in f()"]),
  ("v = 10 ** 60_000", ["str(f()) != ''", "f() < 1"]),
]


def test_a_lie_about_a_value_passes_no_test(scorer, request):
  pairs = [(f"{program}\ndef f(): return v", f"assert {test}") for program, tests in LIES for test in tests]
  pairs = pairs if "namespaces" in request.node.name else pairs[::5]
  found = judged(scorer, *pairs)
  assert [pair for pair, verdict in zip(pairs, found, strict=True) if verdict.correct != 0] == []


def test_a_float_near_a_fraction_passes(scorer):
  program = "def f(): return 0.1 + 0.2"
  tests = ["f() == 0.3", "0.3 == f()", "f() != 0.3000001", "f() in [0.3]", "[f(), 1] == [0.3, 1.0]", "0.3 in [f()]"]
  assert [verdict.correct for verdict in judged(scorer, *((program, f"assert {test}") for test in tests))] == [1] * 6
