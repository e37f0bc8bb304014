"""Tests that each rule matches its kind of question and passes questions with similar wording."""

import dataclasses

import pytest

from srpo_jax.data.curation import code_rules, math_rules
from srpo_jax.data.curation.candidate import Candidate, Drop
from srpo_jax.data.curation.config import RulesConfig
from srpo_jax.data.curation.stages import screened
from srpo_jax.types import Problem

MATH = {
  "image": [
    "As shown in the figure, $AB=3$. Find $AC$.",
    "The graph of $y=f(x)$ is shown below. Find $f(2)$.",
    "In the diagram, $AB = 2$. Find $BC$. [asy] draw((0,0)--(1,1)); [/asy]",
    "Find $x$. ![](https://example.org/a.png)",
    "Find the area of <img src='a.png'>.",
    "See Figure 3. Find $x$.",
    "The semicircles are tangent, as shown. Find the radius.",
    "如图，$AB=3$，求$AC$。",
    "\\begin{tikzpicture}\\draw (0,0);\\end{tikzpicture} Find $x$.",
  ],
  "table": [
    "The following table shows the sales of five days. Find the mean.",
    "| day | sales |\n|---|---|\n| 1 | 2 |\nFind the mean.",
    "\\begin{tabular}{cc} 1 & 2 \\end{tabular} Find the sum.",
    "$\\begin{array}{|c|c|} 1 & 2 \\end{array}$ Find the sum.",
    "<table><tr><td>1</td></tr></table> Find the sum.",
  ],
  "proof": [
    "Prove that $n^2+n$ is even.",
    "Show that 2 is prime.",
    "Let $n>0$. Prove: $n<n+1$.",
    "求证：$n^2+n$是偶数。",
  ],
  "multi_part": [
    "(a) Find $x$. (b) Find $y$.",
    "Let $f(x)=x^2$. (1) What is $f(1)$? (2) What is $f(2)$?",
    "（1）求a的值；（2）求b的值。",
    "1. Find $x$.\n2. Find $y$.",
    "i) Find $x$; ii) find $y$.",
    "Part A: How many apples? Part B: How many pears?",
  ],
  "multiple_choice": [
    "Which of the following is prime?",
    "What is 2+2? (A) 3 (B) 4 (C) 5 (D) 6",
    "What is 2+2?\nA. 3\nB. 4\nC. 5\nD. 6",
    "$\\textbf{(A)}\\ 1 \\qquad\\textbf{(B)}\\ 2\\qquad \\textbf{(C)}\\ 3$",
    "下列说法正确的是",
  ],
  "blank": [
    "The value is ____.",
    "$x = \\underline{\\qquad}$.",
    "则x=（　）",
    "Fill in the blank: 2+2=",
    "It is $\\_\\_\\_\\_$.",
  ],
}
HARMLESS = [
  "A function satisfies (i) $f(1)=2$; (ii) $f(x+y)=f(x)f(y)$. Find $f(5)$.",
  "Suppose (a) $x>1$ and (b) $y<2$ are whole. Find the least $x-y$.",
  "The number $\\underline{A}\\,\\underline{B}$ is 5 more than $\\underline{B}\\,\\underline{A}$. Find $A$.",
  "Tom draws a picture of a table and sells it for $5. How much are 3?",
  "A TV show that lasts 30 minutes starts at eight. When does it end?",
  "Find the area bounded by the graph of $y=x^2$ and the line $y=1$.",
  "Find the determinant of $\\begin{array}{cc} 1 & 2\\\\ 3 & 4\\end{array}$.",
  "A study proved that 3 of 4 people sleep. How many of 40?",
  "Consider a graph with 10 vertices and no triangle. How many edges can it have?",
  "Alice has (1) red ball and (2) blue balls. How many has she?",
  "Show your answer as a decimal: $1/3+1/3$.",
  "In how many ways can 8 people sit around a round table?",
  "A figure skater spins 2250 degrees to her right. Which direction does she face?",
  "Rows of an array are shown below.\n1\n1 1\n1 3 1\nWhat is the sum of row 2023?",
  "Use the equation shown below: \\[x+1=2.\\] Find $x$.",
  "A map of the town has a scale of 1:100. How many miles are 5 inches?",
  "Let $x_{1}, x_{2}$ be the roots of $x^2-3x+1$. Find $x_1+x_2$.",
]
RULES = RulesConfig(
  ",".join(math_rules.RULES), ",".join(code_rules.RULES), 8192, 256, 2, "math,re,collections,os,sys,random"
)


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in MATH.items() for text in texts])
def test_math_rule_matches(rule, text):
  name, matched = math_rules.first_rule(text, tuple(math_rules.RULES))
  assert name == rule and matched in text


