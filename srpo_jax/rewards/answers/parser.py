r"""Parses tokens as one scalar expression and refuses expressions that would be slow to compute.

    expression := [sign] term { sign term }
    term       := factor { [times | "/"] factor }
    factor     := atom [ "^" argument ] { "!" }
    atom       := number | mixed number | symbol | "(" expression ")" | "{" expression "}" | "|" expression "|"
                  | \frac, \binom argument argument | \sqrt [ "[" expression "]" ] argument
                  | function [ "^" argument ] [ "_" argument ] operand

The grammar needs one token of lookahead, no token is read twice, and nesting is bounded. The time is therefore linear
in the number of tokens.
"""

from collections import Counter
from fractions import Fraction

from srpo_jax.rewards.answers.expression import Expression, Node, symbols
from srpo_jax.rewards.answers.factors import base_name, holds_fraction, integer, is_fraction, role
from srpo_jax.rewards.answers.latex import FUNCTIONS, Token, Unreadable, names
from srpo_jax.rewards.answers.mixed import mixed_fraction
from srpo_jax.rewards.answers.powers import check_power

MAX_DEPTH = 24  # levels of nesting
MAX_SERIES_DEPTH = 2  # levels of nested sums and products
MAX_FACTORIAL = 2500  # the largest argument of a factorial or a binomial
_GREEK = names(
  r"\alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \kappa \lambda \mu \nu \xi \rho \sigma \tau \phi"
  r" \varphi \chi \psi \omega \Omega \ell \Gamma \Delta \Theta \Lambda \Xi \Sigma \Phi \Psi \upsilon"
)
_ACCENTS = names(r"\bar \hat \tilde \vec \dot \overline \overrightarrow \widehat")
_MATCHING = {"(": ")", "{": "}", "[": "]"}
_SHAPES = names(r"\triangle \angle")
_SERIES = {"\\sum": "series", "\\prod": "product"}
_DOTS = names(r"\cdots \ldots \dots")
_ROUNDED = {"\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_DEGREE = Node("div", (Node("symbol", name="\\pi"), Node("number", value=Fraction(180))))


def parse(found: list[Token]) -> Expression:
  """Parses all of `found` as one scalar expression. Linear in the number of tokens.

  Raises:
    Unreadable: the tokens are not one expression, or it would be slow to compute.
  """
  parser = _Parser(found)
  tree = parser.expression()
  if parser.here is not None:
    raise Unreadable(f"unexpected {parser.here.text!r}")
  return Expression(tree, parser.operations)


class _Parser:
  def __init__(self, found: list[Token]):
    self._tokens = list(found)  # `_argument` splits numbers in place
    self._position = 0
    self._depth = 0
    self._series_depth = 0
    self._in_absolute = False  # True between bars, where the next bar closes
    self.operations: Counter[str] = Counter()

  @property
  def here(self) -> Token | None:
    return self._tokens[self._position] if self._position < len(self._tokens) else None

  def _is(self, text: str) -> bool:
    here = self.here
    return here is not None and here.text == text and here.kind in ("symbol", "command")

  def _next(self) -> Token:
    here = self.here
    if here is None:
      raise Unreadable("incomplete")
    self._position += 1
    return here

  def _expect(self, text: str) -> None:
    if not self._is(text):
      raise Unreadable(f"no {text!r} where one is needed")
    self._position += 1

  def expression(self) -> Node:
    self._depth += 1
    if self._depth > MAX_DEPTH:
      raise Unreadable("nested too deep")
    terms = [self._signed_term(first=True)]
    while self._is("+") or self._is("-"):
      self.operations["sum"] += 1
      terms.append(self._signed_term(first=False))
    self._depth -= 1
    return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

  def _signed_term(self, *, first: bool) -> Node:
    if self._is("+"):
      self._position += 1
      return self._term()
    if not self._is("-"):
      return self._term()
    self._position += 1
    self.operations["minus"] += 1
    term = self._term()
    if first and term.kind == "add":
      self.operations["bracket"] += 1
    return Node("neg", (term,))

  def _term(self) -> Node:
    factors = [self._factor()]
    divided = False
    while (here := self.here) is not None:
      if here.text == "\\cdot":
        self._position += 1
        factors.append(self._factor())
      elif here.text == "|" and not self._in_absolute:
        factors.append(self._factor())
      elif here.text == "/" and here.kind == "symbol":
        if divided:
          raise Unreadable("ambiguous division")
        self._position += 1
        factors = [self._divided(self._product(factors), self._factor())]
        divided = True
      elif self._starts_atom(here):
        if divided:
          raise Unreadable("ambiguous division")
        factors.append(self._factor())
      else:
        break
    return self._product(factors)

  def _starts_atom(self, token: Token) -> bool:
    if token.kind in ("number", "letter"):
      return True
    if token.kind == "symbol":
      return token.text in _MATCHING
    return token.kind == "command" and _starts_value(token.text)

  def _product(self, factors: list[Node]) -> Node:
    """Builds a product. A coefficient times roots and symbols is a value. Any other product counts as unevaluated."""
    if len(factors) == 1:
      return factors[0]
    kinds = Counter(role(factor) for factor in factors)
    bases = Counter(base_name(factor) for factor in factors)
    self.operations["product"] += max(0, kinds["number"] - 1) + max(0, kinds["root"] - 1)
    self.operations["product"] += sum(count - 1 for name, count in bases.items() if name)
    self.operations["bracket"] += kinds["sum"]
    return Node("mul", tuple(factors))

  def _divided(self, top: Node, bottom: Node) -> Node:
    numerator, denominator = integer(top), integer(bottom)
    if denominator == 0:
      raise Unreadable("division by zero")
    if numerator is not None and denominator is not None:
      value = Fraction(numerator, denominator)
      self.operations["computed fraction" if value.denominator == 1 else "fraction literal"] += 1
      return Node("number", value=value)
    if holds_fraction(top) or holds_fraction(bottom):
      self.operations["nested fraction"] += 1
    self.operations["fraction"] += 1
    if top.kind == "add":
      self.operations["fraction of a sum"] += 1
    return Node("div", (top, bottom))

  def _factor(self) -> Node:
    base = self._atom()
    if self._degrees():
      base = Node("mul", (base, _DEGREE))
    if self._is("^"):
      self._position += 1
      base = self._power(base, self._argument(whole_number=True))
    while self._is("!"):
      self._position += 1
      base = self._factorial(base)
    return base

  def _degrees(self) -> bool:
    """Skips a degree sign inside an expression, as in `\\cos(6^\\circ)`. Returns True if there was one."""
    texts = [token.text for token in self._tokens[self._position : self._position + 4]]
    for sign in (["\\degree"], ["^", "\\degree"], ["^", "{", "\\degree", "}"]):
      if texts[: len(sign)] == sign:
        self._position += len(sign)
        return True
    return False

  def _power(self, base: Node, exponent: Node) -> Node:
    if self._is("^"):
      raise Unreadable("a power of a power without braces")
    self.operations["root" if is_fraction(exponent) else "power"] += 1
    check_power(base, exponent)
    return Node("pow", (base, exponent))

  def _factorial(self, base: Node) -> Node:
    value = 0 if symbols(base) else integer(base)
    if value is None or not 0 <= value <= MAX_FACTORIAL:
      raise Unreadable("a factorial too large to compute")
    self.operations["factorial"] += 1
    return Node("factorial", (base,))

  def _argument(self, *, whole_number: bool = False) -> Node:
    r"""Reads the argument of a command: a group or a single sign.

    Like TeX, this takes only one digit of a number: `\frac12` is one half. `whole_number` takes all of its digits,
    because `x^10` means the tenth power.
    """
    if self._is("{"):
      return self._group()
    here = self.here
    if whole_number and self._is("-"):
      self._position += 1
      self.operations["minus"] += 1
      return Node("neg", (self._argument(),))
    if here is None or here.kind != "number":
      return self._atom()
    if not here.text.isdigit():
      raise Unreadable("a decimal as argument without braces")
    taken, rest = (here.text, "") if whole_number else (here.text[0], here.text[1:])
    if rest:
      self._tokens[self._position] = Token("number", rest)
    else:
      self._position += 1
    return Node("number", value=Fraction(taken))

  def _group(self) -> Node:
    closer = _MATCHING[self._next().text]
    inside = self.expression()
    self._expect(closer)
    return inside

  def _atom(self) -> Node:
    token = self.here
    if token is None:
      raise Unreadable("incomplete")
    if token.kind == "number":
      return self._number()
    if token.kind == "letter":
      self._position += 1
      return Node("symbol", name=token.text + self._subscript())
    if token.kind == "symbol" and token.text in _MATCHING:
      if token.text == "[" and not self._holds_bracket():
        raise Unreadable("square brackets around no other brackets")
      return self._group()
    if self._is("|"):
      return self._absolute()
    if token.kind == "command":
      return self._command(self._next().text)
    raise Unreadable(f"unexpected {token.text!r}")

  def _holds_bracket(self) -> bool:
    """Returns True if the square bracket that opens here has round ones in it, as in `x[(a+b)c+d]`."""
    for token in self._tokens[self._position + 1 :]:
      if token.text in ("(", "]"):
        return token.text == "("
    return False

  def _number(self) -> Node:
    token = self._next()
    value = Fraction(token.text)
    if "." in token.text or "/" in token.text:
      if value.denominator != 1:
        self.operations["decimal"] += 1
      return Node("number", value=value)
    mixed = mixed_fraction(self._tokens, self._position)
    if mixed is None:
      return Node("number", value=value)
    fraction, self._position = mixed
    if not 0 < fraction < 1:
      raise Unreadable("neither a mixed number nor a product")
    self.operations["fraction literal"] += 1
    return Node("number", value=value + fraction)

  def _subscript(self) -> str:
    if not self._is("_"):
      return ""
    self._position += 1
    if not self._is("{"):
      token = self._next()
      if token.kind not in ("number", "letter"):
        raise Unreadable("a subscript that is no name")
      return "_" + token.text
    self._position += 1
    name = "_"
    while not self._is("}"):
      token = self._next()
      if token.kind not in ("number", "letter", "word", "text"):
        raise Unreadable("a subscript that is no name")
      name += token.text
    self._position += 1
    return name

  def _absolute(self) -> Node:
    self._position += 1
    self.operations["absolute value"] += 1
    outside, self._in_absolute = self._in_absolute, True
    inside = self.expression()
    self._in_absolute = outside
    self._expect("|")
    return Node("abs", (inside,))

  def _command(self, name: str) -> Node:
    self._depth += 1
    if self._depth > MAX_DEPTH:
      raise Unreadable("nested too deep")
    node = self._known_command(name)
    self._depth -= 1
    return node

  def _known_command(self, name: str) -> Node:
    if name == "\\pi":
      return Node("symbol", name=name)
    if name in _GREEK:
      return Node("symbol", name=name + self._subscript())
    if name == "\\frac":
      top = self._argument()
      return self._divided(top, self._argument())
    if name == "\\sqrt":
      return self._root()
    if name == "\\binom":
      return self._binomial()
    if name in _ROUNDED:
      self.operations["rounding"] += 1
      inside = self.expression()
      self._expect(_ROUNDED[name])
      return Node("call", (inside,), name="floor" if name == "\\lfloor" else "ceil")
    if name in _SHAPES:
      return Node("symbol", name=name + self._shape())
    if name in _SERIES:
      return self._series(_SERIES[name])
    if name in _DOTS:
      return Node("symbol", name="\\dots")
    if name in _ACCENTS:
      return Node("symbol", name=name + self._letters() + self._subscript())
    if name[1:] in FUNCTIONS:
      return self._call(name[1:])
    raise Unreadable(f"{name} is not read")

  def _shape(self) -> str:
    """Reads the corners of a triangle or an angle."""
    text = ""
    while self.here is not None and self.here.kind in ("letter", "word"):
      text += self._next().text
    return text

  def _series(self, kind: str) -> Node:
    r"""Reads the bounds and the terms of `\sum_{k=1}^{n}` or `\prod_{k=1}^{n}`. The terms end at the next sign."""
    self.operations[kind] += 1
    self._series_depth += 1
    if self._series_depth > MAX_SERIES_DEPTH:
      raise Unreadable("series nested too deep")
    self._expect("_")
    self._expect("{")
    variable = self._next()
    if variable.kind != "letter":
      raise Unreadable("a series without a variable")
    self._expect("=")
    lower = self.expression()
    self._expect("}")
    self._expect("^")
    upper = self._upper()
    body = self._term()
    self._series_depth -= 1
    return Node(kind, (body, lower, upper), name=variable.text)

  def _upper(self) -> Node:
    position = self._position
    braced = self._is("{")
    self._position += braced
    if self._is("\\infty"):
      self._position += 1
      if braced:
        self._expect("}")
      return Node("symbol", name="\\infty")
    self._position = position
    return self._argument(whole_number=True)

  def _letters(self) -> str:
    """Reads the argument of an accent, which must be letters: `\\bar{x}`."""
    braced = self._is("{")
    self._position += braced
    text = ""
    while self.here is not None and (braced or not text):
      if self.here.kind not in ("letter", "word") and self.here.text not in _GREEK:
        break
      text += self._next().text
    if braced:
      self._expect("}")
    if not text:
      raise Unreadable("an accent without letters")
    return text

  def _root(self) -> Node:
    degree = Node("number", value=Fraction(2))
    if self._is("["):
      self._position += 1
      degree = self.expression()
      self._expect("]")
    self.operations["root"] += 1
    if self._is("("):
      return Node("root", (self._group(), degree))
    return Node("root", (self._argument(), degree))

  def _binomial(self) -> Node:
    parts = (self._argument(), self._argument())
    values = [0 if symbols(part) else integer(part) for part in parts]
    if any(value is None or not 0 <= value <= MAX_FACTORIAL for value in values):
      raise Unreadable("a binomial too large to compute")
    self.operations["binomial"] += 1
    return Node("binomial", parts)

  def _call(self, name: str) -> Node:
    self.operations[name] += 1
    base: tuple[Node, ...] = ()
    exponent: Node | None = None
    for _ in range(2):
      if self._is("_") and name == "log" and not base:
        self._position += 1
        base = (self._argument(whole_number=True),)
      elif self._is("^") and exponent is None:
        self._position += 1
        exponent = self._argument(whole_number=True)
        if integer(exponent) == -1 and name in _INVERSE:
          name, exponent = _INVERSE[name], None
          self.operations["minus"] -= 1
          self.operations[name] += 1
        elif (integer(exponent) or 0) < 1:
          raise Unreadable("an inverse function or a power of one")
    node = Node("call", (self._operand(), *base), name=name)
    return node if exponent is None else self._power(node, exponent)

  def _operand(self) -> Node:
    """Reads the argument of a function: a bracket, or the factors up to the next sign, bracket or function."""
    if self._is("(") or self._is("{"):
      return self._group()
    factors = [self._factor()]
    while (here := self.here) is not None and self._starts_atom(here):
      if here.text == "(" or here.text[1:] in FUNCTIONS:
        break
      factors.append(self._factor())
    return self._product(factors)


def _starts_value(command: str) -> bool:
  if command in _ROUNDED or command in _ACCENTS or command in _SHAPES or command in _SERIES or command in _DOTS:
    return True
  return command in ("\\frac", "\\sqrt", "\\pi", "\\binom") or command in _GREEK or command[1:] in FUNCTIONS
