"""Kinds of answers, each with right variants and wrong neighbours. The rules are those of `docs/rewards.md`."""

import pytest

from srpo_jax.rewards.math import judge_math, screen_stated, unread

Case = tuple[str, list[str], list[str]]  # gold answer, right answers, wrong answers

PERCENT: list[Case] = [
  (r"25\%", [r"25\%", "25", "0.25", r"\frac14", "25.0%", r"25 \text{ percent}", "x=25"], ["2500", r"0.25\%", "2.5"]),
  ("25", ["25", r"25\%", "25.0%"], ["0.25", r"0.25\%", r"250\%", r"-25\%"]),
  ("0.25", ["0.25", r"25\%"], ["25", r"2.5\%"]),
  (r"10\%, 20\%", [r"20\%,10\%"], [r"10,20\%", "10,20"]),
  ("10,20", ["20,10"], [r"10\%,20\%", r"10,20\%"]),
  ("x+5", ["5+x"], [r"(x+5)\%"]),
  (r"(1,2)", ["(1,2)"], [r"(1\%,2)"]),
  (r"50\text{ cm}", ["50"], [r"50\%"]),
  (r"\$50", ["50"], [r"50\%"]),
]

EQUATIONS: list[Case] = [
  ("2+3=6", ["2+3=6"], ["1+2=4", "3+3=6", "4+6=12", "6"]),
  (r"\cos\frac{2\pi}{3}=-\frac12", [r"\cos\frac{2\pi}{3}=-0.5"], [r"\cos\frac{\pi}{3}=\frac12", r"-\frac12=\frac12"]),
  ("5x-7y=4", ["5x-7y-4=0", "10x-14y=8"], ["5x-7y=-4", "5x+7y=4", "x=y"]),
  ("x^2+y^2=4", ["2x^2+2y^2=8", "y^2+x^2=4"], ["x^2+y^2=2", "x^2-y^2=4"]),
  ("2x+4y-3=0", [r"y=-\frac{1}{2}x+\frac{3}{4}"], [r"y=\frac{1}{2}x+\frac{3}{4}", "y=-2x+3"]),
  ("x=2, y=3", ["(2,3)", "2,3", "y=3,x=2"], ["(3,2)", "3,2", "(2,3,1)", "[2,3]", "x=3,y=2"]),
  ("x=y=4, z=2", ["x=4,y=4,z=2", "(4,4,2)"], ["x=4,y=2,z=4", "(4,2,4)"]),
  ("2a-5>0", ["4a-10>0", "0<2a-5"], ["2a-5<0", r"2a-5\ge0", "5-2a>0"]),
  (r"S_{ABC}:S=7:32", ["7:32"], ["32:7", "7"]),
  (r"|AB|=1", ["1", "|AB|=1"], ["-1", "|AB|=2"]),
]

CHOICES: list[Case] = [
  (
    "B",
    ["(B)", "B)", "B.", "(B)~40", "(B) 40", r"\textbf{(B)}\ 72^\circ", "B: 40", r"\text{(B) } 3x+2", r"\mathbf{B}"],
    [
      "(C)~40",
      "(B)~40, (C)~50",
      "B) or C)",
      "(B) and (C)",
      "(A)(B)",
      "(B)+1",
      "not (B)",
      "(B) is wrong",
      "A. 1 B. 2",
      "B.C",
      "B. C",
    ],
  ),
  (r"\text{(E)},", ["E", "(E) none of these"], ["D", "(D), (E)"]),
  (r"(\text{H})", ["H", "(H)"], ["K", "(H) or (K)"]),
  ("D", ["D."], ["D.N.E.", "D, E"]),
  ("40", ["40"], ["(B) 40", "B) 40"]),
]

WRAPPINGS: list[Case] = [
  (r"\boxed{24}", ["24"], ["25", "2,4"]),
  (r"\(17\)", ["17"], ["71", "-17"]),
  ('["34"]', ["34", "34.0"], ["43", "3,4"]),
  ("['3/4']", [r"\frac34"], ["4/3"]),
  (r"\frac{1}{2}", [r"\\frac{1}{2}"], [r"\\frac{2}{1}"]),
  (
    r"\\left(\\frac{4}{3}, -\\frac{1}{3}\\right)",
    [r"(\frac43,-\frac13)"],
    [r"(\frac43,\frac13)", r"(-\frac13,\frac43)"],
  ),
  (r"5\\", ["5"], ["6"]),
  ("5", [r"5\\", r"\boldsymbol{5}", r"\underline{5}", r"\mathbf{5}", '"5"'], [r"\boldsymbol{6}", r"\underline{-5}"]),
  ("Evelyn", ['"Evelyn"', "``Evelyn''"], ["Eve"]),
]

