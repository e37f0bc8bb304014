"""Tests that noise of markup is removed and the content of a question stays."""

import pytest

from srpo_jax.data.curation.normalise import normalise


@pytest.mark.parametrize(
  ("text", "expected", "changes"),
  [
    ("Find $x<y$ and $y>z$.", "Find $x<y$ and $y>z$.", ()),
    ("a &lt; b &amp; c, &#36;5 &#x41;", "a < b & c, $5 A", ("html",)),
    ("$\\begin{cases} x &= 1 \\end{cases}$ &copy is", "$\\begin{cases} x &= 1 \\end{cases}$ &copy is", ()),
    ("<p>Find <b>x</b><sup>2</sup><br/>if a<b</p>", "Find x^{2}\nif a<b", ("html", "whitespace")),
    ('<span style="color: red">2</span> apples', "2 apples", ("html",)),
    ("Find x. Source: https://example.org/a?b=1", "Find x.", ("url", "whitespace")),
    ("Find [x](http://example.org/x) now", "Find x now", ("url",)),
    ("Find x ![](http://example.org/x.png)", "Find x ![](http://example.org/x.png)", ()),
    ("12. Find $x$", "Find $x$", ("numbering",)),
    ("3. (12 points) Find x", "Find x", ("numbering",)),
    ("Problem 4. Find x", "Find x", ("numbering",)),
    ("3.5 apples", "3.5 apples", ()),
    ("12 apples", "12 apples", ()),
    ("\u200bAB\u00a0c\r\nd", "AB c\nd", ("unicode",)),
    ("x² + y²", "x² + y²", ()),
    ("e\u0301t\u00e9", "\u00e9t\u00e9", ("unicode",)),
    ("求 $x$ 的值。", "求 $x$ 的值。", ()),
    ("a  \n\n\n\nb \n", "a\n\nb", ("whitespace",)),
    ("https://example.org", "", ("url",)),
    ("", "", ()),
  ],
)  # fmt: skip
def test_math(text, expected, changes):
  assert normalise(text, "math") == (expected, changes)
  assert normalise(expected, "math") == (expected, ())  # a second pass changes nothing


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("Check whether http://example.org is a URL.", "Check whether http://example.org is a URL."),
    ("Add.\nhttps://example.org/p/1\nPrint.", "Add.\n\nPrint."),
    ("Is it square? https://example.org/is-it-square", "Is it square?"),
    ("Escape html: turn '<b>' into '&lt;b&gt;'.", "Escape html: turn '<b>' into '&lt;b&gt;'."),
    ("<p>Print <code>n</code> lines.</p>", "Print n lines."),
    ("1. Read n", "1. Read n"),
  ],
)
def test_code(text, expected):
  assert normalise(text, "code")[0] == expected
