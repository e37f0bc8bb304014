"""Code and mathematics in hand-written responses."""

import pytest

from srpo_jax.analysis.code_use import has_code


@pytest.mark.parametrize(
  ("text", "code"),
  [
    ("```python\nprint(3 * 4)\n```", True),
    ("First.\n  ```py\n  x = 3\n  ```\nSo", True),
    ("```\nfor i in range(3):\n  print(i)\n```", True),
    ("1. So: ```python\nx = 3\nassert x * 4 == 12\n``` holds", True),  # a fence within a line
    ("```\n3 x 4 = 12\n```", False),  # not Python
    ("```\nx\n```", False),  # does nothing
    ("```latex\n\\frac{1}{2}\n```", False),
    ("```python\n```", False),
    ("```python\nprint(3", False),  # never closed
    ("Run `sum(range(1, 101))` to see.", True),
    ("That is `17 * 23`, or `3 * 4 == 12`.", True),
    (">>> 2 ** 10\n1024", True),
    ("print(sum(k * k for k in range(10)))", True),
    ("The value `x` and `n + 1` and `f(3)`.", False),  # code with unknown names does not run
    ("3 * 4 = 12 and f(2) = 5", False),
    ("f(2)", False),
    ("(2 + 3)", False),
    ("max is 3, and so the sum (1 + 2) holds", False),
    ("`" + "(" * 500 + "1" + ")" * 500 + "`", False),  # nested too deeply for Python's parser
    ("`\x00`", False),
    ("", False),
    # unfenced programs, and mathematics that looks like one
    ("gcd(12, 18)", False),
    ("gcd(12, 18)\n", False),
    ("The total is\n\nmax(3, 5)\n", False),
    ("total = 0\nfor k in range(1, 11):\n    total += k\nprint(total)", True),
    ("x = 5\ny = 2x + 1", False),
    ("from math import factorial\nprint(factorial(5))", True),
    ("def f(n):\n  return n * n\n\nf(3)", True),
    ("a, b = 0, 1\nwhile b < 100:\n    a, b = b, a + b", True),
    ("n = 0\nfor (int i = 0; i < 5; i++) {\n  n += i;\n}", True),
    ("let s = 0;\nfor (let i = 1; i <= 10; i++) s += i;\nconsole.log(s);", True),
    ("if x > 3: then y = 2", False),
    ("For n in N:\n  a_n = 3", False),
    ("while true:\n", False),
    ("import tariffs rose by 5%", False),
    ("from 3 import 4", False),
    ("#include <iostream>\nint main() { std::cout << 5; }", True),
    ("```\nprint(3)\n```", True),
    ("```\ngcd(12,18) = 6\n```", False),
    ("``` Python\nx=1\n```", True),
    ("```text\n3+4=7\n```", False),
    ("sum(1, 2, 3)", False),
    ("return 5 apples to the shop", False),
    ("sum([i for i in range(5)])", True),
    ("xs = [k for k in range(10) if k % 3 == 0]\nsum(xs)", True),
    ("s = 0\ns += 3\ns += 4\n", True),
    ("x = symbols('x')\nsolve(x**2 - 4, x)", True),
    ("A = [0, 1]\nB = [1, 2]", False),
    ("a = 3;\nb = 4;\nc = 5;", False),
    ("1 = 1;\n2 = 2;", False),
    ("fn(3) = 4", False),
    ("func f(x)", False),
    ("function f(x) = 3x", False),
    ("import numpy as np\nnp.sum([1,2])", True),
    ("package of 5", False),
    ("class A:", False),
  ],
)
def test_code(text, code):
  assert has_code(text) is code


def test_nothing_that_a_model_writes_warns(recwarn):
  assert not has_code("`1if 2 else 3`") and has_code("`'\\frac' + 'x'`")
  assert not recwarn.list
