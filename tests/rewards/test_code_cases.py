"""Tests of problems become calls without answers for the child, and checks that mean the same as the assert."""

import json
import math
from array import array
from collections import Counter, OrderedDict, deque
from fractions import Fraction

import pytest

from srpo_jax.rewards.cases import turn
from srpo_jax.rewards.match import equal, has_nan, same_output
from srpo_jax.sandbox.plain import Stream
from srpo_jax.utils.errors import InputError


def asserts(*cases, **fields):
  return turn({"type": "assert", "cases": list(cases), **fields})


def asked(suite):
  """Returns what the child evaluates, with each call at the place of its value in the wrapper."""
  return [call.get("wrapper", "_").replace("_", call["expression"]) for call in suite.calls]


def passes(case, *values, **fields):
  suite = asserts(case, **fields)
  assert len(suite.calls) == len(values), asked(suite)
  return all(check.passes(dict(enumerate(values))) for check in suite.checks)


@pytest.mark.parametrize(
  ("case", "calls", "right", "wrong"),
  [
    ("assert f(1, 'a') == [1, 2]", ["f(1, 'a')"], ([1, 2],), ((1, 2),)),
    ("assert [1, 2] == f(1)", ["f(1)"], ([1, 2],), ([2, 1],)),
    ("assert f(1) is True", ["f(1)"], (True,), (1,)),
    ("assert f(1) is None", ["f(1)"], (None,), (0,)),
    ("assert f(1) is not None", ["f(1)"], (0,), (None,)),
    ("assert f(1) == True", ["f(1)"], (1,), (False,)),
    ("assert f(1)", ["bool(f(1))"], (True,), (False,)),
    ("assert not f(1)", ["bool(f(1))"], (False,), (True,)),
    ("assert not (f(1) or len(g(2)))", ["bool(f(1))", "bool(len(g(2)))"], (False, False), (False, True)),
    ("assert f(1) or g(2) == 2", ["bool(f(1))", "g(2)"], (False, 2), (False, 3)),
    ("assert (f(1) or 3) == 3", ["f(1)"], (None,), (4,)),
    ("assert f(1) == g(2)", ["f(1)", "g(2)"], (0.5, 0.5 + 1e-12), (0.5, 0.6)),
    ("assert f(-1) != 3", ["f(-1)"], (4,), (3,)),
    ("assert set(f([3])) == set((1, 2))", ["set(f([3]))"], ({2, 1},), ({1},)),
    ("assert sorted(f(), reverse=True) == [2, 1]", ["sorted(f(), reverse=True)"], ([2, 1],), ([1, 2],)),
    ("assert len(f(2)) == 2 and f(2)[0] == 'x'", ["len(f(2))", "f(2)[0]"], (2, "x"), (2, "y")),
    ("i = -1\nassert sorted(f(2)[i])[1:] == [2]", ["sorted(f(2)[-1])[1:]"], ([2],), ([1],)),
    ("assert collections.Counter(f(2)) == {1: 2}", ["Counter(f(2))"], ({1: 2},), ({1: 1},)),
    ("assert max(f(2), 3) == 5", ["f(2)"], (5,), (4,)),
    ("assert sum(f(2), 3) == 5", ["f(2)"], ([1, 1],), ([5],)),
    ("assert round(f(2), ndigits=f(0)) == 0.5", ["f(2)", "f(0)"], (0.46, 1), (0.46, 2)),
    ("assert [5, 6][f(2)] == 6", ["f(2)"], (1,), (0,)),
    ("assert f(2)[f(1)] == 6", ["f(2)", "f(1)"], ([6], 0), ([5], 0)),
    ("assert math.isclose(f(2), 0.1, rel_tol=0.001)", ["f(2)"], (0.10001,), (0.11,)),
    ("assert abs(f(2) - 0.5) < 1e-3", ["f(2)"], (0.5004,), (0.502,)),
    ("assert round(f(2), 2) == 0.33", ["round(f(2), 2)"], (0.33,), (0.34,)),
    ("assert decode(encode('ab')) == 'ab'", ["decode(encode('ab'))"], ("ab",), ("ba",)),
    ("assert f(1) == f(2)", ["f(1)", "f(2)"], (5, 5), (5, 6)),
    ("assert f(g(1), h=[x for x in range(3)]) in (1, 2)", ["f(g(1), h=[x for x in range(3)])"], (2,), (3,)),
    ("assert Solution().run([1]) == 1", ["Solution().run([1])"], (1,), (2,)),
    ("assert 0 < f(1) <= 3", ["f(1)"], (3,), (0,)),
    ("assert f(1) == 'a' or f(1) == 'b'", ["f(1)", "f(1)"], ("b", "b"), ("c", "c")),
    ("assert f(1) == 0.1 + 0.2", ["f(1)"], (0.3,), (0.31,)),
    ("assert f(1) == {'a': [1.0], 2: (3,)}", ["f(1)"], ({2: (3,), "a": [1]},), ({2: [3], "a": [1.0]},)),
    ("x = [1, 2]\nassert f(x) == x, 'a message'", ["f([1, 2])"], ([1, 2],), ([1],)),
    ("assert f(1) == 'ab' * 2 + 'c'", ["f(1)"], ("ababc",), ("abc",)),
    ("assert dict(f(1)) == {1: 2}", ["dict(f(1))"], ({1: 2},), ({1: 3},)),
    ("assert list(zip(f(1), f(1))) == [(2, 2)]", ["f(1)", "f(1)"], (Stream([2]), [2]), (Stream([1]), [2])),
    ("assert f(1) == Fraction(1, 2)", ["f(1)"], (0.5,), (0.5000001,)),
    ("assert f(1) == decimal.Decimal('0.1')", ["f(1)"], (Fraction(1, 10),), (0.1,)),
    ("assert f(1) - Decimal('0.1') < Fraction('1/9')", ["f(1)"], (Fraction(1, 5),), (Fraction(2, 5),)),
    ("assert f(1) == deque([0.5])", ["f(1)"], (deque([0.5 + 1e-12]),), ([0.5],)),
    ("assert f(1) == array('d', [0.5])", ["f(1)"], (array("f", [0.5]),), ([0.5],)),
    ("assert f(1) == bytearray(b'a')", ["f(1)"], (b"a",), ("a",)),
    ("assert f(1) == OrderedDict([(1, 2), (3, 4)])", ["f(1)"], ({3: 4, 1: 2},), (OrderedDict({3: 4, 1: 2}),)),
    ("assert f(1) == Counter('aa')", ["f(1)"], (Counter(a=2, b=0),), ({"a": 2, "b": 0},)),
    ("assert f(1) == complex(0, 2)", ["f(1)"], (2j,), (2,)),
    ("assert f(1) == range(3)", ["f(1)"], (range(0, 3, 1),), ([0, 1, 2],)),
    ("assert f(1) == {1, 2}", ["f(1)"], ({1: 0, 2: 0}.keys(),), ([1, 2],)),
    ("assert 0.3 == f(1)", ["f(1)"], (0.1 + 0.2,), (0.30000001,)),
    ("assert 2.0 == f(1)", ["f(1)"], (2,), (2.0000000001,)),
    ("assert 0.3 in f(1)", ["f(1)"], ([1, 0.1 + 0.2],), ([1, 0.30000001],)),
    ("assert f(1) in [2.0, 0.3]", ["f(1)"], (0.1 + 0.2,), (2.0000000001,)),
    ("assert f(1) != 2.0", ["f(1)"], (2.0000000001,), (2,)),
    ("assert f(1) == [1, 2]", ["f(1)"], ([1, 2],), (Stream([1, 2]),)),
  ],
)
def test_an_assert_becomes_calls_and_a_check_of_their_values(case, calls, right, wrong):
  assert asked(asserts(case)) == calls
  assert passes(case, *right) and not passes(case, *wrong)