UNITS: list[Case] = [
  (r"45 \mathrm{~cm}", ["45", "45 cm", r"45\text{ centimeters}"], ["45 m", r"45 \mathrm{~m}", r"45\text{ cm}^2", "54"]),
  (r"60 \mathrm{~km}/\mathrm{h}", ["60", "60 km/h", r"60\text{ km per hour}"], ["60 km", r"60\text{ m/s}", "6"]),
  (r"11.6 \mathrm{lb} / \mathrm{in}^{2}", ["11.6", r"11.6\text{ lb/in}^2"], [r"11.6\text{ lb/in}", "-11.6"]),
  (r"24.3^{\circ} \mathrm{C}", ["24.3", r"24.3^\circ\text{C}"], [r"24.3^\circ\text{F}", "-24.3"]),
  (r"\$10", ["10", r"10\text{ dollars}"], [r"10\text{ cents}", r"\$1"]),
  (r"\mathrm{e}^{2}", ["e^2"], ["e^3", "2e", r"\mathrm{e}^{-2}"]),
  (r"12^{\mathrm{th}}", ["12", "12th", r"12^{\text{th}}"], ["13th", "-12"]),
  (r"\approx 8.24 \text{ mph}", ["8.24", r"8.24\text{ mph}"], ["-8.24", "8.2", r"8.24\text{ m}"]),
  (r"\$\dfrac23 \approx \$0.67", ["0.67", r"\frac23"], ["0.66", r"\frac32"]),
  (r"\frac{1}{7}\triangle ABC", [r"\frac{\triangle ABC}{7}"], [r"\frac{1}{7}\triangle ABD", r"-\frac17\triangle ABC"]),
]

NUMBERS: list[Case] = [
  ("111111111", [r"111,\! 111,\! 111", "111,111,111"], [r"111,\! 111,\! 112", "111,111"]),
  (r"\frac{20,000}{\pi}", [r"\frac{20000}{\pi}"], [r"\frac{2000}{\pi}", r"-\frac{20000}{\pi}"]),
  ("118000", ["118 000", r"118\,000", "118,000"], ["118 00", "118", "118 001", "118 000 2"]),
  (r"0.\overline{3}", [r"\frac13", "1/3"], ["0.3", "0.33", r"-\frac13"]),
  (r"\frac16", [r"0.1\overline{6}"], ["0.1666", r"0.\overline{16}"]),
  (r"\frac{6480}{2401}", ["6480/2401"], ["6481/2401", "2401/6480"]),
  (r"11+11\sqrt5", [r"11(1+\sqrt5)"], [r"11(1-\sqrt5)", r"11(1+\sqrt6)"]),
  (r"\frac{\sqrt[4]{27}}{8}", ["3^{3/4}/8"], ["3^{1/4}/8", "-3^{3/4}/8"]),
  ("576", ["24*24 = 576", r"24\times 24=576"], ["576 = 24*24", "24*24=575", "1=2=576", r"24*24\approx 576", "576=576"]),
  (r"5\text{ cm}", [r"2+3=5\text{ cm}"], [r"5\text{ m}=5\text{ cm}"]),
  (r"\frac13", ["x=1/3"], [r"\frac13\approx 0.333", r"x=1/3\approx1.3"]),
  ("2^{2005}", ["2^{2005}"], ["2^{2004}", "2^{2006}", "2^{2005}+1", "-2^{2005}"]),
  (r"\frac{1}{1994!}", [r"\frac{1}{1994!}"], [r"\frac{1}{1993!}", r"-\frac{1}{1994!}"]),
  ("x <= 1", [r"x\le1", r"(-\infty,1]"], ["x < 1", "x >= 1"]),
  ("10!", ["10!", "3628800"], ["9!", "-10!", "3628801"]),
  ("3628800", ["3628800"], ["10!"]),
  ("1024", ["1024"], ["2^{10}"]),
  (r"\binom{10}{3}", ["120", r"\binom{10}{3}"], [r"\binom{10}{4}", "-120"]),
  (r"-37_8", ["-37_{8}"], ["37_8", "-31", "-36_8"]),
  (r"\text{A5}_{11}", ["A5_{11}"], ["A4_{11}", "A5_{12}", "115"]),
  ("4:1", ["4:1", "4"], ["1:4", "1/4"]),
]

