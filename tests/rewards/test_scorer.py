import dataclasses
import functools
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srpo_jax.rewards import judges, pool
from srpo_jax.rewards.math import screen_stated
from srpo_jax.rewards.process import WorkerProcess
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.types import ScoreRequest, Verdict
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT
from tests.helpers.processes import alive, wait_until
from tests.helpers.scorers import SLOW_ANSWER, SLOW_GOLD, computing, cpu, request

wait_for = functools.partial(wait_until, timeout_s=600)


def children() -> set[int]:
  found = set()
  for stat in Path("/proc").glob("[0-9]*/stat"):
    try:
      if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
        found.add(int(stat.parent.name))
    except OSError:
      continue
  return found


def test_the_answers_of_these_tests_need_a_worker() -> None:
  assert screen_stated(r"\sqrt{3}+2", r"2+\sqrt{3}")[0] is None
  assert screen_stated(SLOW_ANSWER, SLOW_GOLD)[0] is None


def test_verdicts_in_full() -> None:
  with Scorer(format_weight=0.2, language_penalty=0.3, workers=1) as scorer:
    scorer.submit(request("right"))
    scorer.submit(request("wrong", r"\sqrt{3}+3"))
    scorer.submit(request("plain", "5", "5"))
    scorer.submit(request("no form", response="<answer>5</answer>", answer="5"))
    scorer.submit(request("mixed", response=r"所以 it</think><answer>\boxed{5}</answer>", answer="5"))
    scorer.submit(request("cut", ended=False))
    scorer.submit(request("no answer", response="5"))
    verdicts = scorer.collect()
  assert list(verdicts) == ["right", "wrong", "plain", "no form", "mixed", "cut", "no answer"]
  found = {id: (v.format, v.language_mix, v.correct, round(v.reward, 9), v.reason) for id, v in verdicts.items()}
  assert found == {
    "right": (1, 0, 1, 1.2, "equal"),
    "wrong": (1, 0, 0, 0.2, "different value"),
    "plain": (1, 0, 1, 1.2, "equal"),
    "no form": (0, 0, 1, 1.0, "equal"),
    "mixed": (1, 1, 1, 0.9, "equal"),
    "cut": (0, 0, 0, 0.0, "truncated"),
    "no answer": (0, 0, 0, 0.0, "no single <answer>"),
  }
  assert all(verdict.id == id for id, verdict in verdicts.items())
  assert verdicts["right"].time_s > 0


def test_an_echo_of_the_question_does_not_score() -> None:
  asked = {"echo": "Factor $x^2-1$.", "other": "Integrate $2x$ from 1 to $x$.", "prompt": None}
  with Scorer(workers=1) as scorer:
    for id, question in asked.items():
      scorer.submit(request(id, "x^2-1", "(x-1)(x+1)", asked=question, prompt="Factor x^2-1."))
    found = {id: verdict.correct for id, verdict in scorer.collect().items()}
  assert found == {"echo": 0, "other": 1, "prompt": 0}


def test_an_answer_to_an_unread_gold_is_not_judged_unless_it_is_spelled_alike() -> None:
  with Scorer(workers=1) as scorer:
    scorer.submit(request("alike", r"\oint f dx", r"\oint f\,dx"))
    scorer.submit(request("other", "5", r"\oint f\,dx"))
    verdicts = scorer.collect()
  assert [verdict.correct for verdict in verdicts.values()] == [1, None]
  assert verdicts["other"].reason == r"the gold answer is not read: \oint is not read"


def test_json_validator() -> None:
  with Scorer(validator="json", workers=1) as scorer:
    scorer.submit(request("json", response='I add.</think><answer>{"answer": "2+\\\\sqrt{3}"}</answer>'))
    scorer.submit(request("tags"))
    verdicts = scorer.collect()
  assert (verdicts["json"].format, verdicts["json"].correct) == (1, 1)
  assert (verdicts["tags"].format, verdicts["tags"].correct) == (0, 0)


def test_collect_returns_the_requests_since_the_last_collect() -> None:
  with Scorer(workers=1) as scorer:
    assert scorer.collect() == {}
    scorer.submit(request("a"))
    assert list(scorer.collect()) == ["a"]
    scorer.submit(request("a", "7", "5"))
    scorer.submit(request("b"))
    assert {id: verdict.correct for id, verdict in scorer.collect().items()} == {"a": 0, "b": 1}


def test_submit_does_not_wait_for_verdicts() -> None:
  with Scorer(workers=1, timeout_s=60) as scorer:
    scorer.submit(request("first"))
    scorer.collect()
    (worker,) = scorer.worker_pids()
    os.kill(worker, signal.SIGSTOP)  # a submit that waited for a verdict would now block forever
    for index in range(200):
      scorer.submit(request(str(index), rf"\sqrt{{3}}+{index}", rf"{index}+\sqrt{{3}}"))
    os.kill(worker, signal.SIGCONT)
    verdicts = scorer.collect()
  assert [verdict.correct for verdict in verdicts.values()] == [1] * 200


