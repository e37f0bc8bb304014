"""Code that runs inside the child: the candidate's program and the calls that the tests make to it.

The candidate may break all of this code, so none of it decides a verdict. The child only returns plain data, which is
compared elsewhere.
"""

import atexit
import builtins
import io
import os
import sys
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any

from srpo_jax.sandbox import plain, wrappers

RESULTS = 3  # file descriptor that results are written to
READY = b"R"  # first byte on RESULTS: the child is confined and about to run the program

_write = os.write
_exit = os._exit


def run(job: Mapping[str, Any]) -> None:
  """Runs one execution of a job and ends the process.

  Args:
    job: With `mode` "calls", every entry of `calls` runs in this process. With `mode` "stdin", the program runs as a
      script, whose standard input the caller has already opened.
  """
  sys.setrecursionlimit(10_000)  # competitive programs recurse deeper than Python's default of 1,000
  for name in ("exit", "quit"):  # an interpreter started without `site` lacks both
    setattr(builtins, name, sys.exit)
  _write(RESULTS, READY)
  if job["mode"] == "calls":
    _run_calls(job, job["calls"], job.get("imports", []))
    _exit(0)
  _exit(_run_script(job))


def _run_program(job: Mapping[str, Any], module: types.ModuleType) -> None:
  """Runs the import statements that the problem gives every program, then the program, in a module."""
  for line in job.get("prelude", []):
    exec(line, module.__dict__)
  exec(compile(job["program"], "<program>", "exec"), module.__dict__)


def _run_calls(job: Mapping[str, Any], calls: list[dict[str, Any]], imports: list[str]) -> None:
  """Runs the program and its calls and writes one line of JSON per call.

  A line is [index, "value", data] or [index, "error", name]. Index -1 stands for the program itself.
  """
  send = _sender()
  module = _module("solution")
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
      value = _call(call, surroundings)
      text = plain.dumps(value)
    except BaseException as error:
      send(index, error)
    else:
      send(index, None, text)


def _call(call: dict[str, Any], surroundings: dict[str, Any]) -> Any:
  """Returns the value of an expression with its wrapper, or of an entry point called with the given arguments.

  An entry point is `name`, or `Class.method`, which is called on a new instance.
  """
  if "expression" in call:
    value = eval(compile(call["expression"], "<call>", "eval"), surroundings)
    return wrappers.wrapped(call["wrapper"], value) if "wrapper" in call else value
  owner, _, method = call["entry_point"].rpartition(".")
  function = getattr(surroundings[owner](), method) if owner else surroundings[method]
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
  """Runs the program as `python program` would and returns its exit status."""
  sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8", errors="replace")
  sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8", errors="replace")
  sys.argv = ["program"]
  module = _module("__main__")
  try:
    _run_program(job, module)
    status = 0
  except SystemExit as leave:
    status = leave.code if isinstance(leave.code, int) else 0 if leave.code is None else 1
  except BaseException as error:
    _report(error)
    status = 1
  try:
    for thread in threading.enumerate():  # programs often run their main function in a thread with a large stack
      if thread is not threading.main_thread() and not thread.daemon:
        thread.join()
    atexit._run_exitfuncs()  # some programs write all of their output in an exit function
    if not sys.stdout.closed:
      sys.stdout.flush()
  except BaseException as error:
    _report(error)
    status = 1
  return status & 0xFF


def _report(error: BaseException) -> None:
  _sender()(-1, error)


def _module(name: str) -> types.ModuleType:
  """Creates an empty module and makes it importable under its name, as dataclasses and pickle require."""
  module = types.ModuleType(name)
  sys.modules[name] = module
  return module
