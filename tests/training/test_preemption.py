"""SIGTERM at any moment makes a run save and exit. The resumed run is bit-equal to an uninterrupted one."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from configs import base
from srpo_jax.rewards import code
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.sandbox.client import Sandbox
from srpo_jax.training.learner import Learner
from srpo_jax.training.loop import train
from srpo_jax.training.run import Run
from srpo_jax.utils.errors import PreemptedError
from srpo_jax.utils.preemption import PreemptionSignal
from tests.helpers.paths import ROOT
from tests.helpers.runs import assert_same_run, launch, metrics, toy


def run_until_preempted(config, workdir):
  """Trains until a signal ends the run. Returns the message and the exit status.

  Puts the signal handlers back, because the test process goes on.
  """
  before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
  try:
    with (
      pytest.raises(PreemptedError) as ended,
      PreemptionSignal() as preempted,
      Run(config, workdir, preempted) as run,
    ):
      train(run)
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
  return str(ended.value), ended.value.status


def signalled(monkeypatch, step, call, number=signal.SIGTERM, times=1):
  """Makes this process send itself a signal during a given decode call of a given step."""
  calls, begin, generate = [], InProcessEngine.init_decode_state, InProcessEngine.generate

  def begin_and_count(self):
    calls.append(0)
    return begin(self)

  def generate_and_signal(self, params, decode_state):
    calls[-1] += 1
    for _ in range(times if (len(calls), calls[-1]) == (step + 1, call) else 0):
      os.kill(os.getpid(), number)
    return generate(self, params, decode_state)

  monkeypatch.setattr(InProcessEngine, "init_decode_state", begin_and_count)
  monkeypatch.setattr(InProcessEngine, "generate", generate_and_signal)


# The signal comes in the first step, right after a checkpoint, and (twice) in the step after that.
@pytest.mark.parametrize(
  ("step", "call", "times"), [(0, 1, 1), pytest.param(2, 1, 1, marks=pytest.mark.slow), (3, 2, 2)]
)
def test_a_signal_while_sampling(finished_run, talkative, tmp_path, monkeypatch, step, call, times):
  signalled(monkeypatch, step, call, times=times)
  assert run_until_preempted(toy(talkative), tmp_path / "t") == (f"preempted: saved step {step}", 0)
  monkeypatch.undo()
  assert [row["step"] for row in metrics(tmp_path / "t")] == list(range(step))  # the unfinished step has no row
  assert (tmp_path / "t" / "checkpoints" / str(step)).is_dir()
  launch(toy(talkative), tmp_path / "t")
  assert_same_run(finished_run, tmp_path / "t")


def test_a_signal_while_updating(finished_run, talkative, tmp_path, monkeypatch):
  """A signal between two micro-batches drops the update. It is repeated on resume."""
  make, calls = Learner.__init__, []

  def made(self, *args):
    make(self, *args)
    accumulate = self.accumulate

    def accumulate_and_signal(*arguments):
      calls.append(0)
      if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGTERM)
      return accumulate(*arguments)

    self.accumulate = accumulate_and_signal

  monkeypatch.setattr(Learner, "__init__", made)
  message, status = run_until_preempted(toy(talkative), tmp_path / "t")
  assert re.fullmatch(r"preempted: saved step \d", message) and status == 0 and len(calls) == 3
  monkeypatch.undo()
  launch(toy(talkative), tmp_path / "t")
  assert_same_run(finished_run, tmp_path / "t")


def test_a_signal_while_judging(finished_run, talkative, tmp_path, monkeypatch):
  """A signal to the whole process group also ends the judging workers, so the verdicts of the step are not used."""
  monkeypatch.setenv("SRPO_TEST_TERM_AT", "30")
  message, _ = run_until_preempted(
    toy(talkative, reward__function="tests.helpers.plugins:parity_then_term"), tmp_path / "t"
  )
  assert message == "preempted: saved step 3" and len(metrics(tmp_path / "t")) == 3
  monkeypatch.setenv("SRPO_TEST_TERM_AT", "0")
  launch(toy(talkative, reward__function="tests.helpers.plugins:parity_then_term"), tmp_path / "t")
  assert_same_run(finished_run, tmp_path / "t")


def test_a_signal_while_the_sandbox_hangs(talkative, tmp_path, monkeypatch):
  submit, calls = Sandbox.submit, []

  def submit_and_stop(self, *args, **options):
    submit(self, *args, **options)
    calls.append(0)
    if len(calls) == 5:
      os.kill(self.pids()[0], signal.SIGSTOP)
      os.kill(os.getpid(), signal.SIGTERM)

  monkeypatch.setattr(Sandbox, "submit", submit_and_stop)
  monkeypatch.setattr(code, "stated_program", code.stated_program)  # put back, because the problems replace it
  programs = {"data__train": "tests.helpers.plugins:order_dependent_programs"}
  message, status = run_until_preempted(
    toy(talkative, **programs, stages={"stage1": base.stage({"code": 1.0}).to_dict()}), tmp_path / "t"
  )
  assert (message, status) == ("preempted: saved step 0", 0) and len(calls) >= 5


def test_ctrl_c_saves_and_exits_with_130(talkative, tmp_path, monkeypatch):
  signalled(monkeypatch, 2, 2, signal.SIGINT)
  assert run_until_preempted(toy(talkative), tmp_path / "t") == ("interrupted: saved step 2", 130)


def test_a_signal_before_training_saves_nothing(talkative, tmp_path, monkeypatch):
  monkeypatch.setattr(
    "srpo_jax.rollout.model_files.load_tokenizer", lambda folder: os.kill(os.getpid(), signal.SIGTERM)
  )
  assert run_until_preempted(toy(talkative), tmp_path / "t") == ("preempted: nothing to save", 0)
  assert not (tmp_path / "t").exists()


def test_handlers_are_put_back(talkative):
  before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
  with PreemptionSignal():
    assert signal.getsignal(signal.SIGTERM) != before[0]
  assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def ended_by_sigterm(command, log: Path, env, ready):
  """Sends SIGTERM to a command once `ready(standard error)` is true. Returns (status, seconds, standard error).

  The signal is repeated until the command ends, because processes of one run are signalled at different times.
  """
  with log.open("wb") as stderr:
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | env, stderr=stderr, stdout=subprocess.DEVNULL)
    try:
      while not ready(log.read_text()):
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.05)
      signalled_at = time.monotonic()
      while process.poll() is None:
        assert time.monotonic() - signalled_at < 300, log.read_text()[-3000:]
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
      return process.returncode, time.monotonic() - signalled_at, log.read_text()
    finally:
      process.kill()


@pytest.mark.slow
def test_a_signal_while_the_base_is_made(tmp_path):
  """A signal during the warm-up of the tiny config leaves no files."""
  env = {"SRPO_CACHE": str(tmp_path / "cache")}
  command = [sys.executable, "-m", "srpo_jax.launch", "--config=configs/tiny.py", f"--workdir={tmp_path / 'w'}"]
  status, _, log = ended_by_sigterm(command, tmp_path / "log", env, lambda text: "warm-up" in text)
  assert status == 0
  assert log.splitlines()[-1] == "preempted: nothing to save"
  assert not list((tmp_path / "cache").glob("tiny-base*")) and not (tmp_path / "w").exists()


@pytest.mark.slow  # a minute, and three more if the base is not in the cache
def test_the_tiny_config_saves_within_30_seconds(tmp_path):
  workdir = tmp_path / "w"
  command = [sys.executable, "-m", "srpo_jax.launch", "--config=configs/tiny.py:staged", f"--workdir={workdir}"]
  command += ["--config.eval.every=0", "--config.log.every=1"]
  status, seconds, log = ended_by_sigterm(command, tmp_path / "log", {}, lambda text: "step 3: reward" in text)
  assert status == 0 and seconds < 30
  step = len(metrics(workdir))
  assert log.splitlines()[-1] == f"preempted: saved step {step}" and step >= 4
  assert [f.name for f in (workdir / "checkpoints").iterdir()] == [str(step)]
