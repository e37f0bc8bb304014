"""Training on two processes with four devices each equals training on one process with one or eight devices.

The tests start, signal and kill real processes.
"""

import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from srpo_jax.cli.run_flags import parse_flags
from srpo_jax.config import read_config
from srpo_jax.model.sampling import Purpose, prompt_key
from srpo_jax.training.build import facts
from srpo_jax.training.export import load_policy
from srpo_jax.types import Rollout
from srpo_jax.utils.errors import InputError
from tests.helpers.fake_hub import Repository, folder_files, serve_hub
from tests.helpers.multihost import case_steps, log_of, on_group, started, statuses
from tests.helpers.paths import ROOT
from tests.helpers.runs import launch, metrics, timeless, toy
from tests.helpers.sharded import digest, edge_distance

STEPS = (0, 1, 2)  # the last one ends an epoch
MESH = (2, 4, 1)
TOLERANCE = {"rel": 1e-5, "abs": 1e-5}


def test_host_values_are_exchanged(tmp_path):
  first, second = found = on_group("exchange", tmp_path / "x")
  assert [report["index"] for report in found] == [[0, 2, True], [1, 2, False]]
  for report in found:
    assert report["gathered"] == [{"process": 0, "text": "x" * 5}, {"process": 1, "text": "x" * 3005}]
    assert report["any"] == [True, False]
    assert report["refused"] == "process 1: rows.jsonl:3: expected a number"
    assert report["from_writer"] == "written" and report["same"] is None
    assert report["differ"] == "data: d0 on process 0, d1 on process 1, expected the same on all"
  assert (first["agreed"], second["agreed"], first["order"], second["order"]) == (0, 1, [0], [])


def test_a_base_in_another_folder_is_the_same_base(talkative, tmp_path):
  """Hosts copy a base from gs:// to different folders. A copy whose weights differ is noticed."""
  copies = [Path(shutil.copytree(talkative, tmp_path / name)) for name in "ab"]
  first, second = (facts(toy(talkative), folder, []) for folder in copies)
  assert first == second
  weights = next(copies[1].glob("*.safetensors"))
  weights.write_bytes(weights.read_bytes()[:-1] + b"!")
  assert facts(toy(talkative), copies[1], []) != first


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (["--num_processes=2"], "--coordinator: missing"),
    (["--coordinator=host:1", "--num_processes=2"], "--process_id: missing"),
    (["--coordinator=host:1", "--num_processes=two", "--process_id=0"], "--num_processes: expected a whole number"),
    (["--coordinator=host", "--num_processes=2", "--process_id=0"], "--coordinator: expected HOST:PORT"),
    (["--coordinator=host:1", "--num_processes=2", "--process_id=2"], "--process_id: expected 0 to 1"),
  ],
)
def test_incomplete_process_flags_are_refused(flags, words, monkeypatch):
  from srpo_jax.utils import processes

  monkeypatch.chdir(ROOT)
  _, _, process_flags = parse_flags(["--config=configs/tiny.py", *flags])
  with pytest.raises(InputError, match=words), processes.joined(**process_flags):
    pass


RESPONSES = {
  "math": [
    " 6 * 7 = 42 </think> <answer> \\boxed{42} </answer>",
    " so </think> <answer> \\boxed{41} </answer>",
    " no form \\boxed{42}",
    " </think> <answer> \\boxed{42.0} </answer>",
    " 42 </think> <answer> 42 </answer>",
  ],
  "code": [
    " f </think> <answer> ```python\ndef f(x):\n  return x + 2\n``` </answer>",
    " f </think> <answer> ```python\ndef f(x):\n  return x * 2\n``` </answer>",
    " f </think> <answer> ```python\ndef f(x):\n  return x\n``` </answer>",
    " f </think> <answer> ```python\ndef f(x:\n``` </answer>",
    " none </think> <answer> none </answer>",
  ],
}


@pytest.mark.slow  # 25 s, most of it waiting for the missing process
def test_a_process_without_its_peers_ends_with_an_error(tmp_path):
  late = "from srpo_jax.utils import processes\nprocesses.START_TIMEOUT_S = 5\nwith processes.joined(): pass"
  with started(["-c", late], tmp_path / "late", processes=2) as running:
    running[1].kill()
    assert statuses(running[:1], 300) != [0]
  assert re.search("^error: no processes joined at .* within 5 s", log_of(tmp_path / "late", 0).read_text(), re.M)


