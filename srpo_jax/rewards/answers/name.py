"""Recognizes token lists that name something."""

from srpo_jax.rewards.answers.latex import FUNCTIONS, Token, names, spelling

_COMMANDS = names(
  r"\angle \triangle \overline \overrightarrow \vec \hat \bar \mathcal \mathbb \frac \prime \alpha \beta \gamma \delta"
  r" \theta \lambda \mu \phi \omega \sigma \tau \rho \psi \Phi \Psi \Delta \varphi \epsilon"
  r" \varepsilon \eta \xi \nu \ell"
) | {"\\" + function for function in FUNCTIONS}
_OPERATORS = names(r"\lim \int \sum \prod \max \min \oint \iint")


def name(found: list[Token]) -> str | None:
  """Returns the tokens as a name, such as `x`, `S_{10}`, `f(2)`, `|AB|` or `m+n`, or None if they compute something."""
  text = ""
  previous = ""
  called = 0  # brackets open after a letter: `f(2)`
  subscript = False
  if not found or found[0].text in ("+", "-"):
    return None
  if found[0].text in _OPERATORS or any(token.text == "\\begin" for token in found):
    return spelling(found)  # `\\lim_{x\\to 0} f(x)`, a determinant, a product of matrices: what the question asks for
  for token in found:
    if token.text in ("(", "{"):
      called += called > 0 or previous.isalpha() or subscript
    elif token.text in (")", "}"):
      called -= called > 0
      subscript = False
    if token.kind == "number" and not called and previous != "_":
      return None
    if token.kind == "symbol" and token.text not in "(){}_',+-[]:|" and not (called and token.text in "=<>"):
      return None
    if token.kind == "command" and token.text not in _COMMANDS:
      return None
    subscript = subscript or token.text == "_"
    text += token.text.strip()
    previous = token.text
  return text.replace("{", "").replace("}", "") if any(character.isalpha() for character in text) else None
