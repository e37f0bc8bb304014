"""Code that runs inside the child: the candidate's program and the calls that the tests make to it.

The candidate may break all of this code, so none of it decides a verdict. The child only returns plain data, which is
compared elsewhere. A program finds what `python program.py` would show it: streams, exit functions and its own text.
"""

import atexit
import builtins
import contextlib
import fcntl
import gc
import io
import linecache
import os
import re
import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from srpo_jax.sandbox import plain, wrapped, wrappers

RESULTS = 3  # file descriptor that results are written to
_INSTANCE = "<instance>"  # name, impossible in a program, of the object whose methods are called
READY = b"R"  # first byte on RESULTS: the child is confined and about to run the program
RECURSION_LIMIT = 10_000  # competitive programs recurse deeper than Python's default of 1,000
MAX_DIGITS = 50_000  # decimal digits of an integer that a program may read or print; Python's default is 4,300
UNFLUSHED = 120  # exit status of an interpreter that cannot write the rest of its output
_PACKAGE = "srpo_jax"
_BOM = re.compile(r"\A\s*\ufeff")

_write = os.write
_exit = os._exit


def run(job: Mapping[str, Any]) -> NoReturn:
  """Runs one execution of a job and ends the process.

  Args:
    job: With `mode` "calls", every entry of `calls` runs in this process. With `mode` "stdin", the program runs as a
      script, whose standard input the caller has already opened.
  """
  _prepare(job.get("recursion_limit", RECURSION_LIMIT))
  _write(RESULTS, READY)
  if job["mode"] == "calls":
    _run_calls(job, job["calls"], job.get("imports", []))
    _exit(0)
  _exit(_run_script(job))


def hide_own_text() -> None:
  """Makes `inspect` and tracebacks show nothing of this package's modules. Call it once they are all imported."""
  linecache.clearcache()
  for name, module in sys.modules.items():
    if name.partition(".")[0] == _PACKAGE and (file := getattr(module, "__file__", None)):
      _show_as(file, "")


def _prepare(recursion_limit: int) -> None:
  """Makes this process look like an ordinary interpreter that is about to run a program."""
  sys.setrecursionlimit(recursion_limit)
  sys.set_int_max_str_digits(MAX_DIGITS)
  os.environ["PATH"] = "/usr/local/bin:/usr/bin:/bin"
  for name in ("exit", "quit"):  # an interpreter started without `site` lacks both
    setattr(builtins, name, sys.exit)
  _set_stream("stdin", 0, "r", errors="surrogateescape")
  _set_stream("stdout", 1, "w", errors="surrogateescape")
  _set_stream("stderr", 2, "w", errors="backslashreplace", line_buffering=True)
  signal.signal(signal.SIGINT, signal.default_int_handler)  # the sandbox's own processes ignore it


def _set_stream(name: str, descriptor: int, mode: str, **options: Any) -> None:
  """Sets a standard stream of `sys`, made as Python makes it."""
  raw = io.FileIO(descriptor, mode, closefd=False)
  raw.name = f"<{name}>"
  buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
  stream = io.TextIOWrapper(buffer, encoding="utf-8", **options)
  stream.mode = mode  # type: ignore[misc]  # programs read it, and Python sets it the same way
  setattr(sys, name, stream)
  setattr(sys, f"__{name}__", stream)


def _show_as(file: str, text: str) -> None:
  """Makes `inspect` and tracebacks show `text` as the content of a file."""
  lines = [line.removesuffix("\n") + "\n" for line in io.StringIO(text, newline=None)]
  linecache.cache[file] = (len(text), None, lines, file)


class _Loader:
  """Loader of the program's module, which has its text. Ends with the names of the module."""

  def __init__(self, text: str):
    self._text = text

  def get_source(self, name: str) -> str:
    return self._text


def _module(name: str, text: str, file: str) -> types.ModuleType:
  """Creates the module of a program and makes it importable, as dataclasses and pickle require."""
  module = types.ModuleType(name)
  vars(module).update(__file__=file, __loader__=_Loader(text), __builtins__=builtins, __annotations__={})
  _show_as(file, text)
  sys.modules[name] = sys.modules["__main__"] = module
  sys.argv = [file]
  return module


def _file_of(text: str) -> str:
  """Returns the path of a pipe that holds the program's text. Most tiers have no folder to write a file to."""
  data = text.encode("utf-8", "replace")
  reader, writer = os.pipe()
  os.set_blocking(writer, False)
  with contextlib.suppress(OSError):  # the kernel may grant less, and then the text ends early
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, max(len(data), 1 << 16))
    _write(writer, data)
  os.close(writer)
  return f"/dev/fd/{reader}"


def _run_program(job: Mapping[str, Any], module: types.ModuleType) -> None:
  """Runs the import statements that the problem gives every program, then the program, in a module."""
  for line in job.get("prelude", []):
    exec(line, module.__dict__)
  exec(compile(job.get("setup", ""), "<setup>", "exec"), module.__dict__)
  text, file = _text_of(job), module.__file__ or ""
  if job["mode"] == "stdin" and job.get("in_function"):
    return _run_in_function(text, file, module)
  exec(compile(text, file, "exec"), module.__dict__)


def _text_of(job: Mapping[str, Any]) -> str:
  """Returns the text of the program without the mark that some editors put in front."""
  return _BOM.sub("", job["program"])


