"""Counts phrases of reflection in responses (SRPO, arXiv 2504.14286, section on reflection), and finds code.

The paper follows phrases by which a model rechecks its work, hesitates, or explores another way, and code that it
writes to verify an answer in mathematics. The phrases are our own list (`reflection_phrases`), in English. A phrase
counts inside the thinking part (all text before the first `</think>` or `<answer>`), between word
boundaries and in any letter case. It does not count if the words before it deny it ("no need to double-check", "without
trying another approach").

Other work counts single words ("but", "however", "yet", "check", "verify", "wrong", "error": DeepSeek-R1, Nature 2025,
extended data figure 1; MAYE, arXiv 2504.02587). Most of these words occur in plain mathematics too, so such counts grow
merely because responses get longer. Here a word is listed only together with the words that make it reflection.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from srpo_jax.analysis.code_use import has_code
from srpo_jax.analysis.reflection_phrases import PHRASES

# Allows up to three words between the denial and the phrase, within one clause.
_DENIED = re.compile(
  r"(?:\bno (?:need|reason|point|use)|\bneedn't|\bnever|\bwithout|\bunnecessary|\bnot necessary|\binstead of|\bcannot"
  r"|\brather than|\bnot going to|\b(?:isn't|is not) (?:necessary|needed)|\b(?:can't|won't)"
  r"|\b(?:do|does|did|have|has|had|need|should|would|will|could)(?:n't| not))"
  r"(?:[ \t]+(?!(?:so|but|then)\b)[\w']+){0,3}[ \t]+(?:an?[ \t]+)?$"
)
_MAY_BEGIN = r"(?:(?<![^\W_]\s)|(?<=(?:nd|ut|so|or|oh|no|ok|ay|ll|ly|hm|mm|et|ht|ah)\s))"  # fast, for most other places
_BEGINS = re.compile(  # start of a line or clause, or a word of hesitation, then any marks of lists, emphasis, quotes
  r"(?:\n|[.!?,;:…)—–\]][\"'”*_)]*\s|-\s|\s[(\[]|\b(?:and|but|so|or|oh|no|ok|okay|well|actually|hm+|yet|right"
  r"|ah)\s)\s*[>#*_\"'“(\[-]*\s*$"
)
_REACH = 60  # number of characters that are searched before a phrase


def _alternatives(group: str) -> tuple[list[str], str]:
  """Splits "(?:a|b)rest" into its alternatives and the rest."""
  parts, depth, start, in_set, at = [], 1, 3, False, 3
  while depth:
    char = group[at]
    if char == "\\":
      at += 1
    elif char in "[]":
      in_set = char == "["
    elif not in_set and (char == ")" or (char == "|" and depth == 1)):
      if depth == 1:
        parts.append(group[start:at])
        start = at + 1
      depth -= char == ")"
    elif not in_set and char == "(":
      depth += 1
    at += 1
  return parts, group[at:]


def _initials(phrase: str) -> set[str]:
  """Returns the letters that a match of the phrase may begin with, or the empty string for any character."""
  if phrase.startswith("(?:"):
    parts, rest = _alternatives(phrase)
    found = set[str]().union(*map(_initials, parts))
    return found | _initials(rest[1:]) if rest[:1] == "?" else found
  if not phrase[:1].isalpha():
    return {""}
  return {phrase[0]} | (_initials(phrase[2:]) if phrase[1:2] == "?" else set())


def _compile(phrases: Iterable[str]) -> re.Pattern[str]:
  """Returns one pattern for all phrases, with groups for the places where phrases count.

  Its matches start with the character before the phrase, which lets the search skip at full speed. The phrases stand
  under their first letters, so that few of them are tried at each word.
  """
  places = {"^": "begins", "@": "clause", "~": "sentence"}
  by_letter: dict[str, dict[str, list[str]]] = {}
  for phrase in phrases:
    place, text = places.get(phrase[0], ""), phrase.lstrip("^@~")
    initials = _initials(text)
    for letter in [""] if "" in initials else initials:
      by_letter.setdefault(letter, {}).setdefault(place, []).append(text.replace(" ", r"\s+"))
  branches = {}
  for letter, parts in by_letter.items():
    named = [
      f"{_MAY_BEGIN * (place == 'begins')}(?P<{place}_{letter}>{'|'.join(parts[place])})"
      if place
      else "|".join(parts[place])
      for place in (*places.values(), "")
      if place in parts
    ]
    branches[letter] = f"(?={letter})(?:{'|'.join(named)})"
  letters = sorted(branches.keys() - {""}, key="taosihwbpfcmdrlegnyukvjqxz".index)  # frequent ones first
  some = [letters[at : at + 5] for at in range(0, len(letters), 5)]
  tree = [f"(?=[{''.join(part)}])(?:{'|'.join(branches[letter] for letter in part)})" for part in some]
  return re.compile(rf"[^\w-](?:{'|'.join([*tree, branches.get('', '(?!)')])})(?!\w)")


_PATTERNS = {kind: _compile(phrases) for kind, phrases in PHRASES.items()}
_ANYWHERE = {kind: _compile(p for p in phrases if p[0] != "^") for kind, phrases in PHRASES.items()}
KINDS = tuple(PHRASES)

# Parts of a response in which nobody reflects: code, and what someone else says.
_OTHERS = re.compile(
  r"```.*?(?:```|\Z)|`[^`\n]*`|\"[^\"\n]{1,200}\"|“[^”\n]{1,200}”|«[^»\n]{1,200}»"
  r"|(?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w)){1,200}'(?!\w)",
  re.DOTALL,
)
_ENDS = re.compile(r"[.!?;:\n—–(,]")  # of clauses
_SENTENCES = re.compile(r"[.!?;:\n—–(]")
_ARTICLE = re.compile(r"\b(?:an?|the|each|every)\s+$")  # before a participle: a rechecked ballot
_WRITER_TEXT = """
  i i'll i'm i've i'd we we'll we've we'd we're me us my our let's myself ourselves