@pytest.mark.slow  # 20 s
def test_each_process_judges_its_share_and_all_get_all_verdicts(tmp_path):
  found = on_group("scoring", tmp_path / "s", responses=RESPONSES, samples=5)
  (single,) = on_group("scoring", tmp_path / "a", processes=1, responses=RESPONSES, samples=5)
  everything = [f"{id_}/{s}" for id_ in "mc" for s in range(5)]
  assert single["submitted"] == everything
  assert [report["submitted"] for report in found] == [everything[0::2], everything[1::2]]
  assert found[0]["verdicts"] == found[1]["verdicts"] == single["verdicts"]
  correct = [single["verdicts"][id_][0] for id_ in everything]
  assert correct == [1, 0, 0, 1, 1, 1, 1, 0, 0, 0]


@pytest.fixture(scope="module")
def source(talkative, tmp_path_factory):
  """Workdir of a run on one device with a checkpoint at every step."""
  config = toy(talkative, train__steps=max(STEPS), checkpoint__every=1, checkpoint__keep=9)
  return launch(config, tmp_path_factory.mktemp("source") / "run")


@pytest.fixture(scope="module")
def pair(talkative, source, tmp_path_factory):
  """The reports of two processes about each step, and the folder of their workdirs."""
  folder = tmp_path_factory.mktemp("pair")
  arguments = {"checkpoint": str(talkative), "source": str(source), "folder": str(folder / "w"), "steps": STEPS}
  return on_group("steps", folder / "p", mesh=MESH, **arguments), folder / "w"


def assert_close(got, expected, where=""):
  """Asserts that nested values are equal, floats within TOLERANCE."""
  if isinstance(expected, dict):
    assert got.keys() == expected.keys(), where
    for name in expected:
      assert_close(got[name], expected[name], f"{where}/{name}")
  elif isinstance(expected, list | tuple):
    assert len(got) == len(expected), where
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
      assert_close(a, b, f"{where}[{i}]")
  elif isinstance(expected, float) and isinstance(got, float):
    assert got == pytest.approx(expected, **TOLERANCE), where
  else:
    assert got == expected, where


def diverged(checkpoint, source, step, got, expected):
  """Returns the number of responses that differ.

  Asserts that each first differs where the random draw is within 1e-4 of the boundary between two tokens.
  """
  rows = [
    sorted(
      pq.read_table(folder / f"step_{step}" / f"rollouts/step_{step:06d}.parquet").to_pylist(),
      key=lambda row: (row["prompt_id"], row["sample"]),
    )
    for folder in (got, expected)
  ]
  assert len(rows[0]) == len(rows[1]) > 0
  n = 0
  for a, b in zip(*rows, strict=True):
    assert (a["prompt_id"], a["sample"], a["prompt"]) == (b["prompt_id"], b["sample"], b["prompt"])
    if a["token_ids"] != b["token_ids"]:
      params, config, _ = load_policy(source, step)
      length = min(len(a["token_ids"]), len(b["token_ids"]))
      at = next(i for i in range(length) if a["token_ids"][i] != b["token_ids"][i])
      with_prompt = run_prompt(checkpoint, a["prompt"])
      rollout = Rollout(a["prompt_id"], a["sample"], with_prompt, np.array(a["token_ids"]), None, False)
      key = prompt_key(0, Purpose.TRAIN, step, a["prompt_id"])
      assert edge_distance(config, params, rollout, at, key) < 1e-4, a["prompt_id"]
      n += 1
    else:
      np.testing.assert_allclose(a["sampler_logprobs"], b["sampler_logprobs"], atol=1e-4)
  return n


def run_prompt(checkpoint, text):
  from srpo_jax.data.encoded import load_tokenizer

  return np.asarray(load_tokenizer(checkpoint)(text, add_special_tokens=False)["input_ids"], np.int32)


