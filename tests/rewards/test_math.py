"""The checker's verdicts, row by row. Every answer is put where a response puts it, into a box."""

import json
import random
import time

import pytest

from srpo_jax.rewards.math import judge_math, screen_stated
from srpo_jax.rewards.value import Opaque, read_value

# Equal: one value in another form.
EQUAL = [
  (r"\frac{2}{4}", r"\frac{1}{2}"),
  ("0.5", r"\frac12"),
  (r"\frac{1}{2}", "0.5"),
  ("x=5", "5"),
  (r"5\text{ cm}", "5"),
  ("5 cm", "5"),
  ("1{,}000", "1000"),
  ("1,000", "1000"),
  (r"\$1000", "1000"),
  (r"\$1,000.00", "1000"),
  (r"\sqrt{3}+2", r"2+\sqrt{3}"),
  ("0.5", r"50\%"),
  (r"50\%", r"50\%"),
  ("2,1", "1,2"),
  (r"\{1,2\}", "1,2"),
  ("3<x<5", "(3,5)"),
  ("x>3", r"(3,\infty)"),
  (r"x<2\text{ or }x>3", r"(-\infty,2)\cup(3,\infty)"),
  (r"(3,\infty)\cup(-\infty,2)", r"(-\infty,2)\cup(3,\infty)"),
  (r"\text{Evelyn}", "Evelyn"),
  (r"\text{evelyn}", "Evelyn"),
  (r"\text{(B)}", "(B)"),
  ("B", "(B)"),
  (r"\text{even}", "even"),
  ("6", "6"),
  ("6.0", "6"),
  ("06", "6"),
  ("+6", "6"),
  ("6.", "6"),
  ("$6$", "6"),
  (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
  (r"\frac{1}{\sqrt3}", r"\frac{\sqrt{3}}{3}"),
  (r"\frac{1}{3}\sqrt{3}", r"\frac{\sqrt{3}}{3}"),
  (r"\sqrt{12}", r"2\sqrt{3}"),
  ("4x-5+x^2", "x^2+4x-5"),
  ("(x+1)(x-1)", "(x-1)(x+1)"),
  ("(b+2)(a+5)", "(a+5)(b+2)"),
  (r"\frac12(a+b)", r"\frac{a+b}{2}"),
  (r"\frac{a}{2}+\frac{b}{2}", r"\frac{a+b}{2}"),
  (r"\frac{3x}{4}", r"\frac34x"),
  ("9/5", r"1\frac{4}{5}"),
  ("1.8", r"1\frac{4}{5}"),
  ("1 4/5", r"1\frac{4}{5}"),
  (r"1\frac45", r"\frac{9}{5}"),
  ("137.5", r"137\frac{1}{2}"),
  ("4210_5", "4210_{5}"),
  ("y=-2x", "y=-2x"),
  ("-2x", "y=-2x"),
  ("5x-7y+11z=-4", "5x-7y+11z+4=0"),
  ("10x-14y+22z+8=0", "5x-7y+11z+4=0"),
  ("x=1,x=-2", "1,-2"),
  ("x_1=-2, x_2=1", "1,-2"),
  (r"x=-2\text{ or }x=1", "-2,1"),
  ("y=1,x=2", "x=2,y=1"),
  ("m+n=113", "113"),
  (r"1+\sqrt{19},1-\sqrt{19}", r"1\pm\sqrt{19}"),
  (r"1\pm\sqrt{19}", r"1\pm\sqrt{19}"),
  (r"\pm 3", "3,-3"),
  (r"x=\pm3", "-3,3"),
  (r"\{-2,1+\sqrt5,1-\sqrt5\}", r"\{1\pm\sqrt{5},-2\}"),
  (r"90^\circ", "90"),
  ("90", r"90^\circ"),
  ("90°", r"90^{\circ}"),
  (r"90\text{ degrees}", r"90^\circ"),
  (r"2\pi", r"2\pi"),
  ("2pi", r"2\pi"),
  (r"18+2\pi", r"2\pi+18"),
  ("9i+6", "6+9i"),
  (r"\infty", r"\infty"),
  (r"5\text{ apples}", "5"),
  (r"\cot x", r"\cotx"),
  (r"\begin{bmatrix}-7\\16\\5\end{bmatrix}", r"\begin{pmatrix}-7\\16\\5\end{pmatrix}"),
  (r"\begin{pmatrix}\frac15\\-\frac{18}{5}\end{pmatrix}", r"\begin{pmatrix}1/5\\-18/5\end{pmatrix}"),
  (r"\left(3,\frac{\pi}{2}\right)", r"(3,\frac{\pi}{2})"),
  (r"(3, \dfrac{\pi}{2})", r"(3,\frac{\pi}{2})"),
  (r"\frac{3}{56}", r"\dfrac{3}{56}"),
  (r"\tfrac{3}{56}", r"\frac{3}{56}"),
  (".35625", "0.35625"),
  (r"\frac{57}{160}", ".35625"),
  ("11111111100", "11,111,111,100"),
  ("3 R^2", "3R^2"),
  ("1:2", "1:2"),
  ("p-q", "p-q"),
  ("-q+p", "p-q"),
  ("x^{10}", "x^10"),
  (r"x \in [-2,7]", "[-2,7]"),
  (r"-2\le x\le 7", "[-2,7]"),
  (r"7\ge x\ge -2", "[-2,7]"),
  (r"\frac{35}{-9}", r"-\frac{35}{9}"),
  (r"\frac{-35}{9}", r"-\frac{35}{9}"),
  (r"2\sqrt[3]{4}", r"\sqrt[3]{32}"),
  (r"\text{yes}", "Yes"),
  ("no solution", r"\text{No solution}"),
  (r"5\%", "0.05"),
  (r"\text{5}", "5"),
  (r"\textbf{5}", "5"),
  (r"5\,\mathrm{cm}", r"5\text{ centimeters}"),
  (r"36\text{ cm}^2", r"36\text{ square centimeters}"),
  (r"36\text{ square units}", "36"),
  ("f(x)=2x+3", "2x+3"),
  ("2k", r"2 \cdot k"),
  ("3*x", "3x"),
  ("-13x+3", "3-13x"),
  ("2x+3", "2x+3"),
  (r"\dfrac12", r"\frac{1}{2}"),
  ("{5}", "5"),
  ("(5)", "5"),
  (r"\left(-\infty, 2\right)\cup\left(3, \infty\right)", r"(-\infty,2)\cup(3,\infty)"),
  ("5.00", "5"),
  (r"-\frac{1}{2}", "-0.5"),
  (r"1\,000\,000", "1000000"),
  (r"$\frac{3}{4}$", r"\frac34"),
  (r"\(\frac{3}{4}\)", r"\frac34"),
  ("3/4", r"\frac34"),
  ("x = 5.", "5"),
  (r"33\frac{1}{3}\%", r"\frac{1}{3}"),
  (r"12.5\%", "0.125"),
  ("50 percent", r"50\%"),
  ("x^{2}+1", "x^2+1"),
  (r"2,\ 1", "1,2"),
  ("1, 2, and 3", "3,2,1"),
  (r"\sqrt{\frac{21}{25}}", r"\frac{\sqrt{21}}{5}"),
  (r"\frac{\sqrt2}{\sqrt3}", r"\frac{\sqrt6}{3}"),
  (r"\sin^2 x", r"(\sin x)^2"),
  ("−5", "-5"),
  ("2π", r"2\pi"),
  ("√3", r"\sqrt{3}"),
  (r"\{5\}", "5"),
  (r"\pounds 5", "£5"),
  ("£5", "5"),
  ("1½", r"\frac32"),
]

# Not evaluated: what a question may look like. Copying it must not score.
COPIED = [
  ("2+3", "5"),
  (r"\sum_{k=1}^{100}k", "5050"),
  (r"\frac{12}{2}", "6"),
  ("12/2", "6"),
  ("1=2=204", "204"),
  ("(2)(3)", "6"),
  ("2(3)", "6"),
  (r"2\cdot3", "6"),
  ("-(-6)", "6"),
  ("--6", "6"),
  (r"\sqrt{36}", "6"),
  ("3!", "6"),
  ("|-6|", "6"),
  (r"\sqrt{2}\sqrt{6}", r"2\sqrt{3}"),
  ("(x-1)(x+5)", "x^2+4x-5"),
  ("x^2+5x-x-5", "x^2+4x-5"),
  ("x^2-1", "(x-1)(x+1)"),
  ("ab+2a+5b+10", "(a+5)(b+2)"),
  ("555", "4210_{5}"),
  ("2x=10", "10"),
  ("-x=5", "5"),
  (r"9+9+2\pi", r"18+2\pi"),
  ("5^2", "25"),
  ("10^2", "100"),
  (r"2\times10^5", "200000"),
  (r"6.72\times10^{-5}", ".0000672"),
  (r"\frac{-35}{-9}", r"\frac{35}{9}"),
  (r"\frac{10}{2}\sqrt{2}", r"5\sqrt2"),
  (r"\sqrt[3]{8}", "2"),
  (r"\log_2 8", "3"),
  ("5x/x", "5"),
  ("5+0", "5"),
  ("5+0x", "5"),
  (r"5\cdot1", "5"),
  ("9^{9^9}", "5"),
  ("9^{9^{9^9}}", "9^{9^{9}}"),
  ("100!", "5"),
  (r"\binom{10}{5}", "252"),
]

# Another value, another kind of answer, or several answers at once.
DIFFERENT = [
  ("50", r"50\%"),
  ("(1,2)", "1,2"),
  ("(2,1)", "(1,2)"),
  (r"5\text{ cm}", r"5\text{ m}"),
  ("0.3333", "1/3"),
  ("0.3333333333", "1/3"),
  ("204 or 205", "204"),
  (r"204\text{ or }205", "204"),
  ("204, 204", "204"),
  ("[1,2]", "(1,2)"),
  ("nylevE", "Evelyn"),
  ("Briana", "Evelyn"),
  ("(C)", "(B)"),
  ("neve", "even"),
  ("4210", "4210_{5}"),
  ("4210_6", "4210_{5}"),
  ("y=2x", "y=-2x"),
  ("2x+y=0", "y=-2x"),
  ("5x-7y+11z+5=0", "5x-7y+11z+4=0"),
  ("5", "x+y=5"),
  ("x=5,y=2", "2,5"),
  ("1,2", "x=2,y=1"),
  (r"1\pm\sqrt{18}", r"1\pm\sqrt{19}"),
  (r"\frac{\pi}{2}", r"90^\circ"),
  ("6.28", r"2\pi"),
  ("6-9i", "6+9i"),
  (r"-\infty", r"\infty"),
  (r"5\text{ thousand}", "5"),
  (r"5\text{ dozen}", "5"),
  (r"5\text{ or }6", "5"),
  (r"\text{not }5", "5"),
  (r"\tan x", r"\cotx"),
  (r"\begin{pmatrix}-7&16&5\end{pmatrix}", r"\begin{pmatrix}-7\\16\\5\end{pmatrix}"),
  ("(-7,16,5)", r"\begin{pmatrix}-7\\16\\5\end{pmatrix}"),
  (r"(\frac{\pi}{2},3)", r"(3,\frac{\pi}{2})"),
  ("3r^2", "3R^2"),
  ("2:4", "1:2"),
  ("q-p", "p-q"),
  ("e", "2.71828"),
  (r"-2< x\le 7", "[-2,7]"),
  ("5, 6", "5"),
  ("5;6", "5"),
  ("5 6", "56"),
  ("100,200", "100, 200"),
  ("1000000000000000000000001", "1000000000000000000000000"),
  (r"\sqrt{2}+10^{-20}", r"\sqrt{2}+10^{-19}"),
  ("5", r"5\%"),
  ("५", "5"),
  ("５", "5"),
  (r"\boxed{5}", "5"),
  (r"5 \text{ is the answer}", "5"),
  (r"\text{The answer is }5", "5"),
  (r"36\text{ cm}^2", r"36\text{ cm}"),
  ("5k", "5"),
  ("5m", "5"),
  (r"A\cup B", r"A\cap B"),
  (r"\text{yes or no}", r"\text{yes}"),
  ("on", r"\text{no}"),
  ("1,2,2", "1,2"),
  ("1,2", "1,1"),
  ("1,1,2", "1,2,2"),
  ("1", "1,2"),
  ("1,2", "1"),
  ("[1,2)", "[1,2]"),
  ("(1,2)", "(1,2]"),
  ("(1,2),(3,4)", r"(1,2)\cup(3,4)"),
  (r"\{(1,2)\}", "1,2"),
  ("0.9999999999", "1"),
  ("1.0000001", "1"),
  ("10000000000000001", "10000000000000000"),
  (r"\frac{1}{3}", "0.333"),
  ("3.14", r"\pi"),
  (r"\frac{22}{7}", r"\pi"),
  (r"\frac{\pi}{10^{20}}", r"\frac{2\pi}{10^{20}}"),
  ("E", "e"),
  ("n*e*v*e", "even"),
  (r"e\cdot v\cdot e\cdot n", "even"),
  ("x", "y"),
  ("x+1", "y+1"),
  ("2X", "2x"),
  (r"\infty", "5"),
  (r"5\text{ km}", r"5\text{ cm}"),
  (r"5\%\text{ or }5", "5"),
  (r"\$5", r"5\text{ cents}"),
  ("5 6", "5"),
  ("5|6", "5"),
  ("5 // 6", "5"),
  (r"5\ne 6", "5"),
  (r"5\approx 5", "5"),
  (r"2\frac{3}{2}", "3"),
  ("9+5", "95"),
  (r"2\frac{1}{2}", "1"),
  ("", "5"),
  (r"\text{}", "5"),
  (r"\begin{pmatrix}1&2\\3\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
  (r"\begin{pmatrix}1\\3\\2\end{pmatrix}", r"\begin{pmatrix}1\\2\\3\end{pmatrix}"),
  (r"x\in(1,2)", "1,2"),
  ("(x,y)=(2,1)", "(1,2)"),
]


def judge(answer: str, gold: str) -> tuple[int, str]:
  return judge_math(rf"So it is \boxed{{{answer}}}.", gold)


@pytest.mark.parametrize(("answer", "gold"), EQUAL)
def test_equal(answer: str, gold: str) -> None:
  assert judge(answer, gold) == (1, "equal")


@pytest.mark.parametrize(("answer", "gold"), COPIED + DIFFERENT)
def test_not_equal(answer: str, gold: str) -> None:
  assert judge(answer, gold)[0] == 0


@pytest.mark.parametrize(
  ("answer", "gold", "reason"),
  [
    ("2+3", "5", "not evaluated: sum"),
    (r"2\cdot3", "6", "not evaluated: product"),
    (r"\frac{12}{2}", "6", "not evaluated: computed fraction"),
    (r"\sqrt{36}", "6", "not evaluated: root"),
    ("1=2=204", "204", "not read as a value: a chain of equalities"),
    ("9^{9^9}", "5", "not read as a value: an exponent too large to compute"),
    ("7", "5", "different value"),
    ("5,6", "5", "another number of values"),
    (r"5\text{ m}", r"5\text{ cm}", "another unit"),
  ],
)
def test_the_reason_is_given(answer: str, gold: str, reason: str) -> None:
  assert judge(answer, gold) == (0, reason)


@pytest.mark.parametrize(
  ("body", "verdict"),
  [
    (r"\boxed{5}", (1, "equal")),
    ("5", (1, "equal")),
    (" $5$ ", (1, "equal")),
    ("x = 5", (1, "equal")),
    (r"At first 4, but it is \boxed{5}", (1, "equal")),
    ("The answer is 5", (0, "not read as a value: unexpected 'The'")),
    (r"\boxed{4} \boxed{5}", (0, "several boxes")),
    (r"\boxed{5} \boxed{5}", (0, "several boxes")),
    (r"\boxed{\boxed{5}}", (0, "several boxes")),
    (r"\boxed{5", (0, "a box that does not close")),
    (r"\boxed{}", (0, "no answer")),
    ("", (0, "no answer")),
    ("5" * 100_000, (0, "longer than 256 characters")),
    (r"\boxed{" + "5" * 100_000 + "}", (0, "longer than 256 characters")),
  ],
)
def test_what_a_body_states_under_tags(body: str, verdict: tuple[int, str]) -> None:
  assert judge_math(body, "5") == verdict


@pytest.mark.parametrize(
  ("body", "correct"),
  [
    ('{"answer": "5"}', 1),
    ('{"answer": 5}', 1),
    ('{"answer": 5.0}', 1),
    ('{"answer": "\\\\frac{10}{2}"}', 0),
    ('{"answer": 5.0000000000000000001}', 0),
    ('{"answer": 6}', 0),
    ('{"answer": [5]}', 0),
    ('{"answer": true}', 0),
    ('{"answer": null}', 0),
    ('{"answer": ""}', 0),
    ('{"answer": "4", "answer": "5"}', 0),
    ('{"answer": "5"} or 6', 0),
    ('{"reply": "5"}', 0),
    (r"\boxed{5}", 0),
    ("5", 0),
  ],
)
def test_what_a_body_states_under_json(body: str, correct: int) -> None:
  assert judge_math(body, "5", "json")[0] == correct


def test_a_gold_that_is_not_read_equals_its_own_spelling_only() -> None:
  gold = r"\oint_C f\,dz"
  assert isinstance(read_value(gold, 100), Opaque)
  assert judge(r"\oint_C f dz", gold)[0] == 1
  assert judge(r"\oint_C g dz", gold) == (0, r"the gold is not read as a value: \oint is not read")


HOSTILE = [
  "9^{9^9}",
  "9^{9^{9^{9^9}}}",
  "2^{100000}",
  "(2^{99})^{99}",
  "2^{-99999999}",
  "0.1^{99999}",
  "9999!",
  "5!!!!!!!!",
  "((99!)!)!",
  r"\binom{9999999}{444444}",
  r"\sum_{k=1}^{10^9}k",
  r"\prod_{k=1}^{10^9}k",
  r"\int_0^1 x^{x^x}dx",
  r"\lim_{n\to\infty}(1+\frac1n)^n",
  "(x+1)^{99999}",
  "(a+b+c+d)^{999}",
  r"\frac{1}{" * 50 + "1" + "}" * 50,
  r"\frac" * 80 + "11",
  r"\sqrt{" * 30 + "2" + "}" * 30,
  r"\sqrt" * 60 + "2",
  "{" * 100 + "5" + "}" * 100,
  "(" * 100 + "5" + ")" * 100,
  "{" * 100_000,
  "}" * 100_000,
  "5" * 100_000,
  "1+" * 50_000 + "1",
  "-" * 200 + "5",
  "5" + "=5" * 100,
  "5," * 120 + "5",
  r"\pm" * 60 + "5",
  "5" + r"\text{ or }5" * 18,
  r"\text{" * 40 + "5" + "}" * 40,
  r"2\frac{" * 15 + "1" + "}{2}" * 15,
  "x" * 250,
  "|" * 250,
  "\x00" * 100,
  "\ud800",
  "\u202e5",
  "५",
]


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: ascii(answer[:20]))
def test_hostile_answers_are_decided_without_a_worker_in_no_time(answer: str) -> None:
  begin = time.thread_time()
  for gold in ("5", r"2\sqrt{3}", "x^2+1", "2^{10}", r"(1,2)\cup(3,4)", "1,2", "even"):
    assert screen_stated(answer, gold)[0] == 0
  assert time.thread_time() - begin < 5


@pytest.mark.parametrize(
  "unit",
  [r"\sqrt", r"\frac", r"\sin", "(", "{", r"\{", "(1,", "-", "|", "2^", "x/", "x!", "1+"],
)
def test_a_long_gold_lets_in_no_deep_answer(unit: str) -> None:
  """An answer may be twice as long as a long gold: the nesting is bounded all the same."""
  begin = time.thread_time()
  assert screen_stated(unit * 700 + "2", "1+" * 1000 + "1")[0] == 0
  assert time.thread_time() - begin < 5


def test_no_text_breaks_the_reader() -> None:
  """Seeded noise from the checker's own alphabet is decided, quickly, and only as equal where it is trivially so."""
  alphabet = [*"0123456789+-*/^_(){}[],;:=<>!|.%$ xyzeiABk\\\n中²½", r"\frac", r"\sqrt", r"\text{", r"\{", r"\}"]
  alphabet += [r"\pi", r"\infty", r"\cup", r"\pm", r"\begin{pmatrix}", r"\end{pmatrix}", "&", "\\\\", r"\cdot", r"\sin"]
  alphabet += [r"\log_", r"\binom", r"\circ", r"\in", r"\le", " or ", "cm", r"\%", r"\$", r"\sum"]
  source = random.Random(0)
  begin = time.thread_time()
  for _ in range(4000):
    noise = "".join(source.choices(alphabet, k=source.choice((1, 3, 8, 20, 80))))
    assert screen_stated(noise, "5417")[0] == 0, json.dumps(noise)
    assert screen_stated(noise, noise.strip() + "7")[0] in (0, 1, None)
  assert time.thread_time() - begin < 30
