"""A small program that attempts what a tier must prevent. A tier works only if every attempt is refused."""

import json
from typing import Any

_PROGRAM = """
import os, socket

def attempt(action):
  try:
    action()
  except (OSError, ValueError) as error:
    return "refused"
  return "done"

def look(host_pid):
  return {
    "processes": attempt(lambda: os._exit(3) if os.fork() == 0 else None),
    "socket": attempt(lambda: socket.socket()),
    "passwords": attempt(lambda: open("/etc/passwd").close()),
    "kill": attempt(lambda: os.kill(host_pid, 0)),
    "program": attempt(lambda: os.listdir("/home")),
    "uid": os.getuid(),
    "pid": os.getpid(),
    "sum": sum(map(int, "1 2 3".split())),
  }
"""
_FORBIDDEN = ("processes", "socket", "passwords", "kill", "program")
PROBE_JOB: dict[str, Any] = {
  "id": "probe",
  "mode": "calls",
  "program": _PROGRAM,
  "calls": [{"expression": f"look({2**22 + 1})"}],
}


def verdict(tier: str, message: tuple[dict[str, Any], bytes] | None) -> str | None:
  """Returns None if the probe's answer shows that the tier works, otherwise a description of the fault."""
  if message is None:
    return "the zygote died over the probe"
  if "outcomes" not in message[0]:
    return str(message[0].get("failed", "the zygote failed over the probe"))
  (outcome,) = message[0]["outcomes"]
  if outcome["end"] != "exit":
    return outcome["detail"] or f"the probe ended by {outcome['end']} {outcome['code']}"
  line = json.loads(message[1][: outcome["results"]])
  if line[1] != "value":
    return f"the probe failed: {line[2]}"
  found = dict(line[2]["d"])
  if found["sum"] != 6:
    return "the probe computed nonsense"
  if tier == "unsafe":
    return None
  open_doors = [name for name in _FORBIDDEN if found[name] != "refused"]
  if tier in ("namespaces", "bubblewrap") and found["pid"] != 1:
    open_doors.append("pid namespace")
  return f"the probe could reach: {', '.join(open_doors)}" if open_doors else None