def test_the_expected_value_is_not_in_the_job():
  named = "secret = 'hidden'\nassert f(5) == secret"
  suite = asserts("assert f(3) == 918273645", "assert set(f(4)) == {'needle'}", named)
  function = turn({"type": "function", "entry_point": "f", "cases": [{"args": [1], "expected": "needle"}]})
  script = turn({"type": "stdin", "cases": [{"input": "1", "output": "needle"}]})
  sent = json.dumps([suite.job("p"), function.job("p"), script.job("p")])
  assert not any(word in sent for word in ("918273645", "needle", "hidden"))


@pytest.mark.parametrize("moved", ["len(f(7))", "f(7)['k']", "round(f(7), 2)", "bool(f(7))"])
def test_a_wrapper_goes_to_the_child_without_the_expected_value(moved):
  (call,) = asserts(f"assert {moved} == 918273645").job("p")["calls"]
  assert call["expression"] == "f(7)" and call["wrapper"] == moved.replace("f(7)", "_")


@pytest.mark.parametrize(
  "test",
  [
    *("max(f(7), {})", "min({}, f(7))", "sum(f(7), {})", "sorted([f(7), {}])", "round({}, f(7))", "abs(f(7) - {})"),
    *("math.isclose(f(7), {})", "int(f(7), {})", "f(7) == Decimal({})", "f(7) == Fraction({})", "f(7) == deque([{}])"),
    *(
      "f(7) == array('q', [{}])",
      "f(7) == OrderedDict(a={})",
      "dict(f(7), a={})",
      "f(7) == Answer({})",
      "f(7) in [{}]",
    ),
    *("{{{}: 2}}[f(7)]", "[f(7)] == [Answer({})]", "not f(7) or f(7) != [1, Answer({})]", "f(7)[f(8):{}]"),
  ],
)
def test_no_expected_value_enters_the_child(test):
  """Either the job holds no trace of it, or the row is refused."""
  try:
    suite = asserts(f"assert {test.format(918273645)}")
  except InputError as error:
    assert "keywords" in str(error) or "may pass the answer" in str(error)
  else:
    assert "918273645" not in json.dumps(suite.job("p")) and "f(7)" in asked(suite)


