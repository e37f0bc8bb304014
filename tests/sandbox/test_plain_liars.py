"""Tests that a value is read by the methods of its base type, whatever its own class and metaclass say."""

import enum
import fractions
import math
import time
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction

import numpy
import pytest

from srpo_jax.sandbox import plain
from srpo_jax.sandbox.plain import Unplain

BASES = [
  *((int, 7), (int, 1 << 80), (float, 0.5), (complex, 1 + 2j), (str, "a"), (bytes, b"a"), (bytearray, b"a")),
  *((list, [1, [2]]), (tuple, [1, 2]), (set, [1]), (frozenset, [1]), (dict, {1: 2}), (deque, [1, 2])),
  *((Counter, "aab"), (OrderedDict, {2: 1, 1: 2}), (defaultdict, list), (Fraction, "1/3"), (Decimal, "0.25")),
  (array, "i"),
]
MORE_NAMES = ("__bool__", "__index__", "__iter__", "__len__", "__module__", "__next__", "item", "tolist")


class Asked(Exception):
  """A method of the candidate's class was called."""


def lie(*_, **__):
  raise Asked


class Liar(type):
  """Metaclass that answers nothing about its classes."""

  __hash__ = lie


for name in ("__eq__", "__getattribute__", "__instancecheck__", "__subclasscheck__"):
  setattr(Liar, name, lie)


def lying(base: type, given: object, meta: type) -> object:
  """Returns an instance of a subclass of `base` all of whose methods raise."""
  kind = type.__new__(meta, "Lie", (base,), {"__class__": property(lie)})
  value = base.__new__(kind, given)
  base.__init__(value, *(() if base in (int, float, complex, str, bytes, tuple, frozenset) else (given,)))
  for name in {*dir(base), *MORE_NAMES} - {"__class__", "__dict__", "__subclasshook__", "_abc_impl"}:
    type.__setattr__(kind, name, lie)
  return value


@pytest.mark.parametrize("lies", [False, True], ids=("type", "Liar"))
@pytest.mark.parametrize(("base", "given"), BASES, ids=lambda value: str(value)[:30])
def test_a_subclass_is_read_by_the_methods_of_its_base(base, given, lies):
  value = lying(base, given, Liar if lies and type(base) is type else type(base))
  for question in (str, bool, lambda v: v == v, lambda v: v.__class__):
    with pytest.raises(Asked):
      question(value)
  honest = base(given)
  for place in (lambda v: v, lambda v: [v], lambda v: {1: (v,)}, lambda v: deque([v])):
    found = plain.loads(plain.dumps(place(value)))
    assert repr(found) == repr(plain.loads(plain.dumps(place(honest))))


class Claims:
  """Object that claims to be the number 1 in every way but by its type."""

  __module__ = "numpy"
  __class__ = int  # type: ignore[assignment]

  def __eq__(self, other):
    return True

  def one(self):
    return 1

  __hash__ = __int__ = __index__ = __len__ = __bool__ = item = tolist = one

  def __float__(self):
    return 1.0

  def __iter__(self):
    return iter([1])

  def __reduce__(self):
    return int, (1,)


class ndarray(Claims):
  """Class with the name of NumPy's."""


class Reordered(type):
  def mro(cls):
    return [cls, object]


class Hidden(list, metaclass=Reordered):
  """List whose method resolution order hides that it is one."""


class Steps(map):
  def __next__(self):
    raise Asked


fractions.Fraction.register(Claims)
OTHERS = {
  "object": object,
  "function": lambda: len,
  "class": lambda: int,
  "module": lambda: math,
  "member of a plain Enum": lambda: enum.Enum("E", "A")(1),
  "claims to be an int": Claims,
  "in a list": lambda: [Claims()],
  "as a key": lambda: {Claims(): 1},
  "NumPy's names": ndarray,
  "hidden base": Hidden,
  "subclass of an iterator": lambda: Steps(int, "1"),
  "class of a lying metaclass": lambda: type.__new__(Liar, "Lie", (), {}),
  "instance of a lying metaclass": lambda: object.__new__(type.__new__(Liar, "Lie", (), {})),
  "NotImplemented": lambda: NotImplemented,
  "date of NumPy": lambda: numpy.datetime64("2020"),
  "struct of functions": lambda: (time.time,),
  "Fraction of other numbers": lambda: fraction(Claims(), 1),
  "Fraction of floats": lambda: fraction(0.5, 2.0),
}


def fraction(numerator: object, denominator: object) -> Fraction:
  value = object.__new__(Fraction)
  value._numerator, value._denominator = numerator, denominator
  return value


@pytest.mark.parametrize("name", OTHERS)
def test_other_objects_do_not_pass(name):
  with pytest.raises(Unplain, match="not plain data"):
    plain.dumps(OTHERS[name]())
