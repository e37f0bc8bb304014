"""Detection of evaluation items in training questions, with any text around them. Other questions pass."""

import json
import random
import re
import string

import pytest

from srpo_jax.data.decontamination import GRAM, SHARE, SHORT, EvalItem, Index
from srpo_jax.data.words import words
from srpo_jax.utils.errors import InputError

WORDS = [f"{a}{b}" for a in ("alp", "bet", "gam", "del", "eps", "zet") for b in ("one", "two", "tri", "qua", "pen")]


def by_definition(item: str, question: str) -> bool:
  """Applies the rule exactly as stated. Returns True if a question leaks an item."""
  wanted, there = words(item), words(question)
  if len(wanted) < SHORT:
    return wanted == there
  grams = {tuple(wanted[i : i + GRAM]) for i in range(len(wanted) - GRAM + 1)}
  stand = {tuple(there[i : i + GRAM]) for i in range(len(there) - GRAM + 1)}
  return len(grams & stand) >= SHARE * len(grams)


def renamed(text: str, seed: int) -> str:
  """Renames every identifier of one letter in formulas and in the text. Capitals stay capitals."""
  letters = list(string.ascii_lowercase)
  random.Random(seed).shuffle(letters)
  table = dict(zip(string.ascii_lowercase, letters, strict=True))
  table |= {key.upper(): value.upper() for key, value in table.items()}
  return re.sub(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", lambda match: table[match.group()], text)


def wrapped(text: str) -> str:
  return (
    f"Anna and Ben sit in a train for 3 hours. To pass the time they solve this:\n\n{text}\n\nWhat should Anna say?"
  )


def test_agrees_with_the_definition_on_random_texts():
  rng = random.Random(0)
  items = [" ".join(rng.choices(WORDS, k=rng.randrange(5, 40))) for _ in range(60)]
  index = Index(EvalItem("set", str(number), item) for number, item in enumerate(items))
  questions = []
  for _ in range(600):
    source = rng.choice(items).split()
    cut = source[rng.randrange(len(source)) :] if rng.random() < 0.5 else source
    cut = [rng.choice(WORDS) if rng.random() < 0.03 else word for word in cut]
    around = rng.choices(WORDS, k=rng.choice((0, 0, 5)))
    questions.append(" ".join([*around, *cut]))
  leaks = index.find(questions)
  expected = [any(by_definition(item, question) for item in items) for question in questions]
  assert 100 < sum(expected) < 500
  assert [number in leaks for number in range(len(questions))] == expected


def test_half_of_the_grams_leaks_and_one_less_does_not():
  item = " ".join(WORDS[:20])  # 13 grams
  index = Index([EvalItem("set", "0", item)])
  leak = index.find([" ".join(WORDS[:14])])  # 7 grams
  assert leak[0].share == round(7 / 13, 4) and leak[0].matched == " ".join(WORDS[:14])
  assert not index.find([" ".join(WORDS[:13])])  # 6 grams


def test_a_short_item_leaks_only_by_all_its_words():
  index = Index([EvalItem("set", "0", "What is $x + 1$ when $x = 2$?")])
  assert set(
    index.find(["what is $y+1$ when $y=2$", "Tell me: what is $x+1$ when $x=2$?", "what is $y+1$ when $y=3$"])
  ) == {0}


def test_the_item_with_the_largest_share_is_named():
  index = Index([EvalItem("a", "0", " ".join(WORDS[:20])), EvalItem("b", "7", " ".join(WORDS[5:20]))])
  leak = index.find([" ".join(WORDS[5:20])])[0]
  assert (leak.eval_set, leak.item_id, leak.share) == ("b", "7", 1.0)


def test_no_items_and_no_questions():
  assert Index([]).find(["any question at all"]) == {}
  assert Index([EvalItem("set", "0", " ".join(WORDS))]).find([]) == {}


def test_an_item_without_a_word_is_an_error():
  with pytest.raises(InputError, match="evaluation set s, item 3: expected a question with a word"):
    Index([EvalItem("s", "3", "?!")])


def rows(data_dir, file):
  return [json.loads(line) for line in (data_dir / file).read_text().splitlines()]


@pytest.mark.parametrize(
  "change", [lambda text: text, wrapped, lambda text: renamed(text, 1), lambda text: renamed(wrapped(text), 2)]
)
def test_all_aime24_problems_planted_in_gsm8k_are_found_and_nothing_else(data_dir, change):
  problems = rows(data_dir, "aime24.jsonl")
  questions = [row["question"] for row in rows(data_dir, "gsm8k_train.jsonl")]
  index = Index(EvalItem("aime24", str(row["id"]), row["problem"]) for row in problems)
  planted = dict(zip(range(100, 100 + 200 * len(problems), 200), problems, strict=True))
  for place, row in planted.items():
    questions[place] = change(row["problem"])
  leaks = index.find(questions)
  for place, leak in sorted(leaks.items()):
    print(f"row {place}: aime24 item {leak.item_id}, {leak.share:.2f} of its grams: {leak.matched[:80]}")
  assert {place: leak.item_id for place, leak in leaks.items()} == {p: str(row["id"]) for p, row in planted.items()}


def test_gsm8k_train_leaks_nothing_of_the_other_evaluation_sets(data_dir):
  questions = [row["question"] for row in rows(data_dir, "gsm8k_train.jsonl")]
  sets = {"math500": "problem", "amc23": "problem", "humaneval": "prompt"}
  found = {
    name: Index(EvalItem(name, str(n), row[column]) for n, row in enumerate(rows(data_dir, f"{name}.jsonl"))).find(
      questions
    )
    for name, column in sets.items()
  }
  assert found == {name: {} for name in sets}
