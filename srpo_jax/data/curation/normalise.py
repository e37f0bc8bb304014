"""Removes noise of markup and format from a question without changing what it asks.

A URL is noise in mathematics, but a programming task may be about it. In a task, a URL is removed only if it is a line
of its own, or if it follows a whole sentence and ends the line. Markup of images and tables stays, so that the rules
can find such questions and drop them.
"""

import html
import re
import unicodedata

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad\x00-\x08\x0b-\x1f\x7f]")
_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u205f]")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BREAK = re.compile(r"<\s*(?:br\s*/?|/p|/div|/li|hr\s*/?)\s*>", re.IGNORECASE)
_SUPER = re.compile(r"<(sup|sub)>([^<>]*)</\1>", re.IGNORECASE)
_TAG = re.compile(
  r"</?(?:p|div|span|b|i|u|em|strong|small|big|ul|ol|li|pre|code|tt|var|center|font|a|h[1-6]|blockquote|sup|sub)"
  r"(?:\s+[a-zA-Z-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s<>\"']+))*\s*/?>",
  re.IGNORECASE,
)
_ABOUT_MARKUP = re.compile(r"\b(?:html|xml|markup|entit(?:y|ies)|tags?)\b", re.IGNORECASE)
_URL = r"(?:https?://|www\.)[^\s<>\"'\]}，。；、）]+"
_LINK = re.compile(rf"(?<!!)\[([^\[\]]*)\]\({_URL}\)")
_IMAGE = re.compile(r"!\[[^\[\]]*\]\([^()]*\)")
_CREDIT = re.compile(
  rf"[(\[]?(?:(?:source|from|see|link|via|origin|original (?:problem|thread)|taken from|来源)"
  rf"\s*[:：]?\s*)?{_URL}[)\]]?",
  re.IGNORECASE,
)
_URL_LINE = re.compile(
  rf"^[ \t]*(?:(?:source|from|see|link|problem link|original problem)\s*[:：]?\s*)?<?{_URL}>?[ \t]*$",
  re.IGNORECASE | re.MULTILINE,
)
_URL_AFTER = re.compile(rf"(?<=[.?!])[ \t]+{_URL}[ \t]*$", re.MULTILINE)
_NUMBERING = re.compile(
  r"\A\s*(?:"
  r"\**(?:Problem|Exercise|Question|Example|Task)\s*(?:№|No\.?|#)?\s*[0-9]+(?:\.[0-9]+)*\s*[.:)\]]\**\s+"
  r"|Example\s+[0-9]+\s+(?=[A-Z$\\(\[])"
  r"|[0-9]{1,3}[.)]\s+(?=[A-Z$\\(\[])"
  r"|例\s*[0-9]+[\s.:：、]*"
  r"|[\[(【（]\s*(?:[0-9]+|[a-z]+)\s*(?:points?|marks?|pts?\.?|分)\s*[\])】）]\s*"
  r")",
)
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


def normalise(text: str, domain: str) -> tuple[str, tuple[str, ...]]:
  """Returns the question without noise, and the names of the changes.

  Possible changes, in this order: unicode, html, url, numbering, whitespace.
  """
  changes: list[str] = []

  def step(name: str, new: str) -> None:
    nonlocal text
    if new != text:
      changes.append(name)
      text = new

  if not text.isascii() or not text.isprintable():
    step("unicode", _plain_unicode(text))
  if "<" in text or "&" in text:
    step("html", _without_html(text, domain))
  if "://" in text or "www." in text:
    step("url", _without_urls(text, domain))
  if domain == "math":
    step("numbering", _without_numbering(text))
  step("whitespace", _without_blanks(text))
  return text, tuple(changes)


def _plain_unicode(text: str) -> str:
  # NFC, because NFKC turns x² into x2.
  text = text.replace("\r\n", "\n").replace("\r", "\n")
  return unicodedata.normalize("NFC", _SPACES.sub(" ", _INVISIBLE.sub("", text)))


def _without_html(text: str, domain: str) -> str:
  if domain == "code" and _ABOUT_MARKUP.search(text):
    return text
  text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
  if "<" not in text:
    return text
  text = _SUPER.sub(lambda match: f"{'^' if match[1].lower() == 'sup' else '_'}{{{match[2]}}}", text)
  return _TAG.sub("", _BREAK.sub("\n", text))


def _without_urls(text: str, domain: str) -> str:
  text = _URL_LINE.sub("", text)
  if domain == "code":
    return _URL_AFTER.sub("", text)
  kept = _IMAGE.findall(text)
  if kept:
    text = _IMAGE.sub("\0", text)
  text = _CREDIT.sub("", _LINK.sub(r"\1", text))
  for image in kept:
    text = text.replace("\0", image, 1)
  return text


def _without_numbering(text: str) -> str:
  for _ in range(2):  # "3. (5 points) Find ..."
    shorter = _NUMBERING.sub("", text)
    if shorter == text or not shorter.strip():
      break
    text = shorter
  return text


def _without_blanks(text: str) -> str:
  if "\n" in text:
    text = _BLANK_LINES.sub("\n\n", _TRAILING.sub("", text))
  return text.strip()
