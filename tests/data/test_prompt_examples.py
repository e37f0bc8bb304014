"""Few-shot examples from files and callables, and the rows that are refused."""

import json

import pytest

from srpo_jax.data.prompt_examples import Example, examples_digest, read_examples
from srpo_jax.utils.errors import InputError

BOXED = "Two. </think> <answer> \\boxed{2} </answer>"
FENCED = "So. </think> <answer>\n```python\nx = 1\n```\n</answer>"
ROWS = [
  {"question": "1 + 1?", "response": BOXED},
  {"question": "2?", "response": f"<think>{BOXED}", "domain": "math"},
  {"question": "Write x.", "response": FENCED, "domain": "code"},
  {"question": "Solve.", "response": "So. </think> <answer> 1 </answer>", "domain": "puzzle"},
]


def rows():
  return ROWS


def broken():
  raise KeyError("row")


def write(folder, rows):
  (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(folder / "examples.jsonl")


def test_examples_by_domain_from_a_file_and_from_a_callable(tmp_path):
  found = read_examples(write(tmp_path, ROWS))
  assert found["math"] == (Example("1 + 1?", BOXED, "math"), Example("2?", BOXED, "math"))
  assert [(domain, len(examples)) for domain, examples in found.items()] == [("math", 2), ("code", 1), ("puzzle", 1)]
  assert read_examples(f"{__name__}:rows") == found and read_examples("") == {}
  assert examples_digest(found) != examples_digest({"math": found["math"]})


def test_the_validator_decides_about_the_form(tmp_path):
  row = {"question": "2?", "response": 'So. </think> <answer> {"answer": 2} </answer>'}
  assert len(read_examples(write(tmp_path, [row]), "json")["math"]) == 1
  with pytest.raises(InputError, match=r"""the form '<think> \.\.\. </think> <answer> {"answer": \.\.\.} </answer>'"""):
    read_examples(write(tmp_path, ROWS), "json")


@pytest.mark.parametrize(
  ("row", "message"),
  [
    ({"question": "2?", "response": "It is 2."}, r"field response: expected the form '<think> .* \\boxed{\.\.\.} "),
    ({"question": "2?", "response": BOXED + " " * 17}, "field response: expected the form"),
    (
      {"question": "2?", "response": BOXED, "domain": "code"},
      r"field response: expected the form '.*```python .*' of domain code",
    ),
    ({"question": "2?"}, "field response: expected text"),
    ({"question": " ", "response": BOXED}, "field question: expected text"),
    ({"question": "2?", "response": BOXED, "domain": 1}, "field domain: expected text"),
    ({"question": "2?", "response": BOXED, "answer": "2"}, "field answer: unknown field"),
    ([1], "expected an object with question and response"),
  ],
)
def test_a_malformed_row_is_named(tmp_path, row, message):
  with pytest.raises(InputError, match=rf"^config\.prompt\.examples: .*examples\.jsonl:2: {message}"):
    read_examples(write(tmp_path, [ROWS[0], row]))


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("absent.jsonl", r"absent\.jsonl: cannot be read: No such file"),
    (f"{__name__}:absent", "has no absent"),
    (f"{__name__}:broken", r":broken failed: KeyError: 'row'"),
  ],
)
def test_an_unreadable_source_is_named(spec, message):
  with pytest.raises(InputError, match=rf"^config\.prompt\.examples: .*{message}"):
    read_examples(spec)


def test_an_empty_file_is_refused(tmp_path):
  with pytest.raises(InputError, match=r"no row, expected at least one example"):
    read_examples(write(tmp_path, []))
