"""The math checker on the gold answers of MATH-500, against an independent oracle: sympy on translated LaTeX."""

import json
import os
import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tokenize import TokenError

import pytest
import sympy
from sympy.parsing.sympy_parser import implicit_multiplication, parse_expr, standard_transformations

from srpo_jax.rewards.math import judge_math

DATA = Path(os.environ.get("SRPO_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SET = DATA / "math500.jsonl"

pytestmark = pytest.mark.skipif(not SET.exists(), reason=f"needs {SET.name} in SRPO_DATA")

Key = tuple  # a comparable value: nested tuples of text and numbers, the numbers as 25 digits


@cache
def golds() -> list[str]:
  return [json.loads(line)["answer"] for line in SET.read_text().splitlines()]


def accepted(answer: str, gold: str) -> bool:
  return judge_math(rf"\boxed{{{answer}}}", gold)[0] == 1


@cache
def oracle(text: str) -> Key:
  """Returns the value of an answer. A text that is not mathematics is its own value."""
  text = text.replace(r"\dfrac", r"\frac").replace("^\\circ", "").strip()
  if r"\pm" in text and "{" not in text[: text.index(r"\pm")].replace(r"\{", ""):
    listed = [part for piece in split(text.replace(r"\{", "").replace(r"\}", ""), ",") for part in double_signs(piece)]
    return ("list", *sorted(map(oracle, listed), key=repr))
  if matrix := re.fullmatch(r"(-?)\\begin\{pmatrix\}(.*)\\end\{pmatrix\}", text):
    cells = [[oracle(cell) for cell in row.split("&")] for row in matrix[2].split(r"\\")]
    return ("matrix", matrix[1], *map(tuple, cells))
  if r"\cup" in text:
    return ("union", *sorted((oracle(part) for part in text.split(r"\cup")), key=repr))
  if re.fullmatch(r"-?[0-9]{1,3}(,[0-9]{3})+", text):
    return scalar(text.replace(",", ""))
  parts = split(text, ",")
  if len(parts) > 1:
    return ("list", *sorted(map(oracle, parts), key=repr))
  if re.fullmatch(r"[(\[].*[)\]]", text) and len(split(text[1:-1], ",")) > 1:
    return (text[0], *map(oracle, split(text[1:-1], ",")), text[-1])
  if re.fullmatch(r"[A-Z]|\([A-Z]\)", text):
    return ("text", text.strip("()"))
  if re.search(r"[A-Za-z]{3,}|\\text", re.sub(r"\\(frac|sqrt|infty|cot|pi)", "", text)):
    return ("text", text)
  if based := re.fullmatch(r"(-?[0-9]+)_\{?([0-9]+)\}?", text):
    return ("base", based[1], based[2])
  if "=" in text:
    left, _, right = text.partition("=")
    return ("equation", scalar(left), scalar(right))
  return scalar(text)


def split(text: str, separator: str) -> list[str]:
  parts, depth = [""], 0
  for character in text:
    depth += (character in "([{") - (character in ")]}")
    if character == separator and depth == 0:
      parts.append("")
    else:
      parts[-1] += character
  return parts


def double_signs(text: str) -> list[str]:
  return [text.replace(r"\pm", "+"), text.replace(r"\pm", "-")] if r"\pm" in text else [text]


def scalar(latex: str) -> Key:
  text = re.sub(r"(?<![0-9])([0-9]+)\\frac\{([0-9]+)\}\{([0-9]+)\}", r"(\1+(\2)/(\3))", latex)  # mixed numbers
  text = re.sub(r"\\frac\{([0-9]+)\}([0-9])", r"((\1)/(\2))", text)
  for _ in range(4):
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", text)
    text = re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", text)
  text = re.sub(r"\^\{([^{}]*)\}", r"^(\1)", text).replace(r"\%", "*(1/100)").replace(r"\$", "")
  text = text.replace(r"\infty", "oo").replace(r"\pi", "(pi)").replace(r"\cotx", "cot(x)").replace("^", "**")
  names = {name: sympy.Symbol(name) for name in "abcdfghjklmnopqrstuvwxyzR"} | {"i": sympy.I, "e": sympy.E}
  expression = parse_expr(text, names, (*standard_transformations, implicit_multiplication))
  point = {name: sympy.Rational(37 + 11 * ord(name.name), 113) for name in expression.free_symbols}
  return ("number", str(sympy.N(expression.subs(point), 25)), *sorted(map(str, point)))


def same(left: str, right: str) -> bool | None:
  """Returns True if two answers have the same value, or None if the oracle cannot read one of them."""
  try:
    return oracle(left) == oracle(right)
  except (SyntaxError, TokenError, TypeError, ValueError, AttributeError, LookupError):
    return None


def test_the_oracle_reads_the_set() -> None:
  read = [gold for gold in golds() if same(gold, gold)]
  assert len(read) >= 0.99 * len(golds()), set(golds()) - set(read)
  assert same(r"\frac{1}{2}", "0.5")
  assert same(r"137\frac{1}{2}", "137.5")
  assert same("1,-2", "-2,1")
  assert same(r"1\pm\sqrt{19}", r"1-\sqrt{19},1+\sqrt{19}")
  assert same("(1,2)", "(2,1)") is False
  assert same("2k", "2R") is False


def test_every_gold_verifies_against_itself() -> None:
  assert [gold for gold in golds() if not accepted(gold, gold)] == []


def test_pairs_of_golds() -> None:
  source = random.Random(1)
  pairs = [tuple(source.choices(golds(), k=2)) for _ in range(5000)]
  wrong = [pair for pair in pairs if accepted(*pair) and not same(*pair)]
  missed = [pair for pair in pairs if same(*pair) and not accepted(*pair)]
  assert wrong == []
  assert missed == []
  assert sum(accepted(*pair) for pair in pairs) > 20  # small integers repeat, so some pairs are equal


MUTATIONS: dict[str, Callable[[str], str]] = {
  "one more": lambda gold: f"{gold}+1",
  "one more, computed": lambda gold: str(int(gold) + 1) if re.fullmatch(r"-?[0-9]+", gold) else gold,
  "the sign": lambda gold: gold[1:] if gold.startswith("-") else f"-{gold}",
  "the first digit": lambda gold: re.sub(r"[0-9]", lambda digit: str((int(digit[0]) + 1) % 10), gold, count=1),
  "every digit": lambda gold: re.sub(r"[0-9]", lambda digit: str((int(digit[0]) + 3) % 10), gold),
  "the order of a pair": lambda gold: re.sub(r"^([(\[])([^,]*),([^,]*)([)\]])$", r"\1\3,\2\4", gold),
  "the brackets": lambda gold: gold.translate(str.maketrans("()[]", "[]()")),
  "the order of a list": lambda gold: ",".join(reversed(gold.split(","))) if gold[0] not in "([" else gold,
  "upside down": lambda gold: re.sub(r"\\frac(\{[^{}]*\})(\{[^{}]*\})", r"\\frac\2\1", gold),
  "plus and minus": lambda gold: gold.translate(str.maketrans("+-", "-+")),
  "without the brackets": lambda gold: gold.strip("()[]"),
  "a percentage": lambda gold: rf"{gold}\%" if re.search("[(,] *[^0-9]", gold) else gold,
  "a hundredth, in percent": lambda gold: rf"0.0{gold}\%" if re.fullmatch(r"[1-9]", gold) else gold,
  "twice": lambda gold: f"{gold},{gold}",
  "or else": lambda gold: rf"{gold}\text{{ or }}7",
  "an equality": lambda gold: f"7={gold}",
}
CHANGES_KIND = {"twice", "or else", "an equality"}  # these are never a value, whatever the gold answer is


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_gold_is_accepted_only_with_the_same_value(name: str) -> None:
  changed = [(MUTATIONS[name](gold), gold) for gold in dict.fromkeys(golds())]
  changed = [pair for pair in changed if pair[0] != pair[1]]
  wrong = [pair for pair in changed if accepted(*pair) and (name in CHANGES_KIND or not same(*pair))]
  assert wrong == []
  assert changed


SPELLINGS: dict[str, Callable[[str], str]] = {
  "dfrac": lambda gold: gold.replace(r"\frac", r"\dfrac"),
  "tfrac": lambda gold: gold.replace(r"\frac", r"\tfrac"),
  "dollars": lambda gold: f"${gold}$",
  "blanks": lambda gold: gold.replace(",", ", ").replace("+", " + ") if not gold[0].isdigit() else f" {gold} ",
  "left and right": lambda gold: gold.replace("(", r"\left(").replace(")", r"\right)"),
  "thin blanks": lambda gold: rf"{gold}\,",
  "a full stop": lambda gold: f"{gold}.",
  "short fractions": lambda gold: re.sub(r"\\frac\{([0-9])\}\{([0-9])\}", r"\\frac\1\2", gold),
  "slashes": lambda gold: re.sub(r"^\\frac\{([0-9]+)\}\{([0-9]+)\}$", r"\1/\2", gold),
  "trailing zeros": lambda gold: f"{gold}.00" if re.fullmatch(r"-?[0-9]+", gold) else gold,
  "thousands": lambda gold: f"{int(gold):,}" if re.fullmatch(r"[0-9]{4,}", gold) else gold,
  "thousands in TeX": lambda gold: f"{int(gold):,}".replace(",", "{,}") if re.fullmatch(r"[0-9]{4,}", gold) else gold,
  "text": lambda gold: rf"\text{{{gold}}}" if re.fullmatch(r"[A-Za-z]{3,}", gold) else gold,
  "a name": lambda gold: f"x={gold}" if re.fullmatch(r"-?[0-9]+|\\frac\{[0-9]+\}\{[0-9]+\}", gold) else gold,
  "a percent sign": lambda gold: rf"{gold}\%" if re.fullmatch(r"-?[0-9]+|\\frac\{[0-9]+\}\{[0-9]+\}", gold) else gold,
  "a unit": lambda gold: rf"{gold}\text{{ cm}}" if re.fullmatch(r"-?[0-9]+", gold) else gold,
  "degrees": lambda gold: rf"{gold}^{{\circ}}" if re.fullmatch(r"[0-9]+", gold) else gold,
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_common_spellings_of_a_gold_are_accepted(name: str) -> None:
  changed = [(SPELLINGS[name](gold), gold) for gold in dict.fromkeys(golds())]
  assert [pair for pair in changed if not accepted(*pair)] == []
  assert any(answer != gold for answer, gold in changed)