"""
_WRITER = frozenset(_WRITER_TEXT.split())
_FILLERS_TEXT = """
  a about actually after again also an and another as at before best better brief but by can careful carefully could
  do doing final first for going good here hm hmm idea if in is it it's just let little maybe more must need needs
  next no now of oh ok okay on once one or perhaps please quick quickly reason safe sake should simple since so some
  sure that the then there there's therefore this time to upon wait want was we well when while will with worth yes
"""
_FILLERS = frozenset(_FILLERS_TEXT.split())


@dataclasses.dataclass(frozen=True)
class Reflection:
  """Reflection in one response."""

  counts: Mapping[str, int]  # kind of KINDS -> number of phrases
  code: bool  # True if a program, or an expression that runs, stands before the answer


def reflect(response: str) -> Reflection:
  """Counts the phrases of each kind in a response's thinking part, and looks for code before its answer."""
  text = _plain(thinking(response))
  counts = {kind: sum(1 for _ in _find(kind, text)) for kind in KINDS}
  return Reflection(counts, has_code(response.split("<answer>")[0]))


def thinking(response: str) -> str:
  """Returns the text before the first `</think>` or `<answer>`, or all of it if it has neither.

  The prompt has already opened the thinking block.
  """
  return response.split("</think>")[0].split("<answer>")[0]


def phrases(kind: str, text: str) -> list[str]:
  """Returns the phrases of `kind` in `text` that are not denied, in lower case and in the order of the text."""
  return list(_find(kind, _plain(text)))


def _plain(text: str) -> str:
  """Returns the text in lower case, on a new line, with plain apostrophes and hyphens, without code and quotations."""
  plain = "\n" + text.lower().replace("’", "'").replace("‐", "-").replace("‑", "-")
  return _OTHERS.sub(" … ", plain)


def _find(kind: str, text: str) -> Iterator[str]:
  for match in _PATTERNS[kind].finditer(text):
    start = match.start() + 1
    before = text[max(0, start - _REACH) : start]
    if _place(match) == "begins" and not _BEGINS.search(before):
      other = _ANYWHERE[kind].match(text, match.start())
      if not other:
        continue
      match = other
    place = _place(match)
    counts = place == "begins" or not _DENIED.search(before)
    if counts and place in ("clause", "sentence"):
      words = (_ENDS if place == "clause" else _SENTENCES).split(before)[-1]
      counts = _by_writer(words) and not (match[0].endswith("ed") and _ARTICLE.search(words))
    if counts:
      yield match[0][1:]


def _place(match: re.Match[str]) -> str:
  """Returns where the phrase counts: begins, clause, sentence, or an empty string for anywhere."""
  return (match.lastgroup or "").split("_")[0]


def _by_writer(words: str) -> bool:
  """Returns True unless someone other than the writer seems to act in the words before a phrase."""
  found = re.findall(r"[^\W\d_][\w']*", words)
  return not _WRITER.isdisjoint(found) or _FILLERS.issuperset(found)


@dataclasses.dataclass(frozen=True)
class Seen:
  """A response and the facts that its rates depend on."""

  reflection: Reflection
  domain: str
  n_tokens: int
  correct: bool | None  # None if not judged


def reflection_rates(responses: Iterable[Seen]) -> dict[str, float | None]:
  """Returns rates of reflection under the keys of metrics.jsonl, None for a rate over no responses.

  For each of KINDS there are phrases per response and phrases per 1,000 tokens, over all responses, over the correct
  ones and over the wrong ones. `reflection/code_frac` is the share of the mathematics responses that have code before
  the answer.
  """
  everything = list(responses)
  parts = {
    "": everything,
    "_correct": [r for r in everything if r.correct],
    "_wrong": [r for r in everything if r.correct is False],
  }
  rates: dict[str, float | None] = {}
  for suffix, part in parts.items():
    tokens = sum(r.n_tokens for r in part)
    for kind in KINDS:
      n = sum(r.reflection.counts[kind] for r in part)
      rates[f"reflection/{kind}_per_response{suffix}"] = n / len(part) if part else None
      rates[f"reflection/{kind}_per_1k_tokens{suffix}"] = 1000 * n / tokens if tokens else None
    in_math = [r for r in part if r.domain == "math"]
    rates[f"reflection/code_frac{suffix}"] = _share([r.reflection.code for r in in_math])
  return rates


def _share(flags: Sequence[bool]) -> float | None:
  return sum(flags) / len(flags) if flags else None
