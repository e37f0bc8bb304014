"""How often responses reflect (SRPO, arXiv 2504.14286, section on reflection): recheck, hesitation, exploration, code.

The paper watches phrases by which a model goes back over its work, hesitates, or tries another way, and code that it
writes to verify an answer in mathematics. It publishes no lists; those below are ours, English alone. A phrase counts
inside the thinking part (all before the first `</think>`), between word boundaries, in any letter case, and not where
the words before it deny it ("no need to double-check", "without trying another approach").
"""

import ast
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

# "wait" and the like only where a thought begins: in word problems people wait, and pictures hang on walls.
_START = r"(?:(?<![\s\S])|(?<=\n)|(?<=[.!?,;:…)—\]]\x20)|(?<=\bbut\x20)|(?<=\b(?:so|oh|no)\x20)|(?<=hmm\x20))"
_LET = r"(?:let me|let us|let's|i should|i could|i can|i'll|i will|we should|we could|we can|maybe)"
_MOMENT = r"a (?:minute|moment|second|sec)"

# Fragments of regular expressions over lower-case text; a space stands for any white space.
PHRASES: Mapping[str, tuple[str, ...]] = {
  "recheck": (  # goes back over what is there
    r"re-?check(?:ing)?",
    r"double[- ]check(?:ing)?",
    r"re-?verify(?:ing)?",
    r"re-?examin(?:e|ing)",
    r"re-?evaluat(?:e|ing)",
    r"re-?calculat(?:e|ing)",
    r"re-?comput(?:e|ing)",
    r"reconsider(?:ing)?",
    r"re-?think(?:ing)?",
    r"re-?read(?:ing)?",
    r"(?:check|verify|compute|calculate|count|try) (?:(?:this|that|it|them) )?again",
    rf"{_LET} (?:just |now |quickly )?(?:check|verify|confirm|make sure)",
    r"to (?:be sure|verify|confirm)",
    r"check (?:my|our|the|this|that) (?:work|answer|result|calculations?|steps?|solution)",
    r"go(?:ing)? (?:back )?over (?:my|our|the|this|that) (?:work|steps?|calculations?|solution)",
    r"sanity check",
  ),
  "hesitation": (  # stops at what was just said
    rf"{_START}wait(?=[,.!?;:…—])",
    rf"{_START}wait (?:{_MOMENT}|no|but|maybe|actually|is|that's|that is|what|why|i think|i made)",
    rf"{_START}(?:hold|hang) on(?=[,.!?;:…—]| {_MOMENT})",
    r"hmm+",
    r"uh oh",
    r"oops",
    r"(?:i'm|i am) (?:not (?:so |quite |entirely |too )?sure|unsure|confused|stuck)",
    r"that (?:doesn't|does not|can't|cannot) (?:seem|look|sound|be) (?:quite )?(?:right|correct)",
    r"that (?:seems|looks|sounds) (?:wrong|off|odd|strange)",
    r"something (?:is|seems|looks|went) (?:wrong|off)",
    r"(?:i|we) (?:may|might|must|could) have (?:made|missed|misread|misunderstood|miscounted|miscalculated)",
    r"(?:i|we) made (?:a|an) (?:mistake|error)",
    r"on second thoughts?",
    r"is (?:that|this) (?:right|correct)(?=\?)",
  ),
  "exploration": (  # another way, or a case tried out
    r"alternatively",
    r"(?:another|a different|an alternative|some other) (?:approach|way to|method|strategy|idea|route|angle on)",
    r"(?:another|a different) way",
    r"(?:a )?different(?:ly)? approach",
    r"what if",
    rf"{_LET} (?:try|explore) (?:a|an|another|some|the case|this|that|using|with|instead|differently|from)",
    rf"{_LET} look at (?:it|this) (?:differently|from|another)",
    r"instead, (?:let|i|we)",
    r"(?:maybe|perhaps) (?:i|we) (?:can|could|should)",
    r"suppose instead",
    r"approach(?:ing)? (?:this|it|the problem) (?:differently|from)",
  ),
}

# Up to three words between the denial and the phrase, within one clause.
_DENIED = re.compile(
  r"(?:\bno (?:need|reason|point|use)|\bneedn't|\bnever|\bwithout|\bunnecessary|\b(?:do|does|did|need|should|would)"
  r"(?:n't| not))(?:[ \t]+[\w']+){0,3}[ \t]+(?:an?[ \t]+)?$"
)
_DENIAL_REACH = 60  # characters before a phrase that are looked at