def test_a_row_can_name_a_builtin_as_the_candidates_function():
  assert asked(asserts("assert sum(10, 15) == 6", functions=["sum"])) == ["sum(10, 15)"]
  assert asked(asserts("assert sorted(len('ab')) == [6]", functions=["len"])) == ["sorted(len('ab'))"]
  assert asserts("assert Point(1) == f(2)", functions=["Point", "f"]).calls[0] == {"expression": "Point(1)"}
  with pytest.raises(InputError, match="asserts nothing about the program"):
    asserts("assert sum([1]) == 1")


def test_a_row_that_names_the_candidates_functions_excludes_all_others():
  with pytest.raises(InputError, match="calls same"):
    asserts("assert same(f(1), 42)", functions=["f"])
  assert asked(asserts("assert same(f(1), 42)", functions=["f", "same"])) == ["bool(same(f(1), 42))"]
  assert asked(asserts("assert ordered(sort([2, 1])) and decode(encode('a')) == 'a'")) == [
    "bool(ordered(sort([2, 1])))",
    "decode(encode('a'))",
  ]


@pytest.mark.parametrize(
  "tests",
  [
    {"type": ["assert"], "cases": ["assert f(1)"]},
    {"type": "assert", "cases": ["assert f(1)"], "functions": "f"},
    {"type": "assert", "cases": ["assert f(1)"], "functions": [["f"]]},
    {"type": "assert", "cases": ["assert f(1)"], "functions": 5},
    {"type": "function", "entry_point": "f", "cases": [{"args": "ab", "expected": 1}]},
  ],
)
def test_fields_of_the_wrong_kind_are_named(tests):
  with pytest.raises(InputError, match=r"field tests\."):
    turn(tests)


def test_imports_go_to_the_calls():
  suite = asserts("import math", "assert f(math.pi) == 3")
  assert suite.imports == ("import math",) and asked(suite) == ["f(math.pi)"]