@pytest.mark.parametrize("text", HARMLESS)
def test_math_rules_pass_questions_with_similar_wording(text):
  assert math_rules.first_rule(text, tuple(math_rules.RULES)) is None


@pytest.mark.parametrize("rule", MATH)
def test_a_rule_that_is_not_named_is_not_applied(rule):
  others = tuple(name for name in math_rules.RULES if name != rule)
  assert all((math_rules.first_rule(text, others) or ("",))[0] != rule for text in MATH[rule])


def test_hints_never_hide_a_match():
  for rule, texts in MATH.items():
    function, _ = math_rules.RULES[rule]
    assert all(function(text) for text in texts)


def test_math_rules_pass_all_questions_of_gsm8k(data_dir):
  import json

  questions = [json.loads(line)["question"] for line in (data_dir / "gsm8k_test.jsonl").read_text().splitlines()]
  assert [q for q in questions if math_rules.first_rule(q, tuple(math_rules.RULES))] == []


def code(question="Write f.", program="def f(x):\n  return x", tests=None) -> Candidate:
  tests = tests or {"type": "assert", "cases": ["assert f(1) == 1", "assert f(2) == 2"]}
  return Candidate("s", 0, Problem("s/0", "code", question, tests=tests, source="s"), program)


STDIN = {"type": "stdin", "cases": [{"input": "1", "output": "1"}, {"input": "2", "output": "2"}]}
CODE = [
  ("files", code("Write a function to read a text file and count its lines.")),
  ("files", code("Write a function that writes the sum to an output file.")),
  ("files", code("The numbers stand in numbers.txt. Print their sum.", tests=STDIN)),
  ("files", code(program="def f(x):\n  return open(x).read()")),
  ("files", code(program="import pathlib\ndef f(x):\n  return x")),
  ("network", code("Write a function to download a page from a URL.")),
  ("network", code(program="import requests\ndef f(x):\n  return x")),
  ("environment", code("Print the value of an environment variable.")),
  ("environment", code(program="import sys\ndef f(x):\n  return sys.argv[x]")),
  ("environment", code(program="from datetime import datetime\ndef f(x):\n  return datetime.now()")),
  ("interactive", code("This is an interactive problem. Guess the number.", tests=STDIN)),
  ("interactive", code(program="def f(x):\n  return input()")),
  ("several_answers", code("Print the sum. If there are multiple answers, print any of them.", tests=STDIN)),
  ("several_answers", code("Print the numbers in any order.", tests=STDIN)),
  ("imports", code(program="import numpy\ndef f(x):\n  return x")),
  ("imports", code(tests={"type": "assert", "cases": ["import numpy", "assert f(1) == 1", "assert f(2) == 2"]})),
  ("few_tests", code(tests={"type": "assert", "cases": ["import math", "assert f(1) == 1"]})),
  ("tests", code(tests={"type": "assert", "cases": ["assert True"]})),
  ("reference_syntax", code(program="def f(x:")),
  ("reference_syntax", code(program="x = 1\0")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "candidate"), CODE)
def test_code_rule_matches(rule, candidate):
  found = screened(candidate, RULES, 2)
  assert isinstance(found, Drop) and (found.stage, found.rule) == ("code_rules", rule) and found.matched


@pytest.mark.parametrize(
  "candidate",
  [
    code(),
    code(program=None),
    code("Read two numbers from standard input.", "print(input())", STDIN),
    code("Write a function to remove the file extension from a name."),
    code("Write a function to get the extension of 'photo.txt' or \"a.csv\"."),
    code("Write a python function to find the size of the largest file name."),
    code("Write a function to find the profile of a matrix."),
    code("Write a function to flush a toilet model."),
    code("Return the pairs in any order.", tests={"type": "assert", "cases": ["assert set(f(1)) == {1}"] * 2}),
    code(program="import sys\ndef f(x):\n  return sys.maxsize"),
    code("Write a function to check whether an IP address is valid."),
    code("Print any number of stars.", tests=STDIN),
  ],
)  # fmt: skip
def test_code_rules_pass_tasks_with_similar_wording(candidate):
  assert screened(candidate, RULES, 2) is candidate


def test_a_checker_allows_several_answers():
  tests = STDIN | {"checker": "print(1)"}
  assert isinstance(
    screened(code("If there are multiple answers, print any of them.", tests=tests), RULES, 2), Candidate
  )


def test_long_answers_are_dropped_and_256_characters_are_not():
  problem = Problem("s/0", "math", "Find $x$.", answer="1" * 256)
  assert isinstance(screened(Candidate("s", 0, problem), RULES, 2), Candidate)
  found = screened(Candidate("s", 0, dataclasses.replace(problem, answer="1" * 257)), RULES, 2)
  assert isinstance(found, Drop) and found.rule == "long_answer"
