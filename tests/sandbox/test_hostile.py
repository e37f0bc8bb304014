"""Tests that every program of the hostile list gets the right verdict in time and leaves the host unharmed.

By default only the best tier is tested, as root and as an ordinary user. The slow tests cover the other tiers.
"""

import fcntl
import json
import os
from typing import Any

import pytest

from srpo_jax.sandbox.limits import Limits
from tests.helpers.hostile.lines import Hostile
from tests.helpers.hostile.programs import HOSTILE
from tests.helpers.hostile.rows import USERS, hostile_run, judged_well
from tests.helpers.hostile.run import LIMIT_S

SLACK_S = 1.0  # seconds allowed beyond the wall-clock limit

# Lines that the tier `unsafe` does not stop for root, whose children each get their own uid, nor for an ordinary user.
ESCAPES = frozenset(
  {
    "fork bomb",  # bounded by RLIMIT_NPROC; its processes end with the program
    "double-fork daemon",  # ends with the program
    "medium allocations in children",
    "disk fill",
    "inode flood",
    "TCP, UDP, abstract unix socket",
    "reading the home folder, the repository, the tests",
    "kill(-1) and the parent",
    "nested user namespace and mount",
    "other doors of the kernel",
  }
)
ESCAPES_OF_A_USER = ESCAPES | {"/proc/1/environ", "ptrace and process_vm_writev"}  # reach processes of the same uid


def escapes(tier: str, uid: int) -> frozenset[str]:
  if tier != "unsafe":
    return frozenset()
  return ESCAPES if uid == 0 else frozenset(ESCAPES_OF_A_USER)


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory):
  """Returns a function that maps a tier and a uid to the results of all lines, by name.

  Each combination runs once, in the first pytest worker that needs it. The other workers read its file.
  """
  shared = tmp_path_factory.getbasetemp()
  shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
  known: dict[tuple[str, int], dict[str, Any]] = {}

  def run(tier: str, uid: int) -> dict[str, Any]:
    if (tier, uid) in known:
      return known[tier, uid]
    file = shared / f"hostile-{tier}-{uid}.jsonl"
    with open(shared / f"hostile-{tier}-{uid}.lock", "w") as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      if not file.exists():
        file.write_text(hostile_run(tier, uid))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    known[tier, uid] = {line.get("name", "header"): line for line in lines}
    return known[tier, uid]

  return run


@pytest.mark.parametrize("uid", USERS)
@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: line.name)
def test_best_tier(rows, line: Hostile, uid: int) -> None:
  held(line, rows("namespaces", uid)[line.name])


@pytest.mark.slow
@pytest.mark.parametrize("uid", USERS)
@pytest.mark.parametrize("tier", ["bubblewrap", "landlock", "unsafe"])
@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: line.name)
def test_every_tier(rows, line: Hostile, tier: str, uid: int) -> None:
  row = rows(tier, uid)[line.name]
  if line.name not in escapes(tier, uid):
    return held(line, row)
  assert not judged_well(line, row) or row["left"], "expected this tier not to stop the line, but it does"
  assert row["next"] == 1 and row["same"], row


def held(line: Hostile, row: dict[str, Any]) -> None:
  assert judged_well(line, row), row
  assert row["left"] == [], row  # no process, zombie, file, descriptor or memory remains
  assert row["next"] == 1 and row["restarts"] == 0 and row["same"], row
  assert row["seconds"] <= Limits().wall(LIMIT_S) + SLACK_S, row


@pytest.mark.parametrize("uid", USERS)
@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap"])
def test_the_strong_tiers_run_here_for_root_and_for_an_ordinary_user(tier: str, uid: int) -> None:
  """A host that lacks one of these tiers is set up wrongly, so the test fails rather than skips."""
  header, row = map(json.loads, hostile_run(tier, uid, "fork bomb").splitlines())
  assert (header["tier"], header["uid"]) == (tier, uid)
  assert (row["correct"], row["next"], row["left"]) == (1, 1, [])
  if uid == 0 and tier == "namespaces":
    assert header["missing"] == []


def test_a_line_that_is_not_stopped_is_seen(rows) -> None:
  """The weakest tier does not stop the fork bomb, and the checks of this file must notice."""
  header, row = map(json.loads, hostile_run("unsafe", USERS[-1], "fork bomb").splitlines())
  assert header["tier"] == "unsafe"
  with pytest.raises(AssertionError):
    held(next(line for line in HOSTILE if line.name == "fork bomb"), row)
