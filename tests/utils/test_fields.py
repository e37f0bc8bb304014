"""Config sections: the checks, defaults and help texts of their fields."""

import dataclasses
import math

import pytest

from srpo_jax.utils import fields
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.fields import field


@dataclasses.dataclass(frozen=True)
class Inner:
  """Inner section."""

  rate: float = field(0.5, "Rate.", source="I", at_least=0, at_most=1)
  kind: str = field("a", "Kind.", choices=("a", ""), before="")

  def check(self, config, where):
    if config.n == 7 and self.rate == 0.7:
      raise InputError(f"{where}.rate: expected another with n of 7")


@dataclasses.dataclass(frozen=True)
class Outer:
  """Outer section."""

  n: int = field(1, "Number.", at_least=1, because="nothing comes of nothing", before=3)
  inner: Inner = Inner()
  many: dict[str, Inner] = field({"x": Inner()}, "Sections.")
  shares: dict[str, float] = field({"u": 1.0}, "Shares.", above=0)
  function: str = field("", "module:function.", plugin=True)


def make(**changes):
  return fields.make(Outer, fields.defaults(Outer) | changes, "config")


def test_defaults_make_the_defaults():
  assert fields.defaults(Outer)["many"] == {"x": {"rate": 0.5, "kind": "a"}}
  assert make() == Outer()
  fields.defaults(Outer)["shares"]["u"] = 9.0
  assert fields.defaults(Outer)["shares"] == {"u": 1.0} == Outer().shares


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"n": 0}, "config.n: expected at least 1, nothing comes of nothing, got 0"),
    ({"n": True}, "config.n: expected int, got True"),
    ({"m": 1}, "config.m: unknown field, expected one of n, inner, many, shares, function"),
    ({"inner": {"rate": 2, "kind": "a"}}, "config.inner.rate: expected a number from 0 to 1, got 2.0"),
    ({"inner": {"rate": math.nan, "kind": "a"}}, "config.inner.rate: expected a finite number, got nan"),
    ({"inner": {"rate": 1, "kind": "b"}}, "config.inner.kind: expected a or nothing, got 'b'"),
    ({"inner": {"rate": 1}}, "config.inner.kind: missing field"),
    ({"inner": 3}, "config.inner: expected a section with fields, got 3"),
    ({"many": {"y": {"rate": -1, "kind": "a"}}}, "config.many.y.rate: expected a number from 0 to 1, got -1.0"),
    ({"n": 7, "many": {"y": {"rate": 0.7, "kind": "a"}}}, "config.many.y.rate: expected another with n of 7"),
    ({"shares": {"v": 0}}, "config.shares.v: expected a positive number, got 0.0"),
    ({"function": "no_such_module:f"}, "config.function: no_such_module:f: importing no_such_module failed"),
  ],
)
def test_a_refused_value_is_named_with_the_expectation(changes, message):
  with pytest.raises(InputError) as error:
    make(**changes)
  assert str(error.value).startswith(message)


def test_a_field_that_an_old_file_lacks_takes_its_old_behaviour():
  old = fields.make(Outer, fields.complete(Outer, {"many": {"y": {"rate": 0.25}}, "shares": {}}), "config")
  assert old == Outer(n=3, inner=Inner(kind=""), many={"y": Inner(0.25, "")}, shares={})
  assert fields.make(Outer, fields.complete(Outer, {}), "config").many == {"x": Inner()}
  with pytest.raises(InputError, match=r"config\.m: unknown field, expected one of n, "):
    fields.make(Outer, fields.complete(Outer, {"m": 1}), "config")


def test_help_has_each_field_with_its_value():
  values = fields.defaults(Outer)
  values["many"]["y"] = {"rate": 0.25, "kind": "a"}
  assert (
    fields.describe(Outer, values)
    == """
  --config.n=1
      Number. (int; at least 1)

inner: Inner section.
  --config.inner.rate=0.5
      Rate. [I] (float; a number from 0 to 1)
  --config.inner.kind=a
      Kind. (str; a or nothing)

many: Sections. Inner section.
  --config.many.x.rate=0.5
      Rate. [I] (float; a number from 0 to 1)
  --config.many.x.kind=a
      Kind. (str; a or nothing)
  --config.many.y.rate=0.25

  --config.shares.u=1.0
      Shares. (float; a positive number)

  --config.function=
      module:function. (str)"""
  )
