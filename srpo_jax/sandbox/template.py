"""Process that every child is forked from, whose memory is the same at each fork.

A template is forked from a zygote that has just started, and it never sees a job. A program therefore starts from the
same memory in every execution and in every sandbox. Objects get the same addresses, and a set that is ordered by them
has the same order. No child can find an earlier program or its results either, because the template never held them.

The zygote is the parent of each child, because it waits for the child and asks for the processor time that it used.
The template only makes the copy. The child gets its descriptors from the zygote.
"""

import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from typing import NoReturn

from srpo_jax.sandbox import tiers

ANSWER_S = 20.0  # seconds that a fork may take, enough on a busy machine
MOST_DESCRIPTORS = 8  # for one child
_ANSWER = struct.Struct("=i")  # process id, or a negative error number


class TemplateLostError(Exception):
  """Raised when the template has ended or hangs."""


class Template:
  """Forks children.

  Args of the constructor:
    place: Settings of the children.
    child: Runs in each child with the descriptors that `fork` was given. It must not return.
    close: Descriptors of the zygote that the template must close.
  """

  def __init__(self, place: tiers.Place, child: Callable[[list[int]], NoReturn], close: Sequence[int]):
    self._place, self._child = place, child
    self._control, control = socket.socketpair()
    self._door, self._child_door = socket.socketpair()
    self.pid = os.fork()
    if self.pid == 0:
      try:
        for descriptor in (*close, self._control.fileno(), self._door.fileno()):
          os.close(descriptor)
        self._serve(control.fileno())
      finally:
        os._exit(70)
    control.close()
    self._control.settimeout(ANSWER_S)

  def fork(self, descriptors: Sequence[int]) -> int:
    """Forks a child, gives it copies of the descriptors and returns its process id.

    Raises:
      OSError: The kernel refused to fork the child.
      TemplateLostError: The template has ended or hangs.
    """
    self._take_back()
    socket.send_fds(self._door, [b"d"], list(descriptors))
    try:
      self._control.send(b"f")
      answer = self._control.recv(_ANSWER.size)
    except OSError as error:
      raise TemplateLostError(f"no answer from the template: {error}") from None
    if len(answer) < _ANSWER.size:
      raise TemplateLostError("the template has ended")
    pid = _ANSWER.unpack(answer)[0]
    if pid < 0:
      raise OSError(-pid, os.strerror(-pid))
    return pid

  def _take_back(self) -> None:
    """Closes the descriptors that an earlier child did not live to receive."""
    if select.select([self._child_door], [], [], 0)[0]:
      for descriptor in socket.recv_fds(self._child_door, 1, MOST_DESCRIPTORS)[1]:
        os.close(descriptor)

  def _serve(self, control: int) -> NoReturn:
    fork = tiers.child_fork(self._place)
    while os.read(control, 1):
      self._fork_child(fork, control)
    os._exit(0)

  def _fork_child(self, fork: Callable[[], int], control: int) -> None:
    """Forks a child and reports its process id. It must leave the memory as it was, so it makes few objects."""
    try:
      pid = fork()
    except OSError as error:
      pid = -(error.errno or errno.EIO)
    if pid == 0:
      self._be_child(control)
    os.write(control, _ANSWER.pack(pid))

  def _be_child(self, control: int) -> NoReturn:
    try:
      os.close(control)
      data, descriptors, _, _ = socket.recv_fds(self._child_door, 1, MOST_DESCRIPTORS)
      if data:
        self._child(descriptors)
    finally:  # no exception may return to the loop of the template
      os._exit(70)