@pytest.mark.slow  # 2 minutes, the fixtures included
@pytest.mark.parametrize("devices", [8, 1])
def test_two_processes_step_as_one_does(pair, source, talkative, tmp_path, devices):
  (first, second), folder = pair
  arguments = {"checkpoint": str(talkative), "source": str(source), "folder": str(tmp_path / "w"), "steps": STEPS}
  if devices == 1:
    one = case_steps(mesh=(1, 1, 1), **arguments)
  else:
    (one,) = on_group("steps", tmp_path / "one", processes=1, devices=8, mesh=MESH, **arguments)
  assert first == second  # metrics, history, restored and updated parameters, bit for bit
  same = 0
  for step, got, expected in zip(STEPS, first, one, strict=True):
    assert (got["devices"], expected["devices"]) == (8, devices)
    assert got["restored"] == expected["restored"], "the restored parameters differ"
    if step:
      assert got["restored"] == digest(load_policy(source, step)[0])
    assert got["after"] != got["restored"]
    if diverged(talkative, source, step, folder, tmp_path / "w") == 0:
      assert_close(got["row"], expected["row"], f"step {step}")
      assert_close(got["position"], expected["position"], f"step {step}")
      history = [sorted((w / f"step_{step}").glob("history/*/*.parquet")) for w in (folder, tmp_path / "w")]
      assert len(history[0]) == len(history[1]) == (step == max(STEPS))
      for a, b in zip(*history, strict=True):
        assert_close(pq.read_table(a).to_pylist(), pq.read_table(b).to_pylist(), str(a))
      same += 1
  assert same >= 2  # draws on a boundary are rare


@pytest.mark.slow  # 15 s more
def test_two_processes_to_one(pair, talkative, tmp_path):
  """One process reads equal values from the workdir of two processes and resumes the run."""
  (first, _), folder = pair
  workdir = tmp_path / "w"
  shutil.copytree(folder / f"step_{max(STEPS)}", workdir)
  params, _, step = load_policy(workdir)
  assert (step, digest(params)) == (max(STEPS) + 1, first[-1]["after"])
  config = toy(talkative, train__steps=step + 2, checkpoint__every=1, checkpoint__keep=9)
  launch(config, workdir)
  assert [row["step"] for row in metrics(workdir)] == list(range(step + 2))
  assert load_policy(workdir)[2] == step + 2


def command_of(checkpoint, folder, **changes):
  """Returns the launch command of a toy run on the mesh of both processes."""
  file = folder / "config.py"
  sizes = dict(zip(("mesh__data", "mesh__fsdp", "mesh__tensor"), MESH, strict=True)) | changes
  file.write_text(
    "from tests.helpers.runs import toy\nfrom ml_collections import ConfigDict\nimport dataclasses\n"
    f"def get_config():\n  return ConfigDict(dataclasses.asdict(toy({str(checkpoint)!r}, **{sizes!r})))\n"
  )
  return ["-m", "srpo_jax.launch", f"--config={file}", f"--workdir={folder / 'w'}"]


def wait_for_rows(running, workdir, n, logs):
  ends = time.monotonic() + 1200
  while len(metrics(workdir)) < n:
    assert time.monotonic() < ends and all(p.poll() is None for p in running), log_of(logs, 0).read_text()[-3000:]
    time.sleep(0.02)


def finish(checkpoint, folder, steps):
  """Runs the same command again and asserts that it resumes and finishes."""
  with started(command_of(checkpoint, folder, train__steps=steps, checkpoint__every=2), folder / "again") as running:
    assert statuses(running, 1200) == [0, 0], log_of(folder / "again", 0).read_text()[-3000:]
  assert "resuming" in log_of(folder / "again", 0).read_text()
  assert [row["step"] for row in metrics(folder / "w")] == list(range(steps))


def assert_as_alone(checkpoint, folder, steps):
  """Asserts that the run has the metrics of an uninterrupted run on one device, floats within a tolerance."""
  single = launch(toy(checkpoint, train__steps=steps), folder / "single")
  for got, expected in zip(timeless(metrics(folder / "w")), timeless(metrics(single)), strict=True):
    for name, value in expected.items():
      assert got[name] == (pytest.approx(value, rel=1e-3, abs=1e-5) if isinstance(value, float) else value), name


