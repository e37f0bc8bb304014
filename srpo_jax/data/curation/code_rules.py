"""Rules that drop programming tasks which the sandbox cannot run, or whose tests cannot tell right from wrong.

A rule looks at the wording of a task and at its reference program. It is a pure function that returns the text that it
matched, or None.
"""

import ast
import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping, Sequence

from srpo_jax.data.curation.candidate import Candidate
from srpo_jax.rewards.cases import imported_modules

FLAGS = re.IGNORECASE | re.DOTALL

# Many tasks begin with "Write a function ... file", so "write" counts only if it is followed by "to" or "into" a file.
# File names may be plain data, so they do not count.
_KIND = r"(?:(?:text|csv|json|input|output|given|temporary|binary|log)\s+)*"
_NOT_A_NAME = r"(?!\s*(?:names?|extensions?|types?|sizes?|suffix|formats?)\b)"
_FILES = re.compile(
  rf"\b(?:read|open|load|parse|append|copy|delete|save|process)(?:s|es|ing)?\s+(?:\w+\s+){{0,4}}?(?:a|an|the|each|from)\s+{_KIND}files?\b{_NOT_A_NAME}"
  rf"|\bwrit(?:e|es|ten|ing)\s+(?:\w+\s+){{0,4}}?(?:to|into)\s+(?:a|an|the)\s+{_KIND}files?\b{_NOT_A_NAME}"
  r"|\bfile\s+(?:system|on\s+disk)\b|(?<!['\"\w./-])\w+\.(?:txt|csv|dat|xlsx?)\b(?!['\"(])|\b(?:input\.in|output\.out)\b"
  r"|\b(?:list|create|delete|walk)\w*\s+(?:\w+\s+){0,3}?(?:directory|folder)\b",
  FLAGS,
)
_NETWORK = re.compile(
  r"\bhttp\s+(?:request|get|post|server|client)s?\b|\b(?:download|fetch|scrape|crawl)\w*\s+(?:\w+\s+){0,4}?(?:url|web\s*(?:site|page)|internet|api)\b"
  r"|\b(?:tcp|udp|web)\s*sockets?\b|\bsocket\s+(?:connection|server|client)\b|\bweb\s+server\b|\brest\s+api\b|\bapi\s+(?:call|endpoint)s?\b",
  FLAGS,
)
_ENVIRONMENT = re.compile(
  r"\benvironment\s+variables?\b|\bcommand[- ]line\s+(?:argument|option|parameter)s?\b|\bsys\.argv\b|\bos\.environ\b"
  r"|\b(?:current|today'?s)\s+(?:system\s+)?(?:date|time|working\s+directory|user|timestamp)\b"
  r"|\b(?:pip|apt|conda)\s+install\b|\bshell\s+command\b|\bsub-?process\b|\b(?:generate|return|pick|choose)\w*\s+(?:a\s+)?random(?:ly)?\b",
  FLAGS,
)
_INTERACTIVE = re.compile(
  r"\binteractive\s+(?:problem|task|protocol)\b|\binteract(?:or|ion\s+(?:protocol|ends|begins))\b"
  r"|\bflush(?:ing)?\s+(?:the\s+|your\s+)?(?:output|buffer|stdout)\b|\bfflush\b|\bsys\.stdout\.flush\b"
  r"|\b(?:ask|prompt)\w*\s+the\s+user\s+(?:to|for)\b|\byou\s+(?:can|may)\s+(?:make|ask)\s+(?:at\s+most\s+)?\S+\s+quer(?:y|ies)\b",
  FLAGS,
)
_SEVERAL = re.compile(
  r"\bif\s+(?:there\s+(?:are|is|exist)|multiple|several)\s+(?:(?:multiple|several|many|more\s+than\s+one|various|different|possible|correct|valid|optimal|such)\s*)+"
  r"[\w\s]{0,40}?(?:answer|solution|way|output|sequence|option|string|array|number|permutation|construction)s?\b[^.]{0,80}?"
  r"\b(?:print|output|return|any|choose|find|you)\b"
  r"|\b(?:print|output|return|find|choose)\s+any\s+(?:one\s+)?of\s+(?:them|these|the\s+(?:answers|solutions))\b"
  r"|\bany\s+(?:valid|correct|possible|such|suitable)\s+(?:answer|solution|output|sequence|arrangement)s?\b"
  r"|\bany\s+of\s+(?:them|these)\s+(?:is|are|will\s+be|would\s+be)\s+(?:accepted|correct|fine|ok(?:ay)?)\b"
  r"|\byou\s+(?:can|may)\s+(?:print|output|return)\s+(?:\w+\s+){0,3}?(?:any|in\s+any\s+order|arbitrary)\b",
  FLAGS,
)
_ANY_ORDER = re.compile(r"\bin\s+(?:any|arbitrary)\s+order\b", FLAGS)

