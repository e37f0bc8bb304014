import time
from typing import Any

import pytest

from srpo_jax.rewards.format import answer_body, boxed, format_ok, json_answer
from srpo_jax.utils.errors import InputError

GOOD = r"2 and 3 are 5.</think> <answer>\boxed{5}</answer>"


def response(answer: str, thought: str = "I add.") -> str:
  return f"{thought}</think>\n<answer>{answer}</answer>"


@pytest.mark.parametrize(
  ("text", "body"),
  [
    (GOOD, r"\boxed{5}"),
    ("<answer></answer>", ""),
    ("<answer> 5\n</answer> more", " 5\n"),
    ("5", None),
    ("<answer>5", None),
    ("5</answer>", None),
    ("</answer>5<answer>", None),
    ("<answer>4</answer><answer>5</answer>", None),
    ("<answer><answer>5</answer>", None),
    ("<answer>5</answer></answer>", None),
    ("<Answer>5</Answer>", None),
  ],
)
def test_answer_body(text: str, body: str | None) -> None:
  assert answer_body(text) == body


@pytest.mark.parametrize(
  ("text", "found"),
  [
    (r"\boxed{5}", (1, "5")),
    (r"so \boxed{\frac{1}{2}} it is", (1, r"\frac{1}{2}")),
    (r"\boxed{\{1,2\}}", (1, r"\{1,2\}")),
    (r"\boxed {5}", (1, "5")),
    (r"\boxed{}", (1, "")),
    ("5", (0, None)),
    (r"\boxed{5", (1, None)),
    (r"\boxed{{5}", (1, None)),
    (r"\boxed{5\}", (1, None)),
    (r"\boxed 5", (1, None)),
    (r"\boxed", (1, None)),
    (r"\boxed{4} \boxed{5}", (2, None)),
    (r"\boxed{\boxed{5}}", (2, None)),
    (r"\boxedtext{5}", (0, None)),
  ],
)
def test_boxed(text: str, found: tuple[int, str | None]) -> None:
  assert boxed(text) == found


MATH_TAGS = [
  (GOOD, True),
  (response(r"The answer is \boxed{5}."), True),
  (response(r"\boxed{\{1,2\}}", "a\nb"), True),
  ("<think>" + GOOD, False),
  (r"I add.<answer>\boxed{5}</answer>", False),  # the thought is not closed
  (r"I add.</think></think><answer>\boxed{5}</answer>", False),
  (r"<answer>\boxed{5}</answer></think>", False),
  (r"I add.<answer>\boxed{5}</think></answer>", False),  # the thought is closed inside the answer
  (response(r"\boxed{5}", " \n"), False),
  (response("  \n"), False),
  (response(r"\boxed{5}") + " ", True),
  (response(r"\boxed{5}") + "\n", True),
  (response(r"\boxed{5}") + " \n\t\r\n" * 3 + " ", True),  # 16 blanks
  (response(r"\boxed{5}") + "\u00a0\u2003" * 8, True),
  (response(r"\boxed{5}") + " " * 17, False),
  (response(r"\boxed{5}") + "\n.", False),
  (response(r"\boxed{5}") + "\u200b", False),  # no blank, but a character of no width
  (response(r"\boxed{5}") + " That is it.", False),
  (response(r"\boxed{5}") + response(r"\boxed{5}"), False),
  (r"I add.</think><answer>\boxed{5}", False),
  (r"I add.</think>\boxed{5}</answer>", False),
  (r"I add.</think></answer>\boxed{5}<answer>", False),
  (response("5"), False),
  (response(r"\boxed{}"), False),
  (response(r"\boxed{ }"), False),
  (response(r"\boxed{5"), False),
  (response(r"\boxed{4} or \boxed{5}"), False),
  (response(r"\boxed{\boxed{5}}"), False),
  ("", False),
]


@pytest.mark.parametrize(("text", "kept"), MATH_TAGS)
def test_math_under_tags(text: str, kept: bool) -> None:
  assert format_ok(text, ended=True, domain="math") is kept


@pytest.mark.parametrize(("text", "kept"), MATH_TAGS)
def test_where_the_model_opens_the_thought_a_response_begins_with_it(text: str, kept: bool) -> None:
  opened: dict[str, Any] = {"ended": True, "domain": "math", "think_opened": False}
  assert not format_ok(text, **opened) or text.startswith("<think>")
  assert format_ok(f"<think>{text}", **opened) is kept
  assert not format_ok(f" <think>{text}", **opened) and not format_ok(f"<think><think>{text}", **opened)


@pytest.mark.parametrize(("text", "kept"), MATH_TAGS)
def test_a_truncated_response_never_has_the_required_form(text: str, kept: bool) -> None:
  assert not format_ok(text, ended=False, domain="math")


