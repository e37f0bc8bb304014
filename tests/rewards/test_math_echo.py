"""Questions that hold their own answer: the answer must have the gold answer's form, and an echo must not score."""

import pytest

from srpo_jax.rewards.answers.echo import expressions, form_asked
from srpo_jax.rewards.answers.form import Form
from srpo_jax.rewards.math import judge_math

# (question, gold answer, right answers, echoes)
ASKED = [
  # Expand.
  ("Expand $(x+1)(x+2)$.", "x^2+3x+2", ["x^2+3x+2", "2+3x+x^2"], ["(x+1)(x+2)", "(x+2)(x+1)"]),
  ("Expand $(2x-3)^2$.", "4x^2-12x+9", ["9-12x+4x^2"], ["(2x-3)^2", "(2x-3)(2x-3)"]),
  (r"Expand the product \((a-b)(a+b)\).", "a^2-b^2", ["-b^2+a^2"], ["(a-b)(a+b)", "(a+b)(a-b)"]),
  ("Expand 3(x+4).", "3x+12", ["12+3x"], ["3(x+4)"]),
  ("Expand $x(x+1)(x-1)$", "x^3-x", ["-x+x^3"], ["x(x+1)(x-1)", "x(x^2-1)"]),
  ("Multiply out (y+5)(y-2).", "y^2+3y-10", ["y^2-10+3y"], ["(y+5)(y-2)", "(y-2)(y+5)"]),
  ("What is $(x+y)^3$ when expanded?", "x^3+3x^2y+3xy^2+y^3", ["y^3+3xy^2+3x^2y+x^3"], ["(x+y)^3", "(x+y)(x+y)^2"]),
  ("Distribute: $-2(3a-b)$.", "-6a+2b", ["2b-6a"], ["-2(3a-b)", "2(b-3a)"]),
  # Factor.
  ("Factor $x^2-1$.", "(x-1)(x+1)", ["(x+1)(x-1)", r"(x+1)\cdot(x-1)"], ["x^2-1", "-1+x^2"]),
  ("Factor $x^2+5x+6$.", "(x+2)(x+3)", ["(x+3)(x+2)"], ["x^2+5x+6"]),
  ("Factor $2x+6$.", "2(x+3)", ["2(3+x)"], ["2x+6", "6+2x"]),
  ("Factor completely: $3x^2-12$.", "3(x-2)(x+2)", ["3(x+2)(x-2)"], ["3x^2-12", "3(x^2-4)"]),
  ("Factor the greatest common factor out of 30x^2+45x.", "15x(2x+3)", ["15x(3+2x)"], ["30x^2+45x", "45x+30x^2"]),
  ("Write x^2+6x+9 as a square.", "(x+3)^2", ["(3+x)^2"], ["x^2+6x+9", "9+6x+x^2"]),
  ("Factor $ab+2a+5b+10$.", "(a+5)(b+2)", ["(b+2)(a+5)"], ["ab+2a+5b+10", "a(b+2)+5b+10"]),
  ("Factor $x^2 + x$.", "x(x+1)", ["x(1+x)"], ["x^2+x", "x+x^2"]),
  # Simplify.
  ("Simplify $2x+3x$.", "5x", ["5x"], ["2x+3x", "3x+2x"]),
  (r"Simplify $\frac{6x}{3}$.", "2x", ["2x"], [r"\frac{6x}{3}", "6x/3"]),
  (r"Simplify \(\sqrt{12}+\sqrt{27}\).", r"5\sqrt{3}", [r"5\sqrt3"], [r"\sqrt{12}+\sqrt{27}", r"2\sqrt3+3\sqrt3"]),
  (r"Simplify $\frac{x^2-1}{x-1}$.", "x+1", ["1+x"], [r"\frac{x^2-1}{x-1}", r"\frac{(x-1)(x+1)}{x-1}"]),
  ("Simplify $x^2 \\cdot x^3$.", "x^5", ["x^5"], [r"x^2\cdot x^3", "x^3x^2"]),
  ("Simplify 4a - (2a - b).", "2a+b", ["b+2a"], ["4a-(2a-b)", "4a-2a+b"]),
  (r"Simplify $\sin^2 x+\cos^2 x+y$.", "1+y", ["y+1"], [r"\sin^2 x+\cos^2 x+y"]),
  (r"Simplify $\frac{1}{x}+\frac{1}{x}$.", r"\frac{2}{x}", ["2/x"], [r"\frac1x+\frac1x"]),
  # Slope-intercept and other forms of a line.
  ("Write $2x-y+3=0$ in slope-intercept form.", "y=2x+3", ["y=3+2x", "2x+3"], ["2x-y+3=0", "y-2x=3"]),
  ("Solve 3x+y=7 for y.", "y=7-3x", ["y=-3x+7", "-3x+7"], ["3x+y=7", "y+3x=7"]),
  ("Give x-2y=4 in the form y=mx+b.", r"y=\frac{1}{2}x-2", [r"y=\frac12x-2", "y=x/2-2"], ["x-2y=4", "2y=x-4"]),
  ("Write the line $y-1=2(x-3)$ in slope-intercept form.", "y=2x-5", ["y=-5+2x"], ["y-1=2(x-3)", "y=2(x-3)+1"]),
  ("Write $y=3x+2$ in standard form.", "3x-y+2=0", ["3x-y=-2", "-3x+y-2=0"], ["y=3x+2"]),
  ("Rearrange 4x+2y=8 to slope-intercept form.", "y=-2x+4", ["y=4-2x"], ["4x+2y=8", "2x+y=4"]),
  # Evaluate.
  ("Evaluate $2+3$.", "5", ["5", "5.0"], ["2+3", "3+2"]),
  ("Evaluate $10^6$.", "1000000", ["1,000,000", "1000000"], ["10^6"]),
  ("Compute 12*12.", "144", ["144"], ["12*12", r"12\times 12"]),
  (r"Evaluate $\sqrt{144}$.", "12", ["12"], [r"\sqrt{144}"]),
  (r"Find $\frac{12}{2}$.", "6", ["6"], [r"\frac{12}{2}", "12/2"]),
  ("What is 5!?", "120", ["120"], ["5!"]),
  (r"Evaluate $\log_2 8$.", "3", ["3"], [r"\log_2 8"]),
  ("Write $1.2 \\times 10^5$ as a whole number.", "120000", ["120,000"], [r"1.2\times10^5", r"1.2\cdot10^5"]),
  (r"Evaluate $\sum_{k=1}^{4} k$.", "10", ["10"], [r"\sum_{k=1}^{4} k", "1+2+3+4"]),
  ("Compute $2^{10}$.", "1024", ["1024"], ["2^{10}"]),
  (r"What is $|-6|$?", "6", ["6"], ["|-6|", "-(-6)"]),
  (r"Evaluate $\binom{10}{3}$.", "120", ["120"], [r"\binom{10}{3}"]),
]