@pytest.mark.parametrize(
  ("case", "reason"),
  [
    ("for i in range(3):\n  assert f(i) == i", "cannot be turned into calls: has a For statement"),
    ("try:\n  f(1)\nexcept ValueError:\n  pass", "has a Try statement"),
    ("assert eval('1') == f(1)", "calls eval"),
    ("assert open('x').read() == f(1)", "reads the attribute read|calls open"),
    ("assert f(1) == unknown", "uses the name unknown"),
    ("assert [x for x in f(1)] == [1]", "uses ListComp"),
    ("assert (lambda: f(1))() == 1", "calls|uses Lambda"),
    ("assert f(1) @ 2", "uses the operator MatMult"),
    ("assert list(range(f(1))) == []", "calls range on a value that the program returned"),
    ("assert sorted(f(1), key=len) == []", "calls sorted with keywords"),
    ("x = f(1)\nassert x == 1", "has a Assign statement"),
    ("assert True", "expected an assert on a call"),
    ("assert f(1) == 2 ** 10 ** 9", r"holds 2 \*\* 10 \*\* 9, which has no value: a large power"),
    ("assert f(1) == list(range(10 ** 12))", "which has no value: a long range"),
    ("assert f(1) == {**{1: 2}}", "uses Dict"),
    ("assert max(f(1), sum(1)) == 2", r"holds sum\(1\), which has no value"),
    ("assert dict(f(1), rel_tol=1) == 2", "calls dict with keywords"),
    ("assert f(1) == Fraction('1e999999999')", "which has no value: an exponent"),
    ("assert f(1) == Decimal('1e999999999')", "which has no value: too large"),
    ("assert f(1) == bytearray(10 ** 12)", "which has no value: expected bytes or a list"),
    ("assert f(1) == deque(range(1 << 21))", "which has no value: a long range|uses the operator"),
    ("assert f(1) == Decimal(f(2))", "calls Decimal on a value that the program returned"),
    ("assert f(1) == int", "holds int, which has no value"),
    ("x = 1\nassert f([x for x in range(3)]) == 1", "rebinds x"),
    ("x = 1\nassert f(lambda x: x) == 1", "rebinds x"),
    ("assert np.allclose(f(1), [1, 2])", "calls np.allclose"),
    ("assert re.match('4', f(1))", "calls re.match"),
    ("assert almost(f(1), 3.14)", "may pass the answer to the program"),
    ("assert not differ(f(1), other=3.14)", "may pass the answer to the program"),
    ("assert almost(f(1), 3.14) is True", "may pass the answer to the program"),
    ("assert (", "expected Python"),
    (5, "expected the text of an assert, found 5"),
  ],
)
def test_unsupported_asserts_are_refused_with_the_case_and_the_reason(case, reason):
  with pytest.raises(InputError, match=reason) as caught:
    asserts(case)
  assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
  ("tests", "message"),
  [
    (None, "field tests: expected an object with type and cases, found None"),
    ({"type": "assert", "cases": []}, "field tests.cases: expected a list of at least one case, found []"),
    ({"type": "assert", "cases": "assert"}, "field tests.cases: expected a list"),
    ({"type": "other", "cases": [1]}, "field tests.type: expected one of assert, function, stdin, found 'other'"),
    ({"type": "function", "cases": [1]}, "field tests.entry_point: expected the name of a function, found None"),
    ({"type": "function", "entry_point": "f(", "cases": [1]}, "field tests.entry_point"),
    ({"type": "function", "entry_point": "f", "cases": [{"args": [1]}]}, "field tests.cases[0]: expected an object"),
    ({"type": "function", "entry_point": "f", "cases": [{"args": [{1j}], "expected": len}]}, "expected plain data"),
    ({"type": "function", "entry_point": "f", "cases": [{"args": [], "expected": math.nan}]}, "found NaN"),
    ({"type": "stdin", "cases": [{"input": 1, "output": ""}]}, "field tests.cases[0]: expected an object with input"),
    ({"type": "stdin", "cases": [{"input": "", "output": "x" * (1 << 20)}]}, "expected an answer below 1048576"),
  ],
)
def test_malformed_tests_are_named(tests, message):
  with pytest.raises(InputError) as caught:
    turn(tests)
  assert message in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, [math.nan], {"a": math.nan}, complex(math.nan, 0), (1, [math.nan])])
@pytest.mark.parametrize("case", ["assert f(1) != 3", "assert not f(1) == 2", "assert f(1)", "assert f(1) == 1"])
def test_nan_passes_nothing(case, value):
  assert not passes(case, value)


@pytest.mark.parametrize(
  ("case", "value"),
  [
    ("assert f(1) * 10000000 != 'x'", "x"),  # text times a number could fill the memory
    ("assert 'x' * f(1) != 'x'", 1 << 40),
    # All of these integers have the same hash, so building a set of them takes minutes.
    ("assert set(f(1) + [1]) != 0", [n * (2**61 - 1) for n in range(1, 20_000)]),
    ("assert Counter(f(1) + [1]) != 0", [n * (2**61 - 1) for n in range(1, 20_000)]),
    ("assert f(1) ** 100000 > 1", 10),
    ("assert round(5, f(1)) == 0", -(10**9)),
    ("assert f(1) * f(1) > 1", 1 << 5000),
    ("assert f(1) % 7 == '1'", "%1000000000d"),
    ("assert sum(f(1), 0) == []", [[], []]),
    ("assert sum(f(1), 0) != 0", [Fraction(1, (1 << 4000) + n) for n in range(20)]),
    ("assert f(1) ** 9999 != 0", Fraction(1, 3 << 99)),
    ("assert f(1) * f(1) != 0", Fraction(1, 1 << 5000)),
    ("assert f(1) * 9 != 0", range(5)),
  ],
)
def test_operations_on_returned_values_cannot_grow(case, value):
  count = case.count("f(1)")
  assert not passes(case, *[value] * count)