FILE_MODULES = frozenset(
  (
    "os",
    "pathlib",
    "shutil",
    "glob",
    "tempfile",
    "fileinput",
    "zipfile",
    "tarfile",
    "csv",
    "sqlite3",
    "shelve",
    "dbm",
    "mmap",
  )
)
NETWORK_MODULES = frozenset(
  (
    "socket",
    "ssl",
    "http",
    "urllib",
    "requests",
    "ftplib",
    "smtplib",
    "imaplib",
    "poplib",
    "telnetlib",
    "socketserver",
    "xmlrpc",
    "aiohttp",
    "httpx",
  )
)
ENVIRONMENT_MODULES = frozenset(
  (
    "subprocess",
    "platform",
    "getpass",
    "pwd",
    "grp",
    "resource",
    "signal",
    "multiprocessing",
    "threading",
    "ctypes",
    "importlib",
    "builtins",
  )
)
_ENVIRONMENT_NAMES = frozenset(
  {"sys.argv", "os.environ", "os.getenv", "os.getcwd", "datetime.now", "datetime.today", "date.today", "time.time",
   "datetime.datetime.now", "datetime.datetime.today", "datetime.date.today", "datetime.utcnow", "time.localtime"}
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Program:
  """Summary of the names that a program uses.

  Attributes:
    imports: imported modules.
    calls: name -> source text of the first call, for `open` and `input`.
    attributes: attributes in the form `a.b`.
  """

  imports: tuple[str, ...]
  calls: Mapping[str, str]
  attributes: tuple[str, ...]


Rule = Callable[[Candidate, Program | None], str | None]


def files(candidate: Candidate, program: Program | None) -> str | None:
  """Matches tasks that read or write files."""
  return _imported(program, FILE_MODULES) or _called(program, "open") or _in_question(_FILES, candidate)


def network(candidate: Candidate, program: Program | None) -> str | None:
  """Matches tasks that use the network."""
  return _imported(program, NETWORK_MODULES) or _in_question(_NETWORK, candidate)


def environment(candidate: Candidate, program: Program | None) -> str | None:
  """Matches tasks that depend on the machine, the time or chance."""
  return (
    _imported(program, ENVIRONMENT_MODULES)
    or _attribute(program, _ENVIRONMENT_NAMES)
    or _in_question(_ENVIRONMENT, candidate)
  )


def interactive(candidate: Candidate, program: Program | None) -> str | None:
  """Matches tasks that interact with a judge or a user.

  A call of `input` is fine if the tests provide standard input.
  """
  asks = _called(program, "input") if (candidate.problem.tests or {}).get("type") != "stdin" else None
  return asks or _in_question(_INTERACTIVE, candidate)


def several_answers(candidate: Candidate, program: Program | None) -> str | None:
  """Matches tasks that accept several answers although their tests expect one.

  Tasks with a checker pass. So do tasks whose assert statements check loosely, for example by comparing sets.
  """
  tests = candidate.problem.tests or {}
  if tests.get("checker"):
    return None
  if tests.get("type") == "assert":
    return None if _asserts_loosely(tests) else _in_question(_SEVERAL, candidate)
  return _in_question(_SEVERAL, candidate) or _in_question(_ANY_ORDER, candidate)


RULES: Mapping[str, Rule] = {
  "files": files,
  "network": network,
  "environment": environment,
  "interactive": interactive,
  "several_answers": several_answers,
}


def first_rule(candidate: Candidate, names: Sequence[str], program: Program | None) -> tuple[str, str] | None:
  """Returns the first of the named rules that matches and the text that it matched, or None."""
  for name in names:
    matched = RULES[name](candidate, program)
    if matched is not None:
      return name, matched
  return None


def parse(program: str | None) -> Program | None:
  """Returns the summary of a reference program, or None if there is no program.

  Raises:
    SyntaxError: the program is not valid Python.
    ValueError: the parser refuses the program, for example because it is nested too deeply.
  """
  if program is None:
    return None
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
      return _summary(ast.parse(program))
    except (RecursionError, MemoryError) as error:
      raise ValueError(f"too deep: {type(error).__name__}") from None


def _in_question(pattern: re.Pattern[str], candidate: Candidate) -> str | None:
  match = pattern.search(candidate.problem.question)
  return match.group() if match else None


def _summary(tree: ast.Module) -> Program:
  imports: list[str] = []
  calls: dict[str, str] = {}
  attributes: list[str] = []
  for node in ast.walk(tree):
    if isinstance(node, (ast.Import, ast.ImportFrom)):
      imports += imported_modules(node)
    elif isinstance(node, ast.Attribute):
      attributes.append(ast.unparse(node))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "input"):
      calls.setdefault(node.func.id, ast.unparse(node))
  return Program(tuple(imports), calls, tuple(attributes))


def _imported(program: Program | None, modules: frozenset[str]) -> str | None:
  return next((f"import {name}" for name in program.imports if name in modules), None) if program else None


def _called(program: Program | None, name: str) -> str | None:
  return program.calls.get(name) if program else None


def _attribute(program: Program | None, names: frozenset[str]) -> str | None:
  return next((name for name in program.attributes if name in names), None) if program else None


def _asserts_loosely(tests: Mapping[str, object]) -> bool:
  cases = tests.get("cases")
  return isinstance(cases, Sequence) and all(
    isinstance(case, str) and re.search(r"\b(?:set|sorted|Counter|any|all|in)\b", case) for case in cases
  )