# Questions that do not hold their answer. (question, gold answer, right answers, wrong answers)
FREE = [
  ("Differentiate $x^3/3 + x^2/2$.", "x^2+x", ["x(x+1)", "x^2+x"], ["x(x-1)", "x^2"]),
  ("What is the $n$-th term?", r"\frac{1}{2^n}", ["2^{-n}", "(1/2)^n"], ["2^n", "2^{-2n}"]),
  ("Find the line through (0,3) with slope 2.", "y=2x+3", ["2x-y+3=0", "y-3=2x"], ["2x-y-3=0", "y=3x+2"]),
  ("Find the line through (0,3) with slope 2.", "2x-y+3=0", ["y=2x+3"], ["y=2x-3"]),
  ("How many grains are there?", "120000", [r"1.2\times10^5", "120,000"], [r"1.2\times10^4", "2^3", "60000+60000"]),
  ("How many are there?", "1000000", ["10^6"], ["10^5", "100^3"]),
  ("How many subsets are there?", "1024", ["1024"], ["2^{10}", "4^5"]),
  ("In how many ways?", "3628800", ["3628800"], ["10!"]),
  ("Find the geometric mean of $a$ and $b$.", r"\sqrt{ab}", [r"\sqrt{a}\sqrt{b}"], [r"\sqrt{a+b}", "ab"]),
  ("Find the distance from 0 to $x$.", "|x|", [r"\sqrt{x^2}"], ["x", "-x"]),
  (r"Integrate $1/x$.", r"\ln|x|+C", [r"C+\ln|x|"], [r"\ln x+C", r"\ln|x|-C"]),
]


def judge(answer: str, gold: str, question: str | None) -> int:
  return judge_math(rf"\boxed{{{answer}}}", gold, question=question)[0]


def test_at_least_forty_questions_hold_their_answer() -> None:
  assert len(ASKED) >= 40


@pytest.mark.parametrize(("question", "gold", "right", "echoes"), ASKED, ids=[row[0][:30] for row in ASKED])
def test_an_echo_of_the_question_does_not_score(question: str, gold: str, right: list[str], echoes: list[str]) -> None:
  assert form_asked(question, gold) is Form.ECHO
  assert [answer for answer in right if not judge(answer, gold, question)] == []
  assert [answer for answer in echoes if judge(answer, gold, question)] == []


@pytest.mark.parametrize(("question", "gold", "right", "wrong"), FREE)
def test_other_questions_take_any_form_of_an_expression(
  question: str, gold: str, right: list[str], wrong: list[str]
) -> None:
  assert form_asked(question, gold) is Form.FREE
  assert [answer for answer in right if not judge(answer, gold, question)] == []
  assert [answer for answer in wrong if judge(answer, gold, question)] == []


def test_without_a_question_the_form_must_be_that_of_the_gold_answer() -> None:
  assert judge("x(x+1)", "x^2+x", None) == 0
  assert judge("x(x+1)", "x^2+x", " ") == 0
  assert judge(r"1.2\times10^5", "120000", None) == 0


def test_expressions_are_found_in_formulas_and_in_plain_text() -> None:
  found = list(expressions("Expand $(x+1)^2=y$, then add 2x + 3 to it. What is 15 * 4?"))
  assert {"(x+1)^2", "2x + 3", "15 * 4"} <= set(found)
  assert len(list(expressions(" and ".join(f"$x+{n}$" for n in range(1000))))) == 128
