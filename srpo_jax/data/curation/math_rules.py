r"""Rules that drop math questions which no rule reward can judge, or which refer to something that is missing.

A rule is a pure function from a text to the part that it matched, or None. The rules match the phrasing of such
questions, not single words. A picture on a wall, a show that starts at eight, or conditions numbered (i) and (ii) pass.
"""

import re
from collections.abc import Callable, Mapping, Sequence

Rule = Callable[[str], str | None]
FLAGS = re.IGNORECASE | re.DOTALL

_FIGURE = r"(?:figure|diagram|picture|image|graph|drawing|illustration|sketch|chart|map)"
# If a text, a formula or lines of numbers follow "shown below", nothing is missing.
_NOT_TEXT = r"(?![^.:\n]{0,60}[.:]?\s*(?:\n\s*(?!\[asy|!\[|<img)\S|\\\[|\$\$|\\begin\{(?!asy|tikz|figure|picture)))"
_IMAGE = re.compile(
  r"!\[[^\[\]]*\]\(|<img\b|\\includegraphics|\[/?asy\]|\\begin\{(?:asy|tikzpicture|figure|picture)\}"
  rf"|\b(?:as|is|are)\s+(?:shown|illustrated|depicted|pictured|drawn|given|indicated)\s+(?:\w+\s+)?(?:in|on|by)\s+the\s+"
  rf"(?:\w+\s+)?{_FIGURE}\b(?!\s+of\s+(?:a\s+|the\s+)?(?:function|equation|\$|y\b|f\b))"
  rf"|\b(?:shown|illustrated|depicted|pictured)\s+in\s+(?:the\s+)?{_FIGURE}\b"
  rf"|\b(?:shown|illustrated|depicted|pictured)\s+(?:below|above|at\s+(?:the\s+)?(?:right|left)|here)\b{_NOT_TEXT}"
  r"|\bas\s+shown(?=\s*(?:[.,;?!)]|\Z))"
  rf"|\b{_FIGURE}\s+(?:shown\s+)?(?:below|above|at\s+(?:the\s+)?(?:right|left)|here)\b"
  rf"|\b(?:in|from|using|to|see|on)\s+(?:the\s+)?(?:accompanying|adjacent|adjoining|attached|following|given)\s+{_FIGURE}\b"
  r"|\b(?:in|from|see|refer(?:ring)?\s+to)\s+the\s+(?:figure|diagram)\b(?!\s+of\b)"
  r"|\(\s*(?:see\s+)?(?:fig(?:ure)?\.?|diagram)\s*[0-9]*\s*\)|(?-i:\bFig\.|\bFigure|\bDiagram)\s*[0-9]"
  r"|\bthe\s+(?:figure|diagram)\s+(?:shows|represents|illustrates|depicts|consists)\b"
  r"|如[下右左上]?图|[下右左上]图|图[中示所]|见图",
  FLAGS,
)
_TABLE = re.compile(
  r"<table\b|\\begin\{(?:tabular|table)\*?\}|\\begin\{array\}\s*(?:\[[a-z]\])?\s*\{[^{}]*\|[^{}]*\}"
  r"|^\s*\|.*\|\s*\n\s*\|[\s:|-]*-[\s:|-]*\|"
  r"|\btable\s+(?:shown\s+)?(?:below|above)\b|\b(?:following|accompanying|given)\s+table\b(?!\s+of\s+contents)"
  r"|\b(?:shown|listed|given)\s+in\s+(?:the|this)\s+table\b|下表|如表|表中",
  FLAGS | re.MULTILINE,
)
_START = r"(?:\A|[.!?;:,\n$)\]]\s*|\b(?:and|then|also|to|or|and\s+hence|hence)\s+)(?:\*\*)?"
_PROOF = re.compile(
  rf"{_START}(?:(?:please\s+)?(?:prove|disprove)\b(?!\w)|(?:show|demonstrate|verify)\s+that\b|justify\s+your\b"
  r"|give\s+a\s+proof\b)|\bprove\s+(?:that|or\s+disprove|the\s+following)\b|求证|试证|证明[:：]|请证明",
  FLAGS,
)
# "Show that" must be an instruction. After "to", "or", "and" or a comma, "show" may be a noun or part of a statement.
_NOT_AN_ORDER = re.compile(r"\b(?:to|or|and|,)\s*(?:show|demonstrate|verify)\s+that\b", FLAGS)
_ASK = (
  r"(?:(?:find|determine|what|how|compute|calculate|evaluate|prove|show|solve|write|draw|sketch|express|state|is|are|does|"
  r"which|who|when|where|why|give|list|explain|describe|estimate|simplify|factor|expand|graph)\b|求|证明|计算|写出|若|当)"
)
_PART_MARKS: Sequence[tuple[str, ...]] = (
  (r"\(a\)", r"\(b\)"), (r"\(1\)", r"\(2\)"), (r"\(i\)", r"\(ii\)"), (r"(?<![\w(])a\)", r"(?<![\w(])b\)"),
  (r"(?<![\w(])i\)", r"(?<![\w(])ii\)"), (r"（1）", r"（2）"),
  (r"\bPart\s+\(?[aA1I]\)?[.:]?", r"\bPart\s+\(?(?:[bB2]|II)\)?[.:]?"), (r"①", r"②"),
  (r"(?:^|\n)\s*a\.", r"\n\s*b\."), (r"(?:^|\n)\s*1[.)]", r"\n\s*2[.)]"),
)  # fmt: skip
_PARTS = [
  re.compile(rf"(?:{first})\s*\**\s*(?:\$\s*)?(?:{_ASK}|[^?？]{{0,400}}?[?？]).{{0,2000}}?(?:{second})\s*\**\s*"
             rf"(?:{_ASK}|[^?？]{{0,400}}[?？])", FLAGS)
  for first, second in _PART_MARKS
]  # fmt: skip
_OPTION_MARKS: Sequence[re.Pattern[str]] = (
  re.compile(r"\(A\).{1,600}?\(B\).{1,600}?\(C\)", re.DOTALL),
  re.compile(r"（A）.{1,600}?（B）.{1,600}?（C）", re.DOTALL),
  re.compile(r"\\text(?:bf|rm|it|sf)?\s*\{\s*\(?A[).]?.{1,600}?\\text(?:bf|rm|it|sf)?\s*\{\s*\(?B[).]?.{1,600}?"
             r"\\text(?:bf|rm|it|sf)?\s*\{\s*\(?C[).]?", re.DOTALL),
  re.compile(r"(?:^|\s)A[.．)、:]\s*\S.{0,600}?\sB[.．)、:]\s*\S.{0,600}?\sC[.．)、:]\s*\S", re.DOTALL),
)  # fmt: skip
_WHICH = re.compile(
  r"\bwhich\s+(?:one\s+)?(?:of\s+)?(?:the\s+)?(?:following|options?|choices?)\b|下列.{0,30}的是|选择题", FLAGS
)
_BLANK = re.compile(
  r"(?<![\\\w{])_{3,}|(?:\\_\s*){2,}|\\(?:underline|underset\{\})\s*\{\s*(?:\\(?:hspace\*?\s*\{[^{}]*\}|q?quad|hphantom\{[^{}]*\}|"
  r"phantom\{[^{}]*\}|text\{\s*\}|[ ,;:!]|_)\s*|~)*\s*\}"
  r"|\bfill\s+in\s+the\s+blanks?\b|（[\s\u3000]*）|\(\s{2,}\)|＿{2,}|填空",
  FLAGS,
)


