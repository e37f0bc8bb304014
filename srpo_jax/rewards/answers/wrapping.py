r"""Removes what is wrapped around an answer, or broken in it, before it is split into tokens.

Data sets leave a box, a list of one or a comma around a gold answer. Models and scanners double backslashes, put
letters into `\mathbf{}` and write `\mathrm{e}` for the number e.
"""

import json
import re

_DOUBLED = re.compile(r"\\\\(?=[A-Za-z%${}!,;:|])")
_ENVIRONMENT = re.compile(r"\\begin\b")
_DOUBLED_ENVIRONMENT = re.compile(r"\\\\begin\b")
_LAST_BREAK = re.compile(r"(?:\\\\\s*)+$")
_PHANTOM = re.compile(r"\\[hv]?phantom\s*(?:\{[^{}]*\}|[^\s\\{}])")
_REALS = re.compile(r"\\mathbb\s*(?:\{\s*R\s*\}|R\b)|\\Reals\b|ℝ")
_QUOTED = re.compile(r"\s*(?:\"([^\"]*)\"|``([^'`]*)''|“([^”]*)”)\s*")
_LOOKS = re.compile(
  r"\\(?:mathbf|boldsymbol|bm|underline|mathit|mathsf)\s*\{(?:\s*([a-z])\s*|([^{}\\A-Za-z]*[0-9][^{}\\A-Za-z]*))\}"
)
_CONSTANT = re.compile(r"\\(?:mathrm|mathbf|mathit|mathsf|operatorname)\s*\{\s*([ei])\s*\}")
_FUNCTION = re.compile(r"\\operatorname\s*\{\s*(sin|cos|tan|cot|sec|csc|ln|log|lg|exp|arcsin|arccos|arctan)\s*\}")
_EXTREMUM = re.compile(
  r"(?:\b(?:local|absolute|relative|global)\s+)?\\?\b(max|min)(?:imum|ima)?\b[.\s~$]*(?:(?:at|:)[\s$~]*(?:x\s*=)?|(?=\())"
)
_EXTREMUM_TEXT = re.compile(r"\\text\s*\{\s*((?:local\s+)?(?:max|min)(?:imum|ima)?\.?(?:\s+at)?)\s*\}")
_LABEL = re.compile(r"\b(domain|range|tip|length|center|vertex|focus|amplitude|period|slope)\s*:", re.IGNORECASE)
_FOR_ALL = re.compile(
  r"[,\s]*\$?\s*\b(?:for|where)\s+(?:all|any|every|some|each)?\s*(?:integers?|real numbers?|natural numbers?|reals)\s*"
  r"\$?\s*[a-z](?:\s*,\s*[a-z])?\s*\$?\s*\.?\s*$"
)
_SOLUTION = re.compile(r"^\s*(?:the\s+)?(?:general\s+)?solutions?(?:\s+set)?\s*(?:is|are)\s*:?", re.IGNORECASE)
_LINES = re.compile(r"\$\s*\n+\s*\$")
_QUAD = re.compile(r"\\q?quad\b")
_BOXED = re.compile(r"\s*\$*\s*\\(?:boxed|fbox)\s*\{(.*)\}\s*\.?\s*\$*\s*", re.DOTALL)
_TRAILING = re.compile(r"[\s,;]+$")


def unwrapped(text: str) -> str:
  """Returns a text without quotes, doubled backslashes and commands that only change its looks."""
  quoted = _QUOTED.fullmatch(text)
  if quoted:
    text = quoted[1] or quoted[2] or quoted[3] or ""
  text = text.replace("<=", r"\le ").replace(">=", r"\ge ")
  if "\\" not in text:
    return _statements(text).replace("ℝ", r"\reals ")
  if "\\\\" in text:
    text = _undoubled(text)
  text = _statements(_PHANTOM.sub(" ", text))
  text = _CONSTANT.sub(r"\1 ", _FUNCTION.sub(r"\\\1 ", text))
  text = _LOOKS.sub(lambda found: f"{found[1]} " if found[1] else f"{{{found[2]}}}", text)
  return _REALS.sub(r"\\reals ", text)


def _statements(text: str) -> str:
  """Rewrites statements in words as equations and lists: `min at x=1`, `domain: [0,1]`, one equation a line."""
  text = _SOLUTION.sub("", _FOR_ALL.sub("", text)).strip()
  text = _EXTREMUM_TEXT.sub(r"\1 ", text)
  text = _EXTREMUM.sub(r" \\text{\1} = ", text)
  text = _LABEL.sub(lambda label: rf" \text{{{label[1].lower()}}} = ", text)
  text = _LINES.sub("$, $", text)
  pieces = _QUAD.split(text)
  if len(pieces) > 1 and all("=" in piece for piece in pieces):
    text = ", ".join(piece.strip().rstrip(",;") for piece in pieces)
  if "\\mid" in text and "\\{" not in text:
    text = text.replace("\\mid", "|")
  return text


def _undoubled(text: str) -> str:
  r"""Halves doubled backslashes, `\\frac`, unless they end the rows of an environment. Removes a last line break."""
  if _DOUBLED_ENVIRONMENT.search(text):
    return text.replace("\\\\", "\\")
  if not _ENVIRONMENT.search(text):
    text = _DOUBLED.sub(r"\\", _LAST_BREAK.sub("", text))
  return _LAST_BREAK.sub("", text)


def unwrapped_gold(text: str) -> str:
  r"""Returns a gold answer without a box, a JSON list of one, and a comma at its end."""
  text = _TRAILING.sub("", text.strip())
  if text.startswith("[") and text.endswith("]"):
    text = _only_item(text)
  boxed = _BOXED.fullmatch(text)
  if boxed and _balanced(boxed[1]):
    return boxed[1]
  return text


def _only_item(text: str) -> str:
  """Returns the text in a list such as `["34"]` or `['34']`, or `text` itself if it is another list."""
  try:
    items = json.loads(text)
  except (ValueError, RecursionError):
    single = re.fullmatch(r"\[\s*'([^']*)'\s*\]", text)
    return single[1] if single else text
  return items[0] if isinstance(items, list) and len(items) == 1 and isinstance(items[0], str) else text


def _balanced(text: str) -> bool:
  """Returns True if every brace in the text closes, so that the text lies in one group."""
  depth = 0
  for character in re.sub(r"\\[{}]", "", text):
    depth += (character == "{") - (character == "}")
    if depth < 0:
      return False
  return depth == 0
