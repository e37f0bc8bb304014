"""Finds programs in a response, which a model writes to verify an answer in mathematics."""

import ast
import itertools
import re
import warnings

from srpo_jax.rewards.format import FENCE, fence_language

_INLINE = re.compile(r"`([^`\n]+)`")
_PROMPT = re.compile(r"^[ \t]*(?:>>>|In \[\d+\]:|sage:)[ \t]*(.+)$", re.MULTILINE)
_CALL_LINE = re.compile(r"^[ \t]*(\w[\w.]*\(.*\))[ \t]*$", re.MULTILINE)
_LANGUAGES_TEXT = """
  python py python3 python2 ipython pycon sage sagemath c cpp c++ cc h csharp cs c# java javascript js jsx
  typescript ts go golang rust rs ruby rb perl php kotlin kt swift scala r julia jl matlab octave haskell hs ocaml
  ml fsharp f# lisp scheme racket clojure elixir erlang prolog lua bash sh shell zsh console sql gp pari gap maple
  mathematica wolfram maxima fortran pascal basic vb d nim zig dart cython awk bc powershell coq lean apl j asm
"""
_LANGUAGES = frozenset(_LANGUAGES_TEXT.split())
# Names that an expression may use and still run as it stands.
_BUILTINS = (
  "abs all any bin bool dict divmod enumerate filter float hex int len list map max min pow print range reversed"
)
_KNOWN = frozenset(f"{_BUILTINS} round set sorted str sum tuple zip math sympy Fraction gcd".split(" "))
_FUNCTIONS = frozenset({"abs", "max", "min", "pow", "round", "sum", "gcd"})  # mathematics writes these calls too

# Lines that only a program has, wherever they stand.
_CERTAIN = re.compile(
  r"^[ \t]*(?:from [A-Za-z_.][\w.]* import \w.*|import \w[\w.]*(?: as \w+)?(?:, ?\w+)*|(?:async )?def \w+\(.*\).*:.*"
  r"|class \w+(?:\(.*\))?:"
  r"|#include ?[<\"].*|using namespace \w+;|(?:int|void) main\(.*|public (?:static |class ).*|package \w+"
  r"|(?:function|func|fn) \w+\(.*\{|function \w+ = \w+\(.*\)|let rec \w+.*|(?:let|const|var) \w+(?: ?: ?\w+)? = .*;"
  r"|main = .*|use [\w:]+;"
  r"|(?:console\.log|printf|System\.out\.print\w*|fmt\.Print\w*|println!?|disp|fprintf|std::cout|cout ?<<).*"
  r"|for ?\((?:int|let|var|auto|\w+ in ).*|\$ (?:python3?|perl|ruby|node|gp|sage|bc|gcc|g\+\+|julia|octave|factor)\b.*"
  r"|\w+ = [\[(].* for \w[\w, ]* in .*[\])]|\w+(?:, ?\w+)* = \w[\w.]*\(['\"].*\)|(?:\w+ = )?[a-z]\w+\.\w+\(.*\)"
  r"|\w+ = (?:range|len|sorted|list|set|int|str|float|dict|zip|enumerate|Fraction)\(.*\)|(?:julia|ghci|octave:\d+"
  r"|irb.*)> ?\S.*|%\d+ = .*|(?:Sum|Solve|Table|FactorInteger|PrimeQ|Select|Reduce)\[.*\])[ \t]*$",
  re.MULTILINE,
)
_HEADER = re.compile(  # a block of Python: its first line and an indented statement
  r"^([ \t]*)(?:for [\w, ()]+ in .+|while .+|if .+|with .+|try):[ \t]*(?:#.*)?\n(?:[ \t]*\n)*\1[ \t]+"
  r"(?:[A-Za-z_][\w.\[\], ]*?(?:[-+*/%]|//|\*\*)?= ?\S|[A-Za-z_][\w.]*\(|return|break|continue|pass|if |for |while "
  r"|yield )",
  re.MULTILINE,
)
_STEP = re.compile(
  r"^[ \t]*(?:[A-Za-z_]\w* ?(?:[-+*]|//|\*\*)= ?\S.*|assert .+[=<>].*|while .+:"
  r"|\w+\(.*\);|(?:int|long|double|float"
  r"|auto|bool) \w+.*;|.+\{|\})[ \t]*$",
  re.MULTILINE,
)


def has_code(text: str) -> bool:
  """Returns True if `text` has a program, or an expression that runs.

  A program is a code fence in a programming language, any other block with statements, whether fenced or not, or a
  session of an interpreter. An expression stands in backticks, after `>>>`, or as a call on its own line. It must run
  as it stands: numbers and text with operators, or calls of Python's own functions. A call alone on a line that
  mathematics writes too is mathematics (gcd(12, 18)), as is any other formula (3 * 4 = 12, or x = 3 on its own line).
  """
  if "```" in text:
    if any(_is_program(fence_language(info), body) for info, body in FENCE.findall(text)):
      return True
    text = FENCE.sub("\n", text)
  if _has_statements(text):
    return True
  if any(map(_does, _PROMPT.findall(text))):
    return True
  return any(map(_runs, _INLINE.findall(text))) or any(_runs(line, call=True) for line in _CALL_LINE.findall(text))


def _is_program(language: str, body: str) -> bool:
  if language in _LANGUAGES:
    return bool(body.strip())
  if _has_statements(body) or any(map(_does, _PROMPT.findall(body))):
    return True
  tree = _parse(body, "exec")
  does = (ast.Call, ast.Import, ast.ImportFrom, ast.For, ast.While, ast.FunctionDef, ast.AugAssign)
  return tree is not None and any(isinstance(node, does) for node in ast.walk(tree))


def _has_statements(text: str) -> bool:
  """Returns True if a text has lines that only a program has."""
  if "(" not in text and "=" not in text and "import" not in text:
    return False
  if _CERTAIN.search(text) or _HEADER.search(text):
    return True
  steps = (
    [text.count("\n", 0, match.start()) for match in _STEP.finditer(text)] if ("= " in text or ";" in text) else []
  )
  return any(later - earlier == 1 for earlier, later in itertools.pairwise(steps))


def _does(source: str) -> bool:
  """Returns True if `source` is a statement of Python that does something."""
  tree = _parse(source.strip(), "exec")
  does = (ast.Call, ast.BinOp, ast.Compare, ast.Import, ast.ImportFrom, ast.Assign)
  return tree is not None and any(isinstance(node, does) for node in ast.walk(tree))


def _runs(source: str, *, call: bool = False) -> bool:
  """Returns True if `source` is an expression without unknown names that computes something.

  Args:
    call: True to accept only an expression with a call that mathematics does not write.
  """
  tree = _parse(source.strip(), "eval")
  if tree is None:
    return False
  nodes = list(ast.walk(tree))
  bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
  names = {node.id for node in nodes if isinstance(node, ast.Name)} - bound
  if not names <= _KNOWN:
    return False
  if not call:
    return any(isinstance(node, ast.Call | ast.BinOp | ast.Compare) for node in nodes)
  program = bool(names - _FUNCTIONS) or any(isinstance(node, ast.comprehension | ast.Attribute) for node in nodes)
  return program and any(isinstance(node, ast.Call) for node in nodes)


def _parse(source: str, mode: str) -> ast.AST | None:
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # warnings about a model's code would help nobody
      return ast.parse(source, mode=mode)
  except (SyntaxError, ValueError, RecursionError, MemoryError):  # not code, or too much for Python's parser
    return None