def image(text: str) -> str | None:
  """Matches questions that refer to a picture or draw one."""
  return _found(_IMAGE, text)


def table(text: str) -> str | None:
  """Matches questions that hold a table or refer to one. A matrix is not a table."""
  return _found(_TABLE, text)


def proof(text: str) -> str | None:
  """Matches questions that ask for a proof."""
  match = _PROOF.search(text)
  if match is None or (_NOT_AN_ORDER.search(match.group()) and not re.search(r"prove", match.group(), FLAGS)):
    return None
  return match.group()


def multi_part(text: str) -> str | None:
  """Matches questions with several numbered or lettered parts to answer."""
  return next((match.group() for pattern in _PARTS if (match := pattern.search(text))), None)


def multiple_choice(text: str) -> str | None:
  """Matches questions that list options, or that ask which of the following holds."""
  for pattern in _OPTION_MARKS:
    match = pattern.search(text)
    if match:
      return match.group()
  return _found(_WHICH, text)


def blank(text: str) -> str | None:
  """Matches questions with a blank to fill."""
  return _found(_BLANK, text)


# A rule is tried only on texts that contain one of its hints. A plain search is many times faster than the patterns.
RULES: Mapping[str, tuple[Rule, tuple[str, ...]]] = {
  "image": (image, ("figure", "diagram", "picture", "image", "graph", "drawing", "illustrat", "sketch", "chart", "map",
                    "asy]", "{asy", "tikz", "![", "<img", "shown", "pictured", "depicted", "fig.", "图")),
  "table": (table, ("table", "tabular", "array}", "|", "表")),
  "proof": (proof, ("prove", "show that", "demonstrate that", "verify that", "justify", "proof", "证")),
  "multi_part": (multi_part, ("b)", "(2)", "ii)", "part", "（2）", "②", "b.", "2.", "2)")),
  "multiple_choice": (multiple_choice,
                      ("(c)", "（c）", "\\text", "c.", "c)", "c．", "c、", "c:", "which", "下列", "选择")),
  "blank": (blank, ("__", "\\_", "underline", "underset", "blank", "（", "(  ", "＿", "填空")),
}  # fmt: skip


def first_rule(text: str, names: Sequence[str]) -> tuple[str, str] | None:
  """Returns the first of the named rules that matches and the text that it matched, or None."""
  lowered = text.lower()
  for name in names:
    rule, hints = RULES[name]
    for hint in hints:
      if hint in lowered:
        matched = rule(text)
        if matched is not None:
          return name, matched
        break
  return None


def _found(pattern: re.Pattern[str], text: str) -> str | None:
  match = pattern.search(text)
  return match.group() if match else None