_PATTERNS = {
  kind: re.compile(rf"(?<![\w-])(?:{'|'.join(p.replace(' ', chr(92) + 's+') for p in phrases)})(?![\w])")
  for kind, phrases in PHRASES.items()
}
KINDS = tuple(PHRASES)

_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_PROMPT = re.compile(r"^[ \t]*>>>[ \t]*(.+)$", re.MULTILINE)
_CALL_LINE = re.compile(r"^[ \t]*(\w[\w.]*\(.*\))[ \t]*$", re.MULTILINE)
# What an expression may name and still run as it stands.
_BUILTINS = (
  "abs all any bin bool dict divmod enumerate filter float hex int len list map max min pow print range reversed"
)
_KNOWN = frozenset(f"{_BUILTINS} round set sorted str sum tuple zip math sympy Fraction gcd".split(" "))


@dataclasses.dataclass(frozen=True)
class Reflection:
  """What one response shows."""

  counts: Mapping[str, int]  # of KINDS
  code: bool  # a program, or an expression that runs, stands before the answer


def reflect(response: str) -> Reflection:
  """The phrases of a response's thinking part by kind, and whether code stands before its answer."""
  text = _plain(thinking(response))
  counts = {kind: sum(1 for _ in _find(kind, text)) for kind in KINDS}
  return Reflection(counts, has_code(response.split("<answer>")[0]))


def thinking(response: str) -> str:
  """What stands before the first `</think>`: the prompt has opened the block; all, where it is never closed."""
  return response.split("</think>")[0]


def phrases(kind: str, text: str) -> list[str]:
  """The phrases of `kind` in `text` that nothing before them denies, in lower case, in their order."""
  return list(_find(kind, _plain(text)))


def _plain(text: str) -> str:
  return text.lower().replace("’", "'")


def _find(kind: str, text: str) -> Iterator[str]:
  for match in _PATTERNS[kind].finditer(text):
    if not _DENIED.search(text, max(0, match.start() - _DENIAL_REACH), match.start()):
      yield match[0]


def has_code(text: str) -> bool:
  """Whether a Python program or expression stands in `text`.

  A program is a fence marked as Python, or one of no language whose body parses and calls, imports or assigns. An
  expression stands in backticks, behind `>>>`, or alone on a line as a call; it must run as it stands: numbers and text
  with operators, or calls of Python's own functions. Formulas outside of these (3 * 4 = 12) are mathematics, not code.
  """
  if "`" in text and any(_is_program(language.lower(), body) for language, body in _FENCE.findall(text)):
    return True
  text = _FENCE.sub("\n", text) if "```" in text else text
  quoted = [*_INLINE.findall(text), *_PROMPT.findall(text)]
  return any(map(_runs, quoted)) or any(_runs(line, call=True) for line in _CALL_LINE.findall(text))


def _is_program(language: str, body: str) -> bool:
  if language:
    return language in ("python", "py", "python3") and bool(body.strip())
  tree = _parse(body, "exec")
  does = (ast.Call, ast.Import, ast.ImportFrom, ast.Assign)
  return tree is not None and any(isinstance(node, does) for node in ast.walk(tree))


def _runs(source: str, *, call: bool = False) -> bool:
  """Whether `source` is an expression without unknown names that computes something (`call`: by a call)."""
  tree = _parse(source.strip(), "eval")
  if tree is None:
    return False
  nodes = list(ast.walk(tree))
  bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
  names = {node.id for node in nodes if isinstance(node, ast.Name)} - bound
  computes = (ast.Call,) if call else (ast.Call, ast.BinOp, ast.Compare)
  return names <= _KNOWN and any(isinstance(node, computes) for node in nodes)


def _parse(source: str, mode: str) -> ast.AST | None:
  try:
    return ast.parse(source, mode=mode)
  except (SyntaxError, ValueError, RecursionError, MemoryError):  # no code, or what Python's parser gives up on
    return None


@dataclasses.dataclass(frozen=True)
class Seen:
  """One response, as rates are taken over."""

  reflection: Reflection
  domain: str
  n_tokens: int
  correct: bool | None  # None: not judged


def reflection_rates(responses: Iterable[Seen]) -> dict[str, float | None]:
  """Rates under the names of metrics.jsonl; null where there is no response to take one over.

  For each of KINDS: phrases a response and phrases per 1,000 tokens of the responses, over all of them, the correct and
  the wrong; `reflection/code_frac` is the share of the responses to mathematics that have code before the answer.
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
