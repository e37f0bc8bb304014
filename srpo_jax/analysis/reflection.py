"""Counts phrases of reflection in responses (SRPO, arXiv 2504.14286, section on reflection), and finds code.

The paper follows phrases by which a model rechecks its work, hesitates, or explores another way, and code that it
writes to verify an answer in mathematics. The lists below are ours, not the paper's, and have only English
phrases. A phrase counts inside the thinking part (all text before the first `</think>` or `<answer>`), between word
boundaries and in any letter case. It does not count if the words before it deny it ("no need to double-check", "without
trying another approach").

Other work counts single words ("but", "however", "yet", "check", "verify", "wrong", "error": DeepSeek-R1, Nature 2025,
extended data figure 1; MAYE, arXiv 2504.02587). Most of these words occur in plain mathematics too, so such counts grow
merely because responses get longer. Here a word is listed only together with the words that make it reflection.
"""

import ast
import dataclasses
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence

_LET = r"(?:let me|let us|let's|i should|i could|i can|i'll|i will|we should|we could|we can|maybe)"
_MOMENT = r"a (?:minute|moment|second|sec)"
_PAUSE = r"(?=\**[,.!?;:…]|\s*[—–]| --? )"
_WORK = r"(?:my|our|the|this|that) (?:work|answer|result|calculations?|steps?|solution)"

# Fragments of regular expressions over lower-case text. A space stands for any white space. A fragment that begins with
# ^ counts only where a thought begins, because in word problems people wait and pictures hang on walls.
PHRASES: Mapping[str, tuple[str, ...]] = {
  "recheck": (  # goes back over earlier work
    r"re-?check(?:ed|ing)?",
    r"double[- ]check(?:ed|ing)?",
    r"re-?verify(?:ing)?",
    r"re-?examin(?:e|ed|ing)",
    r"re-?evaluat(?:e|ed|ing|ion)",
    r"re-?assess(?:ing)?",
    r"re-?analy[sz](?:e|ing)",
    r"re-?calculat(?:e|ed|ing)",
    r"re-?comput(?:e|ed|ing)",
    r"reconsider(?:ing)?",
    r"re-?think(?:ing)?",
    r"re-?read(?:ing)?",
    r"(?:check|verify|compute|calculate|count|try|think) (?:(?:this|that|it|them) )?again",
    rf"{_LET} (?:just |now |quickly |carefully |also |first )?(?:check|verify|confirm|make sure|re-?do|re-?count)",
    r"to (?:be sure|verify|confirm|check(?=[,:]))",
    rf"(?:check|verify)(?:ing)? {_WORK}",
    r"(?:go(?:ing)? (?:back )?over|retrac(?:e|ing)) (?:my|our|the|this|that) (?:work|steps?|calculations?|solution)",
    r"sanity check",
  ),
  "hesitation": (  # doubts the last statement
    rf"^wait{_PAUSE}",
    r"^wait wait",
    rf"^wait (?:{_MOMENT}|no|not|but|maybe|actually|that|that's|this|what|why|how|if|i|we|so)",
    r"^wait (?:is (?:that|this|it)|the (?:problem|question))",
    rf"^(?:hold|hang) on(?:{_PAUSE}| {_MOMENT})",
    r"^actually,? no",
    r"hmm+",
    rf"^hm{_PAUSE}",
    r"uh[- ]oh",
    r"oops",
    r"(?:i'm|i am) (?:not (?:so |quite |entirely |too )?(?:sure|certain)|unsure|confused|stuck)",
    r"(?:that|this) (?:doesn't|does not|can't|cannot) (?:seem|look|sound|be) (?:quite )?(?:right|correct)",
    r"(?:that's|that is|this is|it's) not (?:quite )?(?:right|correct)",
    r"(?:that|this) (?:seems|looks|sounds) (?:wrong|off|odd|strange)",
    r"(?:something (?:is|seems|looks|went)|something's) (?:wrong|off)",
    r"(?:i|we) (?:may|might|must|could) have (?:made|missed|misread|misunderstood|miscounted|miscalculated)",
    r"(?:i|we) made (?:a|an) (?:mistake|error)",
    r"on second thoughts?",
    r"is (?:that|this) (?:right|correct)(?=\?)",
  ),
  "exploration": (  # tries another way or a special case
    r"alternatively",
    r"(?:another|alternative|alternate|some other) (?:approach|way to|method|strategy|idea|angle on|possibility is)",
    r"(?:another|a different) way",
    r"different (?:approach|method|strategy|idea|angle on)",
    r"what if",
    rf"{_LET} (?:try|explore) (?:a|an|another|some|something|the case|this|that|using|with|instead|differently|from)",
    rf"{_LET} (?:try|take|test) (?:it with )?[a-z](?: =|(?==))",
    rf"{_LET} (?:look at|think about) (?:it|this) (?:differently|from|another)",
    rf"{_LET} (?:think differently|start over|backtrack)",
    r"instead, (?:let|i|we)",
    r"(?:maybe|perhaps) (?:i|we) (?:can|could|should)",
    r"suppose instead",
    r"approach(?:ing)? (?:this|it|the problem) (?:differently|from)",
  ),
}