@pytest.mark.parametrize(
  ("answer", "kept"),
  [
    ("```python\nprint(5)\n```", True),
    ("Here:\n```python\nprint(5)\n```\nDone.", True),
    ("```python  \nprint(5)```", True),
    ("```Python\nprint(5)\n```", True),
    ("``` PYTHON\r\nprint(5)\n```", True),
    ('```python title="a.py" {1,3}\nprint(5)\n```', True),
    ("```python{.numberLines}\nprint(5)\n```", True),
    ("```python:main.py\nprint(5)\n```", True),
    ("```pythonic\nprint(5)\n```", False),
    ("```c python\nprint(5)\n```", False),
    ("```python print(5)```", False),
    ("print(5)", False),
    ("```\nprint(5)\n```", False),
    ("```py\nprint(5)\n```", False),
    ("```python3\nprint(5)\n```", False),
    ("```python\n\n```", False),
    ("```python\nprint(5)", False),
    ("```python\na\n```\n```python\nb\n```", False),
    ("```python\na\n```\n```\nb\n```", False),
    ("```cpp\na\n```\n```python\nb\n```", False),
    (r"\boxed{5}", False),
  ],
)
def test_code_under_tags(answer: str, kept: bool) -> None:
  assert format_ok(response(answer), ended=True, domain="code") is kept


@pytest.mark.parametrize(
  ("answer", "kept"),
  [
    ('{"answer": "5"}', True),
    (' {"answer": 5, "unit": "cm"}\n', True),
    ('{"answer": "\\\\frac{1}{2}"}', True),
    ('{"answer": 0}', True),
    ('{"answer": "4", "answer": "5"}', False),
    ('{"answer": {"a": 1, "a": 2}}', False),
    ('{"answer": NaN}', False),
    ('{"answer": Infinity}', False),
    ('{"answer": ""}', False),
    ('{"answer": " "}', False),
    ('{"answer": null}', False),
    ('{"result": "5"}', False),
    ('["answer"]', False),
    ('"answer"', False),
    ('{"answer": "5"} {"answer": "5"}', False),
    ('{"answer": "5"} indeed', False),
    ('```json\n{"answer": "5"}\n```', False),
    ("{'answer': '5'}", False),
    ('{"answer": "5"', False),
    (r"\boxed{5}", False),
    ('{"answer": ' + "[" * 100_000 + "}", False),
  ],
)
@pytest.mark.parametrize("domain", ["math", "code"])
def test_json(answer: str, kept: bool, domain: str) -> None:
  assert format_ok(response(answer), ended=True, domain=domain, validator="json") is kept


def test_json_numbers_keep_their_digits() -> None:
  assert json_answer('{"answer": 0.10000000000000000000001}') == "0.10000000000000000000001"


@pytest.mark.parametrize(
  ("source", "value"),
  [
    (r"\frac{1}{2}", r"\frac{1}{2}"),
    (r"\boxed{5}", r"\boxed{5}"),
    (r"\nabla f \neq \rho\times\theta", r"\nabla f \neq \rho\times\theta"),
    (r"\tfrac12\right)", r"\tfrac12\right)"),
    (r"\sqrt{2}\pi\,\%\{\}", r"\sqrt{2}\pi\,\%\{\}"),  # no escapes of JSON at all
    (r"\underline{7}", r"\underline{7}"),
    (r"\u221a2 \u00e9", "\u221a2 \u00e9"),
    (r"\\frac{1}{2}", r"\frac{1}{2}"),
    (r"\\frac{1}{2}\times3", r"\frac{1}{2}\times3"),
    (r"a\nSo\t5\rb\"c\"\/", 'a\nSo\t5\rb"c"/'),  # no commands
    (r"\nfoo \bary \fracture", "\nfoo \bary \fracture"),
    (r"\begin{matrix}1\\2\end{matrix}", r"\begin{matrix}1\\2\end{matrix}"),
    (r"\\begin{matrix}1\\\\2\\end{matrix}", r"\begin{matrix}1\\2\end{matrix}"),
  ],
)
def test_latex_in_json(source: str, value: str) -> None:
  body = f'{{"answer": "{source}"}}'
  assert json_answer(body) == value
  assert format_ok(response(body), ended=True, domain="math", validator="json")


@pytest.mark.parametrize("source", [r"\u00", r"\u", "\\"])
def test_broken_escapes_are_no_json(source: str) -> None:
  with pytest.raises(ValueError):
    json_answer(f'{{"answer": "{source}"}}')


def test_a_program_in_json_is_read_as_json_says() -> None:
  body = r'{"answer": "n = 1\nu = 2\nif n:\n\ttan = 3"}'
  assert json_answer(body, latex=False) == "n = 1\nu = 2\nif n:\n\ttan = 3"
  assert not format_ok(response(r'{"answer": "\d"}'), ended=True, domain="code", validator="json")


def test_other_domains_need_only_the_tags() -> None:
  assert format_ok(response("blue"), ended=True, domain="colours")
  assert not format_ok(response(" "), ended=True, domain="colours")


def test_an_unknown_validator_is_refused() -> None:
  with pytest.raises(InputError, match="validator: expected one of tags, json, found 'xml'"):
    format_ok(GOOD, ended=True, domain="math", validator="xml")


@pytest.mark.parametrize("unit", ["<answer>", r"\boxed{", "{", "```", "</think>", "\\", " ", r"\b", r"\begin"])
def test_a_megabyte_of_any_text_takes_linear_time(unit: str) -> None:
  text = response(unit * (1_000_000 // len(unit)))
  begin = time.thread_time()
  for domain in ("math", "code"):
    for validator in ("tags", "json"):
      format_ok(text, ended=True, domain=domain, validator=validator)
  assert time.thread_time() - begin < 5