def test_hostile_answers_in_one_batch_do_not_hold_up_a_step() -> None:
  hostile = ["9^{9^9}", "9999!", r"\sum_{k=1}^{100}k", "1=2=5050", "{" * 100_000, "5" * 100_000, r"\frac{1}{" * 50]
  with Scorer(workers=1, timeout_s=3) as scorer:
    wait_for(scorer.worker_pids)
    scorer.submit(request("first"))
    scorer.collect()  # the worker is warm
    (worker,) = scorer.worker_pids()
    begin = time.process_time() + cpu(worker)
    for index in range(70):
      scorer.submit(request(str(index), hostile[index % 7], "5050"))
    verdicts = scorer.collect()
    assert time.process_time() + cpu(worker) - begin < 4
    scorer.submit(request("slow", SLOW_ANSWER, SLOW_GOLD))
    verdicts |= scorer.collect()
  assert {verdict.correct for verdict in verdicts.values()} == {0}
  assert [id for id, verdict in verdicts.items() if "took over 3 s" in verdict.reason] == ["slow"]
  assert verdicts["slow"].time_s >= 3


def test_a_worker_over_the_time_limit_is_killed_and_the_next_request_is_judged() -> None:
  with Scorer(workers=1, timeout_s=3) as scorer:
    scorer.submit(request("slow", SLOW_ANSWER, SLOW_GOLD))
    scorer.submit(request("next"))
    verdicts = scorer.collect()
  assert (verdicts["slow"].correct, verdicts["slow"].reason) == (0, "took over 3 s")
  assert verdicts["next"].correct == 1  # the time to start the new worker did not count toward the limit


def test_a_worker_killed_while_judging_gives_zero_and_is_replaced() -> None:
  with Scorer(workers=1, timeout_s=30) as scorer:
    scorer.submit(request("first"))
    scorer.collect()
    (victim,) = scorer.worker_pids()
    scorer.submit(request("slow", SLOW_ANSWER, SLOW_GOLD))
    wait_for(lambda: computing(scorer))
    os.kill(victim, signal.SIGKILL)
    verdict = scorer.collect()["slow"]
    scorer.submit(request("next", r"\sqrt{5}+2", r"2+\sqrt{5}"))
    assert scorer.collect()["next"].correct == 1
    assert victim not in scorer.worker_pids()
  assert (verdict.correct, verdict.reason) == (0, "the worker died: signal 9")


def test_a_worker_killed_while_idle_costs_no_verdict() -> None:
  with Scorer(workers=1) as scorer:
    scorer.submit(request("first"))
    scorer.collect()
    (victim,) = scorer.worker_pids()
    os.kill(victim, signal.SIGKILL)
    scorer.submit(request("next", r"\sqrt{5}+2", r"2+\sqrt{5}"))
    assert scorer.collect()["next"].correct == 1


def test_only_proper_verdicts_are_cached() -> None:
  with Scorer(workers=1, timeout_s=30) as scorer:
    scorer.submit(request("first"))
    scorer.collect()
    os.kill(scorer.worker_pids()[0], signal.SIGSTOP)
    scorer.submit(request("again"))
    assert scorer.collect()["again"].correct == 1  # from the cache: the stopped worker would give 0
    os.kill(scorer.worker_pids()[0], signal.SIGKILL)
    scorer.submit(request("fresh", r"\sqrt{5}+2", r"2+\sqrt{5}"))
    assert scorer.collect()["fresh"].correct == 1
    scorer.submit(request("slow", SLOW_ANSWER, SLOW_GOLD))
    wait_for(lambda: computing(scorer))
    os.kill(scorer.worker_pids()[0], signal.SIGKILL)
    assert scorer.collect()["slow"].correct == 0
    scorer.submit(request("slow", SLOW_ANSWER, SLOW_GOLD))
    wait_for(lambda: computing(scorer))  # judged again, not cached


def test_the_cache_of_verdicts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(judges, "CACHE_SIZE", 3)
  with Scorer(workers=1) as scorer:
    for index in range(10):
      scorer.submit(request(str(index), str(index), "5"))
    verdicts = scorer.collect()
    assert len(scorer._math._known) == 3
  assert [verdict.correct for verdict in verdicts.values()] == [0] * 5 + [1] + [0] * 4