# Allows up to three words between the denial and the phrase, within one clause.
_DENIED = re.compile(
  r"(?:\bno (?:need|reason|point|use)|\bneedn't|\bnever|\bwithout|\bunnecessary|\bnot necessary|\binstead of|\bcannot"
  r"|\brather than|\bnot going to|\b(?:isn't|is not) (?:necessary|needed)|\b(?:can't|won't)"
  r"|\b(?:do|does|did|have|has|had|need|should|would|will|could)(?:n't| not))"
  r"(?:[ \t]+(?!(?:so|but|then)\b)[\w']+){0,3}[ \t]+(?:an?[ \t]+)?$"
)
_BEGINS = re.compile(  # start of a line or clause, or a word of hesitation, then any marks of lists, emphasis, quotes
  r"(?:\n|[.!?,;:…)—–\]][\"'”*_)]*\s|-\s|\b(?:and|but|so|oh|no|ok|okay|well|actually|hm+)\s)\s*[>#*_\"'“(\[-]*\s*$"
)
_REACH = 60  # number of characters that are searched before a phrase


def _compile(phrases: Iterable[str]) -> re.Pattern[str]:
  """Returns one pattern for all phrases.

  Its matches start with the character before the phrase, which lets the search skip at full speed.
  """
  spaced = [phrase.replace(" ", r"\s+") for phrase in phrases]
  begins = "|".join(phrase[1:] for phrase in spaced if phrase[0] == "^") or "(?!)"
  anywhere = "|".join(phrase for phrase in spaced if phrase[0] != "^")
  return re.compile(rf"[^\w-](?:(?P<begins>{begins})|{anywhere})(?!\w)")


_PATTERNS = {kind: _compile(phrases) for kind, phrases in PHRASES.items()}
KINDS = tuple(PHRASES)

_FENCE = re.compile(r"```[ \t]*(\w*)[^\n`]*\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_PROMPT = re.compile(r"^[ \t]*>>>[ \t]*(.+)$", re.MULTILINE)
_CALL_LINE = re.compile(r"^[ \t]*(\w[\w.]*\(.*\))[ \t]*$", re.MULTILINE)
# Names that an expression may use and still run as it stands.
_BUILTINS = (
  "abs all any bin bool dict divmod enumerate filter float hex int len list map max min pow print range reversed"
)
_KNOWN = frozenset(f"{_BUILTINS} round set sorted str sum tuple zip math sympy Fraction gcd".split(" "))


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
  """Returns the text in lower case, on a new line, with plain apostrophes and hyphens."""
  return "\n" + text.lower().replace("’", "'").replace("‐", "-").replace("‑", "-")


def _find(kind: str, text: str) -> Iterator[str]:
  for match in _PATTERNS[kind].finditer(text):
    start = match.start() + 1
    before = max(0, start - _REACH)
    if _BEGINS.search(text, before, start) if match["begins"] else not _DENIED.search(text, before, start):
      yield match[0][1:]


def has_code(text: str) -> bool:
  """Returns True if `text` has a Python program or expression.

  A program is a code fence marked as Python, or a fence without a language whose body parses and calls, imports or
  assigns something. An expression stands in backticks, after `>>>`, or as a call on its own line. It must run as it
  stands: numbers and text with operators, or calls of Python's own functions. Any other formula (3 * 4 = 12) is
  mathematics, not code.
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
  """Returns True if `source` is an expression without unknown names that computes something.

  Args:
    call: True to accept only an expression with a call.
  """
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
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # warnings about a model's code would help nobody
      return ast.parse(source, mode=mode)
  except (SyntaxError, ValueError, RecursionError, MemoryError):  # not code, or too much for Python's parser
    return None


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