@pytest.mark.parametrize(
  ("left", "right", "same"),
  [
    (0.1 + 0.2, 0.3, True),
    (1.1 * (1 + 1e-8), 1.1, False),
    (1e-12, 2e-12, False),  # no absolute tolerance
    (0.0, 1e-300, False),
    (-0.0, 0.0, True),
    (2000000000.0, 2000000001.0, False),
    (1e300, 1e300 * (1 + 1e-15), False),
    (3, 3.0, True),
    (3, 3.0000001, False),  # integers are compared exactly
    (10**17, 1e17, True),
    (10**17 + 1, 1e17, False),
    (True, 1, True),
    (math.inf, math.inf, True),
    (math.inf, -math.inf, False),
    (math.inf, 1e308, False),
    (Fraction(1, 2), 0.5, True),
    (Fraction(1, 10), 0.1, False),  # Python's == too
    (Fraction(2), 2, True),
    (Fraction(2), 2 + 0j, True),
    (math.nan, math.nan, False),
    ("1", 1, False),
    ([1, [2.5]], [1, [2.5 + 1e-9]], True),
    ((1,), [1], False),
    ({1, 2}, {2, 1}, True),
    ({1: 0.1}, {1: 0.1 + 1e-12}, True),
    (OrderedDict({1: 0.1}), {1: 0.1 + 1e-12}, True),
    (OrderedDict({1: 1, 2: 2}), OrderedDict({2: 2, 1: 1}), False),
    (deque([0.1]), deque([0.1 + 1e-12]), True),
    (deque([1]), [1], False),
    (array("i", [1]), array("d", [1.0]), True),
    (array("i", [1]), (1,), False),
    ({1: 2}.items(), {(1, 2)}, True),
    ({1: 2}.keys(), {1: 3}.keys(), True),
    ({1: 2}, {1: 2, 3: 4}, False),
    (None, None, True),
    (b"a", "a", False),
    (Stream([1]), Stream([1]), False),
  ],
)
def test_equality(left, right, same):
  assert equal(left, right) is same
  assert equal(right, left) is same


@pytest.mark.parametrize("value", [3.0, -1e9])
def test_only_an_expected_number_that_is_no_integer_has_a_tolerance(value):
  near = value * (1 + 1e-12)
  assert equal(value, near) and not equal(near, value)
  assert equal([value], (near,), loose=True) and not equal({1: near}, {1: value})


@pytest.mark.parametrize("field", ["input", "output"])
def test_half_a_surrogate_pair_cannot_be_sent_to_a_script(field):
  case = {"input": "1", "output": "1"} | {field: "a\ud800"}
  with pytest.raises(InputError, match=rf"cases\[0\].{field}: expected Unicode text"):
    turn({"type": "stdin", "cases": [case]})


def test_loose_equality_takes_a_list_for_a_tuple():
  assert equal((1, (2,)), [1, [2]], loose=True) and not equal((1, 2), [1], loose=True)
  assert not equal(deque([1]), [1], loose=True) and not equal(array("i", [1]), [1], loose=True)


def test_nan_is_found_at_any_depth():
  assert has_nan([{"a": (1, [math.nan])}]) and has_nan({math.nan})
  assert all(map(has_nan, (deque([math.nan]), array("d", [math.nan]), {math.nan: 1}.keys(), {1: math.nan}.items())))
  assert has_nan(Stream([math.nan])) and not has_nan([{"a": (1, "nan", None)}])


@pytest.mark.parametrize(
  ("found", "expected", "same"),
  [
    ("1 2\n3\n", "1 2\n3", True),
    ("1 2  \n3\n\n\n", "1 2\n3", True),
    ("1  2", "1 2", True),
    ("1\r\n2\r\n", "1\n2\n", True),
    ("1 2 3", "1 2\n3", False),
    ("", "", True),
    ("", "0", False),
    ("0.3333333333", "0.33333333333", True),
    ("0.3333333", "0.33333333", False),
    ("2000000001.0", "2000000000.0", False),
    ("2e9", "2000000000.0", True),
    ("1.00000000000000000000001", "1.0", False),  # the same in double precision
    ("-0", "0.0", True),
    ("1e-20", "0.0", False),
    ("1e401", "1e400", False),
    ("0.34", "0.33333333", False),
    ("1", "1.0", True),
    ("1.0", "1", False),  # a decimal does not match an expected integer
    ("nan", "0.5", False),
    ("inf", "1e400", False),
    ("YES", "Yes", False),
    ("1e999999999", "1.5", False),
    (" 1", "1", True),
  ],
)
def test_same_output(found, expected, same):
  assert same_output(found, expected) is same
