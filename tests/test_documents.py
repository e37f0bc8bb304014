"""The README and docs/: their examples are short and run as they stand, and so do their shell lines, on stand-ins."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from srpo_jax.rewards.scorer import Scorer
from srpo_jax.types import ScoreRequest
from tests.helpers.documents import (
  DOCUMENTS,
  SMALL_RUN,
  SMALL_SAMPLES,
  examples,
  install_examples,
  make_clone,
  shell_lines,
)
from tests.helpers.paths import ROOT
from tests.helpers.runs import launch, metrics, rollouts, toy

EXAMPLES = examples()
SMALL = [f"--config.{name}={value}" for name, value in SMALL_RUN.items()]


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
  install_examples(tmp_path, monkeypatch)


def test_each_kind_has_an_example_under_20_lines():
  kinds = {"my_reward.py", "my_judge.py", "my_advantage.py", "my_gspo.py", "my_cispo.py", "my_data.py"}
  assert set(EXAMPLES) == kinds
  assert all(code.count("\n") < 20 for code in EXAMPLES.values())


def test_reward():
  from my_reward import brevity

  with Scorer(workers=1, function=brevity) as scorer:
    for name, body in (("right", "4"), ("wrong", "5")):
      response = f" 2 + 2 </think> <answer>\\boxed{{{body}}}</answer>"
      scorer.submit(ScoreRequest(name, "2 + 2?", response, True, "math", "4"))
    verdicts = scorer.collect()
  assert verdicts["right"].reward == pytest.approx(1.1 + 0.1 / (1 + len(response) / 100))
  assert verdicts["wrong"].reward == pytest.approx(0.1)


def test_advantage():
  from my_advantage import leave_one_out

  rewards = np.array([[1.0, 0.0, 0.5, np.nan]])
  judged = np.array([[True, True, True, False]])
  np.testing.assert_allclose(leave_one_out(rewards, judged, ~judged), [[0.75, -0.75, 0.0, 0.0]])


def test_reward_advantage_and_data_source_in_one_run(talkative, tmp_path):
  changes = {
    "data__train": "my_data:squares",
    "data__limit": 3,
    "reward__function": "my_reward:brevity",
    "advantage__function": "my_advantage:leave_one_out",
    "train__steps": 1,
  }
  workdir = launch(toy(talkative, **changes), tmp_path / "r")
  assert {r["prompt_id"] for r in rollouts(workdir, 0)} == {f"square-{i}" for i in range(3)}
  assert len(metrics(workdir)) == 1


def test_the_readme_fits_two_screens():
  text = (ROOT / "README.md").read_text()
  assert len(text.splitlines()) <= 150 and len(text.split()) <= 1300
  assert text.count("![") <= 2


def test_at_most_ten_lines_are_not_run():
  lines = [line for document in DOCUMENTS for line in shell_lines(document)]
  assert len(lines) >= 25
  assert 0 < sum(bool(line.not_run) for line in lines) <= 10


def holds(raw, path):
  """True if the nested values of a config have a field at the path."""
  return not path or (isinstance(raw, dict) and path[0] in raw and holds(raw[path[0]], path[1:]))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_flags_it_shows_are_fields_of_the_config(document):
  from configs import curate, tiny

  sections = (tiny.get_config("staged").to_dict(), curate.get_config().to_dict())
  for flag in re.findall(r"--config\.([\w.]+)=", (ROOT / document).read_text()):
    assert flag.startswith("prompt.") or any(holds(raw, flag.split(".")) for raw in sections), f"{document}: {flag}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_links_and_paths_are_there(document):
  text = (ROOT / document).read_text()
  folder = (ROOT / document).parent
  for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
    assert (folder / link).exists(), f"{document}: {link}"
  for path in re.findall(r"`((?:srpo_jax|configs|tests|launch)/[\w/.]+)`", text):
    assert (ROOT / path).exists(), f"{document}: {path}"


class Shell:
  """Runs a document's lines in a clone, with small sizes. A server runs until the document ends."""

  def __init__(self, clone):
    self.clone, self.server = clone, None
    with socket.create_server(("127.0.0.1", 0)) as free:
      self.port = free.getsockname()[1]
    paths = os.pathsep.join([str(clone), *filter(None, [os.environ.get("PYTHONPATH")])])
    self.environment = os.environ | {"PYTHONPATH": paths, "SRPO_DATA": str(clone / "data"), "JAX_PLATFORMS": "cpu"}

  def run(self, text):
    words = shlex.split(
      text.replace("localhost:8000", f"localhost:{self.port}").replace("port 8000", f"port {self.port}")
    )
    words += self._small(words)
    if words[0] in ("python", "srpo-jax"):
      words[:1] = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "srpo_jax.cli.main"]
    if "srpo_jax.serve" in words:
      self.server = subprocess.Popen(words, cwd=self.clone, env=self.environment)
      return self._wait()
    done = subprocess.run(words, cwd=self.clone, env=self.environment, capture_output=True, text=True, timeout=1500)
    failed_checks = "srpo_jax.doctor" in words and done.returncode == 1  # a random model may fail a check
    assert done.returncode == 0 or failed_checks, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"

  def _small(self, words):
    """Flags and variables that follow the document's own."""
    if words[:2] == ["make", "demo"]:
      launched = [sys.executable, "-m", "srpo_jax.launch", "--config=configs/tiny.py:staged", *SMALL]
      return ["-o", "install", f"DEMO={shlex.join(launched)}"]
    module = words[words.index("-m") + 1].rpartition(".")[2] if "-m" in words else ""
    if any("smollm2" in word for word in words):
      return [*SMALL, "--config.prompt.style=base"]  # the stand-in has no chat template
    if module == "curate":
      return list(SMALL_SAMPLES) if "label" in words else []
    small = {"launch": SMALL, "doctor": SMALL, "evaluate": [*SMALL_SAMPLES, "--limit=2"], "replay": ["--step=1"]}
    return list(small.get(module, ()))

  def _wait(self):
    ends = time.monotonic() + 600
    while self.server.poll() is None and time.monotonic() < ends:
      try:
        urllib.request.urlopen(f"http://localhost:{self.port}/health", timeout=5).read()
        return
      except OSError:
        time.sleep(0.5)
    raise AssertionError(f"the server did not answer (exit status {self.server.poll()})")

  def close(self):
    if self.server is not None:
      self.server.send_signal(signal.SIGTERM)
      assert self.server.wait(300) == 0


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
  """A scratch clone with a run in runs/demo."""
  folder = make_clone(tmp_path_factory.mktemp("clone"))
  Shell(folder).run("python -m srpo_jax.launch --config=configs/tiny.py:staged --workdir=runs/demo")
  return folder


@pytest.mark.slow  # the lines take 5 to 180 s each
@pytest.mark.parametrize("document", [d for d in DOCUMENTS if any(not line.not_run for line in shell_lines(d))])
def test_its_shell_lines_run(clone, document):
  shell = Shell(clone)
  try:
    for line in shell_lines(document):
      if not line.not_run:
        shell.run(line.text)
  finally:
    shell.close()