GROUPS: list[Case] = [
  (
    r"\begin{pmatrix}1\\2\end{pmatrix}",
    [r"\left(\begin{array}{c}1\\2\end{array}\right)", r"\left[\begin{array}{r}1\\2\end{array}\right]"],
    [r"\left(\begin{array}{c}2\\1\end{array}\right)", r"\left(\begin{array}{cc}1&2\end{array}\right)", "(1,2)"],
  ),
  (
    r"\frac{1}{2}\left[\begin{array}{rr}1&2\\3&-4\end{array}\right]",
    [r"\begin{bmatrix}\frac12&1\\\frac32&-2\end{bmatrix}", r"0.5\begin{pmatrix}1&2\\3&-4\end{pmatrix}"],
    [r"\begin{bmatrix}\frac12&1\\\frac32&2\end{bmatrix}", r"\begin{bmatrix}1&2\\3&-4\end{bmatrix}"],
  ),
  (
    r"\mathbf{y}=c_{1}\left[\begin{array}{l}2 \\ 1\end{array}\right] e^{t}"
    r"+c_{2}\left[\begin{array}{r}-1 \\ 0\end{array}\right]",
    [r"\begin{pmatrix}2c_1e^t-c_2\\c_1e^t\end{pmatrix}"],
    [r"\begin{pmatrix}2c_1e^t+c_2\\c_1e^t\end{pmatrix}", r"\begin{pmatrix}c_1e^t\\2c_1e^t-c_2\end{pmatrix}"],
  ),
  ("1,2", ["{1,2}", r"\{2,1\}"], ["(1,2)", "{1,3}", r"\{1\}"]),
  ("(1,2)", ["(1,2)"], ["{1,2}", "1,2", "(2,1)"]),
  ("[1,2]", [r"\{x\mid 1\le x\le 2\}", r"\{x: 1 \leq x \leq 2\}"], [r"\{x\mid 1<x\le 2\}", r"\{x\mid 1\le x\le 3\}"]),
  (r"x \ne 4", [r"(-\infty,4)\cup(4,\infty)", r"\{x\mid x\ne4\}"], [r"x\ne-4", "4", r"(-\infty,4)\cup(5,\infty)"]),
  (
    r"\{x \mid x \geq 0 \text{ and } x \neq 1\}",
    [r"[0,1)\cup(1,\infty)"],
    [r"[0,\infty)", r"(0,1)\cup(1,\infty)", r"[0,1)\cup[1,\infty)"],
  ),
  (r"\{2\}\cup[4,\infty)", [r"[4,\infty)\cup\{2\}"], [r"\{-2\}\cup[4,\infty)", r"[2,\infty)"]),
  (r"\varnothing", [r"\emptyset", r"\{\}"], ["0", r"\{0\}"]),
  (r"\mathbb{R}", [r"(-\infty,\infty)", r"\text{all real numbers}"], [r"(0,\infty)", "R", r"[-\infty,\infty]"]),
  ("(0;-2;6)", ["(0,-2,6)"], ["(0,2,6)", "(0,6,-2)"]),
]

WORDS: list[Case] = [
  (r"\text{4:30 p.m.}", [r"4:30 \text{ p.m.}", "4:30 pm", "4:30 PM", "4:30 p.m."], ["4:30 a.m.", "4:31 pm", "4:03 pm"]),
  (r"\text{C,E}", ["C,E", "C, E", "E,C"], ["C", "C,D", "C,E,F"]),
  ("June 20", [r"\text{June 20}", "June 20th", "20 June"], ["June 21", "July 20"]),
  (r"$\min$ at $x=1$", ["x=1", "1", r"\text{min at }x=1"], ["x=-1", "2"]),
]

