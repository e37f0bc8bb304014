"""Checks of the rewards on responses with known verdicts, and of the sandbox on programs with known results."""

import dataclasses
import json

from srpo_jax.checks.finding import FAIL, PASS, WARN, Finding
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.types import ScoreRequest
from srpo_jax.utils.errors import InputError

TESTS = {"type": "function", "entry_point": "double", "cases": [{"args": [2], "expected": 4}]}


@dataclasses.dataclass(frozen=True)
class Case:
  """A response with a known verdict."""

  name: str
  domain: str
  answer: str  # a value, or a fenced program
  correct: int
  gold: str | None = None
  thought: str = " So. "
  format: int = 1
  language_mix: int = 0


def _program(body: str) -> str:
  return f"```python\ndef double(x):\n  {body}\n```"


CASES = (
  Case("a right answer", "math", r"\frac{1}{2}", 1, gold="0.5"),
  Case("a wrong answer", "math", "3", 0, gold="4"),
  Case("the question instead of an answer", "math", "2+2", 0, gold="4"),
  Case("an answer that would take forever", "math", "9^{9^{9^9}}", 0, gold="4"),
  Case("the right answer only in the thought", "math", "5", 0, gold="4", thought=r" \boxed{4} "),
  Case("a right answer in a broken form", "math", "4", 1, gold="4", thought=" <think> So. ", format=0),
  Case("a right answer in two languages", "math", "4", 1, gold="4", thought=" Итак, ответ. ", language_mix=1),
  Case("a right program", "code", _program("return 2 * x"), 1),
  Case("a wrong program", "code", _program("return x"), 0),
  Case("a program that never ends", "code", _program("while True: pass"), 0),
  Case("a program that exits", "code", _program("import os; os._exit(0)"), 0),
)


def check_rewards(scorer: Scorer, domains: set[str], validator: str, user: bool) -> list[Finding]:
  """Checks the sandbox and the verdicts on the cases of some domains.

  Args:
    domains: domains to check.
    validator: form that an answer must have.
    user: True if a user's reward function is applied. The function may change format and language verdicts, so only
      `correct` is compared.
  """
  findings = []
  if "code" in domains:
    try:
      sandbox = scorer.start_sandbox()
    except InputError as error:
      findings.append(Finding(FAIL, "sandbox", str(error), "install bubblewrap, or see the README on tiers"))
      domains = domains - {"code"}
    else:
      findings.append(_tier(sandbox.tier, ", ".join(sandbox.missing)))
  cases = [case for case in CASES if case.domain in domains]
  for case in cases:
    scorer.submit(request_of(case, validator))
  verdicts = scorer.collect()
  for domain in sorted({case.domain for case in cases}):
    of_domain = [case for case in cases if case.domain == domain]
    fields = ("correct",) if user else ("correct", "format", "language_mix")  # the others are the user's to change
    wrong = [
      f"{case.name}: {field} {found}, expected {getattr(case, field)} ({verdicts[case.name].reason})"
      for case in of_domain
      for field in fields
      if (found := getattr(verdicts[case.name], field)) != getattr(case, field)
    ]
    check = f"rewards of {domain}"
    if wrong:
      found = "; ".join(wrong)
      todo = "look at your config.reward.function" if user else "compare the installed versions with constraints.txt"
      findings.append(Finding(FAIL, check, found, todo))
    else:
      slowest = max(verdicts[case.name].time_s for case in of_domain)
      found = f"{len(of_domain)} known responses judged as known; the slowest took {slowest:.1f} s"
      findings.append(Finding(PASS, check, found))
  return findings


def request_of(case: Case, validator: str) -> ScoreRequest:
  """Returns a case as a response in the form that `validator` requires."""
  if validator == "json":
    body = json.dumps({"answer": case.answer})
  else:
    body = f"\\boxed{{{case.answer}}}" if case.domain == "math" else case.answer
  tests = TESTS if case.domain == "code" else None
  response = f"{case.thought}</think> <answer>{body}</answer>"
  return ScoreRequest(case.name, "What is it?", response, True, case.domain, case.gold, tests)


def _tier(tier: str, missing: str) -> Finding:
  if tier == "unsafe":
    return Finding(WARN, "sandbox", "tier unsafe: only resource limits", "the policy's programs can harm this host")
  return Finding(PASS, "sandbox", f"tier {tier}" + (f"; missing: {missing}" if missing else ""))
