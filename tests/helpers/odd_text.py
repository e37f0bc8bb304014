r"""Odd text that a policy or its program may write: surrogates, NUL, terminal escapes, megabytes, broken JSON."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from srpo_jax.types import Rollout

REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
ODD = {
  "surrogate": "\ud800",
  "surrogates in the wrong order": "\ude00\ud83d",
  "NUL": "a\x00b",
  "clear the screen": "\x1b[2J\x1b]0;title\x07",
  "C1 control": "\x9b31m",
  "carriage return": "shown\rhidden",
  "backspaces": "good\b\b\b\bbad",
  "lines": "one\ntwo\u2028three\x85four\x0bfive",
  "reordering": "\u202eabc\u2066",
  "megabytes": "m" * 3_000_000,
  "megabytes of escapes": "\x1b" * 1_000_000,
  "markup": "</script><b>|`$",
}


def is_clean(text: str, length: int = 300) -> bool:
  """Returns True for one bounded line of seen characters that UTF-8 can hold."""
  kinds = {unicodedata.category(c) for c in text}
  return len(text) <= length and not kinds & {"Cc", "Cs", "Zl", "Zp"} and not set(text) & set(REORDERING)


def answered(program: str) -> str:
  return f" I write it. </think> <answer>```python\n{program}\n```</answer>"


def reports(line: str) -> str:
  """Returns a program that writes a line to its result channel, as the sandbox would."""
  return f"import os\nos.write(3, {line.encode('utf-8', 'surrogatepass')!r} + b'\\n')\nos._exit(0)"


PROGRAMS = {
  "surrogate": reports('[0,"error","\\ud800"]'),
  "surrogate of the program": reports('[-1,"error","\\ud800\\udc00\\udc00"]'),
  "raw surrogate": reports('[0,"error","\ud800"]'),
  "NUL and escapes": reports('[0,"error","\\u0000\\u001b[2J\\u009b31m\\r\\u202e"]'),
  "long": "import os\nos.write(3, b'[0,\"error\",\"' + b'x' * 60000 + b'\"]\\n')\nos._exit(0)",
  "megabytes": "import os\nwhile True: os.write(3, b'\\x1b' * 60000)",
  "bytes": "import os\nos.write(3, bytes(range(256)))\nos._exit(0)",
  "value": reports('[0,"value","\\ud800\\u0000"]'),
  "nested": "import os\nos.write(3, b'[' * 60000)\nos._exit(0)",
  "other kinds": reports('[0,"\\u001b",{"b":"zz"}]'),
  "number": "import os\nos.write(3, b'[0,\"error\",' + b'9' * 5000 + b']\\n')\nos._exit(0)",
  "error's name": "raise type('\\x1b[2J\\x00' * 9, (Exception,), {})",
  "error's name in a call": "def f(x): raise type('\\x1b[2J\\u202e', (Exception,), {})",
  "output": "print('\\x1b[2J\\x00' * 9)\ndef f(x): return '\\udc80'",
  "plain": "def f(x): return 2 * x",
}


def fake_sampler(tokenizer: Any, texts: Sequence[str]) -> Callable[..., Iterator[Rollout]]:
  """Returns a stand-in for `sample_groups` whose responses are these texts in turn, each ended by the EOS."""

  def sample(engine: Any, params: Any, requests: Sequence[Any], **_: Any) -> Iterator[Rollout]:
    for request in requests:
      for number in range(request.samples):
        ids = [*tokenizer(texts[number % len(texts)])["input_ids"], tokenizer.eos_token_id]
        zeros = np.full(len(ids), -1.0, np.float32)
        yield Rollout(request.prompt_id, number, request.tokens, np.asarray(ids, np.int32), zeros, truncated=False)

  return sample
