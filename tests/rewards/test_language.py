import time

import pytest

from srpo_jax.rewards.language import language_mix, letter_scripts, script_of

ENGLISH = "The sum of two and three is five, as one can see by counting. "


@pytest.mark.parametrize(
  ("letter", "script"),
  [
    ("中", "CJK"),
    ("々", "CJK"),
    ("豈", "CJK"),
    ("あ", "KANA"),
    ("ア", "KANA"),
    ("ｱ", "KANA"),
    ("ー", "KANA"),
    ("한", "HANGUL"),
    ("ж", "CYRILLIC"),
    ("ع", "ARABIC"),
    ("ש", "HEBREW"),
    ("ก", "THAI"),
    ("क", "DEVANAGARI"),
  ],
)
def test_scripts(letter: str, script: str) -> None:
  assert script_of(letter) == script


@pytest.mark.parametrize("letter", list("aZéßøπΩµªʰ𝐀ℝℵÅａﬁ"))
def test_latin_greek_and_mathematical_letters_are_one_script(letter: str) -> None:
  assert letter_scripts(letter) == {script_of("a"): 1}


@pytest.mark.parametrize(
  ("prompt", "response", "mixed"),
  [
    ("Add.", ENGLISH, False),
    ("Add.", ENGLISH + "所以", True),
    ("Add.", ENGLISH + "所", False),  # one letter is a slip
    ("Add.", ENGLISH + "привет", True),
    ("Add.", ENGLISH + "ответ 所", True),
    ("Add.", ENGLISH + "안녕", True),
    ("Add.", ENGLISH + "مرحبا", True),
    ("Add.", ENGLISH + "π and Ω and αβγ", False),
    ("Add.", ENGLISH + "，。「」", False),  # punctuation has no language
    ("Add.", ENGLISH + "٣٤٥", False),  # digits have no language
    ("求和。", ENGLISH + "所以答案是五", False),
    ("求和。", ENGLISH + "ответ", True),
    ("求和。", "だから答えは五です", True),  # a Chinese prompt does not use kana
    ("答えを求めよ。", "だから答えは五です", False),
    ("Add.", "所以", True),
    ("Add.", "", False),
    ("Add.", ENGLISH + "```python\nx = '所以答案'\n```", True),
    ("Add.", ENGLISH + "```python\nx = 1  # 所以\n```", True),
    ("Add.", ENGLISH + "```\n所以答案\n```", True),  # a fence without code
    ("Add.", ENGLISH + "```python\n所以\n所以\n```", True),
    ("Add.", ENGLISH + "```text\nответ ответ\nответ = 5\n```", True),
    ("Add.", ENGLISH + "```python\nплощадь = 3\nprint(площадь)\n```", False),
    ("Add.", ENGLISH + "```python\ndef площадь(а, б):\n    return а * б\n```", False),
    ("Add.", ENGLISH + "```python\nширина = 3\nprint(f'{ширина}')\n```", False),
    ("Add.", ENGLISH + "```C++\nint сумма = 0; сумма += 1;\n```", False),
    ("Add.", ENGLISH + "```C++\nint сумма = 0; сумма += 1; // готово\n```", True),
    ("Add.", ENGLISH + "```python\nx = 1\n``` 所以", True),
    ("Add.", ENGLISH + "```所以答案", True),  # a fence that never closes hides nothing
    ("Add.", ENGLISH + "`所以`", True),
    ("Add.", ENGLISH + "` 所以\n`", True),  # inline code ends with its line
    ("Add.", ENGLISH + "$x_{所以}$", True),
    ("Add.", ENGLISH + "$$x_{所以}\n$$", True),
    ("Add.", ENGLISH + r"\(所以\)", True),
    ("Add.", ENGLISH + "\\[所以\n\\]", True),
    ("Add.", ENGLISH + "costs $5. 所以\nand $6", True),  # dollar signs of prices on two lines are not a formula
    ("Add.", ENGLISH + r"costs \$5 所以 \$6", True),
    ("Add.", ENGLISH + r"\[所以", True),
    ("Add.", ENGLISH + r"\text{所以}", True),
    ("Add.", ENGLISH + "costs $2, ответ такой, so $6", True),
    ("Add.", ENGLISH + "$$\\text{если } x$$", True),
    ("Add.", ENGLISH + "https://example.org/所以?答=案", False),
    ("Add.", ENGLISH + "[page](https://ru.wikipedia.org/wiki/Число_(математика))", False),
    ("Add.", ENGLISH + "ru.wikipedia.org/wiki/Число", False),
    ("Add.", ENGLISH + "https://example.org/a，所以答案", True),  # a mark of Chinese text ends a URL
    ("Add.", ENGLISH + "Ш(E/Q) and $Ш(F)$", False),  # a letter that stands alone is a symbol
    ("Add.", ENGLISH + "п р и в е т", True),
    ("Add.", ENGLISH + "о\u200bт\u200bв\u200bе\u200bт", True),
    ("ひらがなでこたえよ。", "答えは五です", False),  # kana and kanji belong together
    ("Add.", ENGLISH + "https://example.org/a?b=c", False),
  ],
)
def test_language_mix(prompt: str, response: str, mixed: bool) -> None:
  assert language_mix(prompt, response) is mixed


@pytest.mark.parametrize(("latin", "mixed"), [(997, True), (998, False), (999, False)])
def test_the_share_must_exceed_a_500th_of_all_letters(latin: int, mixed: bool) -> None:
  assert language_mix("Add.", "a" * latin + "所以") is mixed  # 2 of 999, 1000, 1001


def test_the_letters_of_latex_commands_do_not_count() -> None:
  """2 letters next to 600 commands exceed 0.2 % of all letters only if the commands' letters do not count."""
  assert language_mix("Add.", r"\alphabetical " * 600 + "所以 ok")


@pytest.mark.parametrize(
  "unit",
  [
    r"\(",
    r"\[",
    "$",
    "$$ ",
    "`",
    "```",
    "``` ",
    "\\",
    "$\\",
    "` `` ",
    "www.",
    "http://",
    r"\a",
    "所",
    "$a\n",
    r"\($",
    "a.",
    "а(",
    "http://(",
  ],
)
def test_a_megabyte_of_openers_takes_linear_time(unit: str) -> None:
  begin = time.thread_time()
  language_mix("Add.", unit * (1_000_000 // len(unit)))
  assert time.thread_time() - begin < 8