@pytest.mark.parametrize(
  ("executable", "reason"),
  [("/nonexistent/python", "no worker: cannot start /nonexistent/python"), ("/bin/false", "exit status 1")],
)
def test_a_broken_pool_gives_none_without_delay(monkeypatch: pytest.MonkeyPatch, executable: str, reason: str) -> None:
  started = []
  monkeypatch.setattr(sys, "executable", executable)
  monkeypatch.setattr(pool, "RETRY_AFTER_S", 600)
  monkeypatch.setattr(pool, "WorkerProcess", lambda *given: started.append(1) or WorkerProcess(*given))
  with Scorer(workers=2) as scorer:
    for index in range(50):
      scorer.submit(request(str(index), rf"\sqrt{{3}}+{index}", rf"{index}+\sqrt{{3}}"))
    scorer.submit(request("plain", "5", "5"))
    verdicts = scorer.collect()
  assert len(started) <= 2  # one attempt for each slot, not for each request
  assert verdicts.pop("plain").correct == 1  # plain numbers need no worker
  assert {verdict.correct for verdict in verdicts.values()} == {None}
  assert all(math.isnan(verdict.reward) and reason in verdict.reason for verdict in verdicts.values())
  assert all(verdict.format == 1 for verdict in verdicts.values())


def test_a_broken_pool_retries(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(pool, "RETRY_AFTER_S", 0.5)
  with monkeypatch.context() as broken:
    broken.setattr(sys, "executable", "/nonexistent/python")
    scorer = Scorer(workers=1)
    scorer.submit(request("a"))
    assert scorer.collect()["a"].correct is None
  time.sleep(0.6)
  scorer.submit(request("b"))
  assert scorer.collect()["b"].correct == 1
  scorer.close()


def test_close_leaves_no_process_no_thread_and_no_descriptor() -> None:
  descriptors, processes = len(os.listdir("/proc/self/fd")), children()
  for slow in (False, True):
    scorer = Scorer(workers=2, timeout_s=60)
    scorer.submit(request("a"))
    scorer.collect()
    pids = scorer.worker_pids()
    if slow:
      scorer.submit(request("slow", SLOW_ANSWER, SLOW_GOLD))
      wait_for(lambda scorer=scorer: computing(scorer))
    begin = time.monotonic()
    scorer.close()
    assert time.monotonic() - begin < 40  # close does not wait for verdicts, and the slow one may take 60 s
    assert pids and not any(map(alive, pids))
  Scorer(workers=2).close()  # closed before the workers are ready
  assert children() == processes
  assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("busy", [False, True])
def test_workers_die_with_their_parent(busy: bool) -> None:
  program = (
    "import sys, time\n"
    "from srpo_jax.rewards.scorer import Scorer\n"
    "from tests.helpers.processes import wait_until\n"
    "from tests.helpers.scorers import SLOW_ANSWER, SLOW_GOLD, computing, request\n"
    "scorer = Scorer(workers=1, timeout_s=60)\n"
    "scorer.submit(request('first'))\n"
    "scorer.collect()\n"
    f"if {busy}: scorer.submit(request('slow', SLOW_ANSWER, SLOW_GOLD))\n"
    f"wait_until(lambda: computing(scorer) == {busy}, timeout_s=600)\n"
    "print(*scorer.worker_pids(), flush=True)\n"
    "time.sleep(60)\n"
  )
  with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 1 and all(map(alive, pids))
    used = cpu(pids[0])
    parent.kill()
  wait_for(lambda: not any(map(alive, pids)) or cpu(pids[0]) - used > 3)
  assert not any(map(alive, pids))  # the worker did not finish its request first


def test_a_worker_has_bounded_memory() -> None:
  with Scorer(workers=1) as scorer:
    scorer.submit(request("a"))
    scorer.collect()
    limits = Path(f"/proc/{scorer.worker_pids()[0]}/limits").read_text()
  (line,) = [line for line in limits.splitlines() if line.startswith("Max address space")]
  assert line.split()[3:5] == [str(2 * 1024**3)] * 2


def test_neither_the_scorer_nor_a_worker_loads_heavy_libraries_it_does_not_need() -> None:
  program = (
    "import sys\n"
    "import srpo_jax.rewards.scorer, srpo_jax.rewards.worker, srpo_jax.score\n"
    "heavy = {'jax', 'flax', 'transformers', 'torch', 'sympy', 'math_verify'} & set(sys.modules)\n"
    "from srpo_jax.rewards.math import judge_math\n"
    "assert judge_math('2+x', 'x+2')[0] == 1\n"
    "after = {'jax', 'flax', 'transformers', 'torch'} & set(sys.modules)\n"
    "print(sorted(heavy), sorted(after))"
  )
  done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[] []"


@pytest.mark.parametrize(
  ("bad", "message"),
  [
    (request("r7", domain="colours"), "request r7: domain 'colours' has no judge, expected one of: math"),
    (request("r7", answer=None), "request r7: field answer: expected the gold answer, found None"),
    (request("r7", answer=" "), "request r7: field answer"),
    (request("twice"), "request twice: field id: submitted twice since the last collect"),
  ],
)
def test_a_bad_request_is_named_and_the_others_are_judged(bad: ScoreRequest, message: str) -> None:
  with Scorer(workers=1) as scorer:
    scorer.submit(request("twice"))
    with pytest.raises(InputError) as error:
      scorer.submit(bad)
    assert message in str(error.value)
    assert {id: verdict.correct for id, verdict in scorer.collect().items()} == {"twice": 1}


@pytest.mark.parametrize(
  ("arguments", "field"),
  [
    ({"workers": 0}, "workers"),
    ({"workers": 1.5}, "workers"),
    ({"timeout_s": 0.0}, "timeout_s"),
    ({"timeout_s": math.nan}, "timeout_s"),
    ({"validator": "xml"}, "validator"),
    ({"format_weight": 0.5, "language_penalty": 0.5}, "format_weight"),
    ({"function": "reward"}, "function"),
  ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, object], field: str) -> None:
  with pytest.raises(InputError, match=field):
    Scorer(**arguments)  # type: ignore[arg-type]


def shorter_is_better(request: ScoreRequest, verdict: Verdict) -> Verdict:
  return dataclasses.replace(verdict, reward=verdict.reward - 0.001 * len(request.response))


def test_a_user_defined_reward() -> None:
  with Scorer(workers=1, function=shorter_is_better) as scorer:
    scorer.submit(request("a", "5", "5"))
    verdict = scorer.collect()["a"]
  assert verdict.reward == pytest.approx(1.1 - 0.001 * len(request("a", "5", "5").response))


def failing(request: ScoreRequest, verdict: Verdict) -> Verdict:
  raise KeyError("length")


@pytest.mark.parametrize(
  ("function", "message"),
  [
    (failing, "test_scorer:failing failed on a: KeyError: 'length'"),
    (lambda request, verdict: 1.0, "expected a Verdict, found float"),
    (lambda request, verdict: dataclasses.replace(verdict, id="b"), "field id: expected 'a', found 'b'"),
    (lambda request, verdict: dataclasses.replace(verdict, correct=2), "field correct"),
    (lambda request, verdict: dataclasses.replace(verdict, reward=math.nan), "field reward: expected a finite number"),
  ],
)
def test_a_users_reward_that_fails_is_named(function, message: str) -> None:
  with Scorer(workers=1, function=function) as scorer:
    scorer.submit(request("a", "5", "5"))
    with pytest.raises(InputError) as error:
      scorer.collect()
    assert message in str(error.value) and "reward function" in str(error.value)
    assert scorer.collect() == {}


def test_an_error_of_the_checker_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
  def broken(stated: str, gold: str, form: object) -> None:
    raise RecursionError

  with Scorer(workers=1) as scorer:
    monkeypatch.setattr(judges, "screen_stated", broken)
    scorer.submit(request("a"))
    verdict = scorer.collect()["a"]
  assert (verdict.correct, verdict.reason) == (0, "the checker failed: RecursionError")
  with pytest.raises(RuntimeError, match="closed"):
    monkeypatch.undo()
    scorer.submit(request("b"))
  assert scorer.collect() == {}


def test_collect_reports_the_number_of_verdicts_while_it_waits():
  tests = {"type": "assert", "cases": ["assert f(1) == 1"], "functions": ["f"]}
  program = "import time\ndef f(x):\n  time.sleep(0.2)\n  return x"
  counts = []
  with Scorer(workers=1, sandbox=SandboxOptions(slots=1)) as scorer:
    for i in range(3):
      response = f"x </think> <answer>```python\n{program}\n```</answer>"
      scorer.submit(ScoreRequest(f"r{i}", "", response, True, "code", None, tests))
    assert {v.correct for v in scorer.collect(counts.append).values()} == {1}
  assert counts == sorted(counts) and counts[-1] == 3


def test_the_prompts_style_decides_about_the_form_and_the_scripts() -> None:
  opened = "<think>" + request("x").response
  russian = request("x").response.replace("I add.", "Итак, ответ.")
  requests = [
    request("opened", response=opened, think_opened=False),
    request("closed", think_opened=False),
    request("other token", well_ended=False),
    request("example", prompt="Сколько?", response=russian, asked="Add."),
    request("asked", prompt="Add.", response=russian, asked="Сколько?"),
  ]
  with Scorer(workers=1) as scorer:
    for one in requests:
      scorer.submit(one)
    found = scorer.collect()
  assert [(v.format, v.language_mix) for v in found.values()] == [(1, 0), (0, 0), (0, 0), (1, 1), (1, 0)]
  assert all(verdict.correct == 1 for verdict in found.values())
