r"""Repairs the LaTeX of JSON that a model wrote without doubling its backslashes.

JSON reads `"\frac{1}{2}"` as a form feed and `rac{1}{2}`, and refuses `"\sqrt{2}"`. Here a backslash that begins a
command of LaTeX is kept as a backslash. Other escapes keep their meaning in JSON.
"""

import re

# Commands that begin with one of the letters that JSON uses for an escape: b, f, n, r and t.
_COMMANDS_TEXT = """
  backepsilon backprime backsim backsimeq backslash bar barwedge because begin beta beth between bf bfseries big
  bigcap bigcirc bigcup Bigg bigg biggl biggm biggr bigl bigm bigodot bigoplus bigotimes bigr bigsqcup bigstar
  bigtriangledown bigtriangleup biguplus bigvee bigwedge binom blacklozenge blacksquare blacktriangle bm bmod
  boldsymbol bold bot bowtie Box box boxed boxdot boxminus boxplus boxtimes boxtext brace brack breve bullet bumpeq
  bra braket bcancel bbox fallingdotseq fbox fcolorbox flat footnotesize forall frac frak frown nabla natural ncong
  ne nearrow neg negmedspace negthickspace negthinspace neq newline nexists ngeq ngeqslant ngtr ni nleftarrow
  nLeftarrow nleftrightarrow nLeftrightarrow nleq nleqslant nless nmid nobreak nolimits nonumber norm normalsize not
  notag notin nparallel nprec npreceq nrightarrow nRightarrow nshortmid nsim nsubseteq nsucc nsucceq nsupseteq
  ntriangleleft ntriangleright nu nvdash nwarrow raise raisebox rangle rbrace rbrack rceil Re real reals ref
  restriction rfloor rgroup rho right rightarrow rightarrowtail rightharpoondown rightharpoonup rightleftarrows
  rightleftharpoons rightmoustache rightrightarrows rightsquigarrow rightthreetimes risingdotseq rlap rm root rtimes
  rule rvert rVert tag tan tanh tau tbinom text textbf textcolor textdegree textit textmd textnormal
  textperiodcentered textquotesingle textrm textsc textsf textsl textstyle textsuperscript textsubscript texttt
  textup tfrac tg therefore theta thickapprox thicksim thinspace tilde times tiny to top triangle triangledown
  triangleleft trianglelefteq triangleq triangleright trianglerighteq tt twoheadleftarrow twoheadrightarrow
"""
_COMMANDS = frozenset(_COMMANDS_TEXT.split())
_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|(?P<word>[A-Za-z]+)|(?P<mark>.))", re.DOTALL)


def double_backslashes(body: str) -> str:
  r"""Returns a JSON text in which every backslash of LaTeX is doubled, as JSON wants it.

  `\b`, `\f`, `\n`, `\r` and `\t` are LaTeX if the letters after the backslash spell a command (`\neq`, not `\nSo`).
  `\u` with four hexadecimal digits, `\"`, `\\` and `\/` are escapes. Any other backslash is LaTeX (`\sqrt`, `\{`).
  Where `\begin` is not doubled, `\\` ends a row and is doubled too. Linear in the length of the text.
  """
  rows = any(match["word"] == "begin" for match in _ESCAPE.finditer(body))
  return _ESCAPE.sub(lambda match: _doubled(match, rows), body)


def _doubled(match: re.Match[str], rows: bool) -> str:
  word, mark = match["word"], match["mark"]
  if word is not None:
    escape = word in ("u", "b", "f", "n", "r", "t") or (word[0] in "bfnrt" and word not in _COMMANDS)
    return match[0] if escape else "\\" + match[0]
  if mark == "\\":
    return "\\\\\\\\" if rows else match[0]
  return match[0] if mark is None or mark in '"/' else "\\" + match[0]
