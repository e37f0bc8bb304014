"""Separates the names of a program from the words in its comments and strings."""

import re
from collections import Counter
from collections.abc import Collection

from srpo_jax.rewards.format import FENCE, fence_language

# Languages of fences that hold text, not a program.
_TEXT_TEXT = """
  text txt plain plaintext markdown md latex tex math katex output log html xml json yaml csv
"""
_TEXT = frozenset(_TEXT_TEXT.split())
_CODE = re.compile(  # an assignment, a call or an import
  r"[\w\])][ \t]*(?:[-+*/%|&^]|//|<<|>>|\*\*|:)?=(?!=)|\w\(|^[ \t]*(?:import|from) \w", re.MULTILINE
)
_STRING = r"\"\"\".*?(?:\"\"\"|\Z)|'{3}.*?(?:'{3}|\Z)|\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?"
_PYTHON = re.compile(rf"{_STRING}|#[^\n]*", re.DOTALL)  # comments and strings
_OTHER = re.compile(rf"{_STRING}|/\*.*?(?:\*/|\Z)|<!--.*?(?:-->|\Z)|(?:#|//|--)[^\n]*", re.DOTALL)
_PLACE = re.compile(r"\{[^{}\n]*\}")  # of a value in an f-string
_DEFINES = re.compile(r"\b(?:def|class|fn|func|function|fun|struct|interface|type)\s+(\w+)")
_NAME = re.compile(r"[^\W\d]\w*")


def without_code(text: str, letters: Collection[str]) -> str:
  """Returns a text without the names of the programs in its fences.

  A name counts as one if its fence has statements, and if it is defined there or used at least twice. Two names with
  only blanks between them are prose, unless one of them is written in ASCII like a keyword. A fence that is not closed,
  or that has no statement, is returned as it stands. So are comments and strings.

  Args:
    letters: letters that matter. A name with none of them is returned.
  """
  if "```" not in text:
    return text
  of_letters = re.compile(f"[{re.escape(''.join(letters))}]")

  def replace(fence: re.Match[str]) -> str:
    language = fence_language(fence[1])
    if not of_letters.search(fence[2]) or language in _TEXT or not _CODE.search(fence[2]):
      return fence[0]
    return _words_of(fence[2], of_letters, _PYTHON if language in ("", "py", "python", "python3") else _OTHER)

  return FENCE.sub(replace, text)


def _words_of(program: str, of_letters: re.Pattern[str], of_words: re.Pattern[str]) -> str:
  """Returns the comments and strings of a program, and what of the rest is not a name."""
  words: list[str] = []
  values: list[str] = []
  for match in of_words.finditer(program):
    formatted = match[0][0] in "\"'" and program[max(0, match.start() - 2) : match.start()].lower().endswith(
      ("f", "fr")
    )
    words.append(_PLACE.sub(" ", match[0]) if formatted else match[0])
    values += _PLACE.findall(match[0]) if formatted else []
  code = of_words.sub(" ", program)
  return "\n".join([*words, *_prose_of(code, ";".join(values), of_letters)])


def _prose_of(code: str, values: str, of_letters: re.Pattern[str]) -> list[str]:
  """Returns the words of `code` that are no names. `values` are uses of names in f-strings."""
  names = Counter(name for name in _NAME.findall(f"{code};{values}") if of_letters.search(name))
  known = {name for name, count in names.items() if count > 1} | set(_DEFINES.findall(code))
  before: re.Match[str] | None = None
  kept: list[str] = []
  for match in _NAME.finditer(code):
    name = match[0]
    if name not in names:
      before = None
      continue
    beside = before is not None and before.end() < match.start() and code[before.end() : match.start()].isspace()
    if before is not None and beside and "\n" not in code[before.end() : match.start()]:
      kept += [before[0], name]
    elif name not in known:
      kept.append(name)
    before = match
  return kept