@pytest.mark.slow  # a minute each, and half a minute more if the victim hangs
@pytest.mark.parametrize(("victim", "number"), [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_the_end_of_one_ends_the_other_and_the_pair_resumes(talkative, tmp_path, victim, number):
  command = command_of(talkative, tmp_path, train__steps=1000, checkpoint__every=2)
  with started(command, tmp_path / "killed") as running:
    wait_for_rows(running, tmp_path / "w", 3, tmp_path / "killed")
    os.kill(running[victim].pid, number)
    (status,) = statuses([running[1 - victim]], 60)
  log = log_of(tmp_path / "killed", 1 - victim).read_text()
  assert status != 0
  assert re.search(rf"^error: process {1 - victim} of 2 (was ended|ends): .*last checkpoint$", log, re.M), log[-3000:]
  steps = len(metrics(tmp_path / "w")) + 2
  finish(talkative, tmp_path, steps)
  assert_as_alone(talkative, tmp_path, steps)


@pytest.mark.slow  # a minute each
@pytest.mark.parametrize("signalled", [(0, 1), (1,)])
def test_preempted_hosts_agree_on_the_step(talkative, tmp_path, signalled):
  command = command_of(talkative, tmp_path, train__steps=1000, checkpoint__every=1000)
  with started(command, tmp_path / "preempted") as running:
    wait_for_rows(running, tmp_path / "w", 2, tmp_path / "preempted")
    for process in signalled:
      running[process].send_signal(signal.SIGTERM)
    assert statuses(running, 30) == [0, 0], log_of(tmp_path / "preempted", 0).read_text()[-3000:]
  step = len(metrics(tmp_path / "w"))
  for i in range(2):
    assert log_of(tmp_path / "preempted", i).read_text().splitlines()[-1] == f"preempted: saved step {step}"
  assert [f.name for f in (tmp_path / "w" / "checkpoints").iterdir()] == [str(step)] and step >= 2
  finish(talkative, tmp_path, step + 1)
  assert_as_alone(talkative, tmp_path, step + 1)


@pytest.mark.slow  # 20 s each
@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    ([["--config.rollout.group=4"], ["--config.rollout.group=6"]], r"config\.rollout\.group: 4 on process 0, 6 on"),
    ([[], ["--config.data.train=no/such.jsonl"]], r"process 1: no/such\.jsonl: no such file"),
  ],
)
def test_processes_that_do_not_agree_are_refused_in_one_line(talkative, tmp_path, arguments, words):
  with started(command_of(talkative, tmp_path), tmp_path / "differ", arguments=arguments) as running:
    assert statuses(running, 600) == [2, 2]
  for i in range(2):
    (line,) = [line for line in log_of(tmp_path / "differ", i).read_text().splitlines() if line.startswith("error:")]
    assert re.match(f"error: {words}", line), line
  assert not (tmp_path / "w" / "config.json").exists()


@pytest.mark.slow  # 80 s, 60 of them for a shared file system to show new files
def test_a_workdir_that_is_not_shared_is_refused(talkative, tmp_path):
  command = command_of(talkative, tmp_path)[:-1]
  folders = [[f"--workdir={tmp_path / str(i)}"] for i in range(2)]
  with started(command, tmp_path / "split", arguments=folders) as running:
    assert statuses(running, 900) == [2, 2]
  assert "expected a workdir that all processes share" in log_of(tmp_path / "split", 0).read_text()


@pytest.mark.slow  # 30 s
def test_one_process_asks_the_hub_for_the_commit_of_all(talkative, tmp_path, monkeypatch):
  with serve_hub() as hub:
    repository = hub.repositories["own/model"] = Repository()
    commit = repository.push(folder_files(talkative))
    for name, value in hub.env(tmp_path / "cache").items():
      monkeypatch.setenv(name, value)
    command = command_of("own/model", tmp_path, train__steps=1)
    with started(command, tmp_path / "named") as running:
      assert statuses(running, 900) == [0, 0], log_of(tmp_path / "named", 1).read_text()[-3000:]
    asked = [path for _, path, *_ in hub.requests if path.endswith(("/own/model", "/revision/main"))]
  assert len(asked) == 2  # of one process: find_commit asks with two requests
  assert read_config(tmp_path / "w" / "config.json").model.revision == commit