VARIABLES: list[Case] = [
  ("x^2+x", ["x+x^2"], ["x^2-x", "-x^2-x"]),
  ("|x|", ["|x|", "|(x)|"], ["x", "-x", r"\sqrt{x}"]),
  ("x", ["x"], ["|x|"]),
  (r"\ln|x|", [r"\ln |x|"], [r"\ln x", r"\ln(-x)"]),
  (r"\ln x", [r"\ln(x)"], [r"\ln|x|"]),
  (r"\sqrt{ab}", [r"\sqrt{ba}"], [r"\sqrt{a+b}", "ab", r"-\sqrt{ab}"]),
  ("2^{-n}", [r"\frac{1}{2^n}"], ["2^n", "-2^n"]),
  (r"\frac{1}{2^n}", ["2^{-n}"], ["2^n", "2^{-2n}"]),
  (r"\lfloor \frac{n}{2} \rfloor", [r"\lfloor n/2\rfloor"], [r"\lceil \frac n2\rceil", r"\frac n2"]),
  (r"\sin^{-1}(x)", [r"\arcsin x"], [r"\arccos x", r"-\arcsin x"]),
  (r"y=e^{x}[x^{2}(1-2 x)+c]", [r"y=e^x(x^2(1-2x)+c)"], ["y=e^x(x^2(1+2x)+c)", "y=e^x(x^2(1-2x)-c)"]),
  (
    r"\sum_{n=0}^{\infty}(n+1) x^{n}",
    [r"\sum_{k=0}^{\infty}(1+k)x^k", r"\sum_{n=0}^\infty x^n(n+1)"],
    [r"\sum_{n=0}^{\infty}(n+2) x^{n}", r"\sum_{n=0}^{\infty}(n+1)(-x)^{n}"],
  ),
  ("100 x^{99}", ["100x^{99}"], ["-100x^{99}", "100x^{98}"]),
]

KINDS = {
  "percent": PERCENT,
  "equations": EQUATIONS,
  "choices": CHOICES,
  "wrappings": WRAPPINGS,
  "units": UNITS,
  "numbers": NUMBERS,
  "groups": GROUPS,
  "words": WORDS,
  "variables": VARIABLES,
}
CASES = [(kind, *case) for kind, cases in KINDS.items() for case in cases]


def accepted(answer: str, gold: str) -> bool:
  return judge_math(rf"\boxed{{{answer}}}", gold)[0] == 1


@pytest.mark.parametrize(("kind", "gold", "right", "wrong"), CASES, ids=[f"{kind}-{gold}" for kind, gold, *_ in CASES])
def test_a_kind_accepts_its_right_variants_only(kind: str, gold: str, right: list[str], wrong: list[str]) -> None:
  assert unread(gold) is None
  assert [answer for answer in right if not accepted(answer, gold)] == []
  assert [answer for answer in wrong if accepted(answer, gold)] == []


@pytest.mark.parametrize(
  "gold",
  [r"\oint_C f\,dz", "The mode is $1/3$.", r"\begin{tabular}{c}1\end{tabular}", r"(1, \frac{1}", "9^{9^9}"],
)
def test_other_golds_are_reported_as_unread(gold: str) -> None:
  assert unread(gold)


@pytest.mark.parametrize(
  "answer",
  [
    r"\sum_{k=1}^{10^9}k",
    r"\sum_{k=1}^{\infty}" * 20 + "k",
    r"\mathbf{" * 60 + "5" + "}" * 60,
    r"\left[\begin{array}{c}" * 20 + "1",
    "2^{6000}+1",
    r"0.\overline{" + "9" * 200 + "}",
    "(B)" * 80,
    "[" * 60 + "(5)" + "]" * 60,
    r"\{x\mid " * 30 + "x>0" + r"\}" * 30,
    "min at " * 30,
    r"\sum_{a=1}^{99}\sum_{b=1}^{99}\sum_{c=1}^{99}abcx",
    "((x!)!)!",
    '"' * 200,
  ],
)
def test_hostile_answers_of_these_kinds_are_decided_without_a_worker(answer: str) -> None:
  for gold in ("5", r"\sum_{n=0}^{\infty}(n+1) x^{n}", "B", r"\begin{pmatrix}1\\2\end{pmatrix}", "[1,2]"):
    assert screen_stated(answer, gold)[0] == 0