def _run_in_function(text: str, file: str, module: types.ModuleType) -> None:
  """Runs a program as LiveCodeBench does: as the body of a function, which `sys.exit` only leaves."""
  exec(compile(wrapped.in_function(text), file, "exec"), module.__dict__)
  with contextlib.suppress(SystemExit):
    vars(module)[wrapped.FUNCTION]()


def _run_calls(job: Mapping[str, Any], calls: list[dict[str, Any]], imports: list[str]) -> None:
  """Runs the program and its calls and writes one line of JSON per call.

  A line is [index, "value", data] or [index, "error", name]. Index -1 stands for the program itself.
  """
  send = _sender()
  module = _module("solution", _text_of(job), os.path.abspath("solution.py"))
  try:
    _run_program(job, module)
  except BaseException as error:
    send(-1, error)
    return
  surroundings: dict[str, Any] = {}
  for line in imports:
    try:
      exec(line, surroundings)
    except BaseException as error:
      send(-1, error)
      return
  surroundings.update(module.__dict__)
  for index, call in enumerate(calls):
    try:
      value = _call(call, surroundings, one_instance=job.get("one_instance", False))
      text = plain.dumps(value)
    except BaseException as error:
      send(index, error)
    else:
      send(index, None, text)


def _call(call: dict[str, Any], surroundings: dict[str, Any], *, one_instance: bool) -> Any:
  """Returns the value of an expression with its wrapper, or of an entry point called with the given arguments.

  An entry point is `name`, or `Class.method`, which is called on a new instance, or with
  `one_instance` on the same one in all calls.
  """
  if "expression" in call:
    value = eval(compile(call["expression"], "<call>", "eval"), surroundings)
    return wrappers.wrapped(call["wrapper"], value) if "wrapper" in call else value
  owner, _, method = call["entry_point"].rpartition(".")
  if owner and (_INSTANCE not in surroundings or not one_instance):
    surroundings[_INSTANCE] = surroundings[owner]()
  function = getattr(surroundings[_INSTANCE], method) if owner else surroundings[method]
  return function(*(plain.loads(argument) for argument in call["arguments"]))


def _sender() -> Callable[..., None]:
  def send(index: int, error: BaseException | None, text: str = "null") -> None:
    kind = "value"
    if error is not None:
      detail = str(error)[:80] if type(error) is plain.Unplain else ""
      kind, text = "error", plain.dumps(f"{type(error).__name__} {detail}".strip()[:120])
    line = f'[{index}, "{kind}", {text}]\n'.encode("ascii", "replace")
    view = memoryview(line)
    while view:
      view = view[_write(RESULTS, view) :]

  return send


def _run_script(job: Mapping[str, Any]) -> int:
  """Runs the program as `python program.py` would and returns its exit status."""
  names = dict(vars(builtins))
  text = _text_of(job)
  module = _module(wrapped.MODULE if job.get("in_function") else "__main__", text, _file_of(text))
  loader = weakref.ref(vars(module)["__loader__"])
  status = _status(job, module)
  del module
  for finish in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]  # an error changes no status
    with contextlib.suppress(BaseException):
      finish()
  flushed = _flush(sys.stdout)
  with contextlib.suppress(BaseException):
    _drop(loader, names)
    _flush(sys.__stdout__)
  return status if flushed else UNFLUSHED


def _status(job: Mapping[str, Any], module: types.ModuleType) -> int:
  """Runs the program and returns the exit status that its end asks for."""
  try:
    _run_program(job, module)
  except SystemExit as leave:
    return _exit_status(leave.code)
  except BaseException as error:
    with contextlib.suppress(OSError):  # the program may have closed the descriptor
      _sender()(-1, error)
    return 1
  return 0


def _exit_status(code: Any) -> int:
  """Returns the exit status that Python gives for the code of a SystemExit."""
  if isinstance(code, int):
    return code & 0xFF if abs(code) <= sys.maxsize else 0xFF
  return 0 if code is None else 1


def _flush(stream: Any) -> bool:
  """Writes the rest of the output and returns True unless that fails. A closed stream has none."""
  try:
    closed = stream is None or stream.closed
  except BaseException:  # an object of the program, which need not have the attribute
    closed = False
  try:
    if not closed:
      stream.flush()
  except BaseException:
    return False
  return True


def _drop(loader: "weakref.ref[_Loader]", names: Mapping[str, Any]) -> None:
  """Drops the program's objects as an interpreter does at its end, which runs `__del__` and closes files.

  Args:
    loader: Loader of the program's module, which lives as long as the names of the module.
    names: Built-in names before the program ran.
  """
  for name in ("stdin", "stdout", "stderr"):
    setattr(sys, name, getattr(sys, f"__{name}__"))
  vars(builtins).update(names)
  for name in vars(builtins).keys() - names.keys():
    delattr(builtins, name)
  for number in signal.valid_signals():
    if callable(signal.getsignal(number)):
      signal.signal(number, signal.SIG_DFL)
  sys.modules.pop("__main__", None)
  gc.collect()
  if (left := loader()) is None:
    return
  owners = [found for found in gc.get_referrers(left) if type(found) is dict and found.get("__loader__") is left]
  del left
  for owner in owners:  # something of the library, such as a cache, still holds the module's names
    own = [name for name, value in owner.items() if type(value).__module__ == "__main__"]
    for name in (*own, *(name for name in list(owner) if name != "__builtins__")):  # own objects may need other names
      owner[name] = None
  gc.collect()
