"""The doctor on a healthy run and on inputs with one fault each."""

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from configs.base import stage
from srpo_jax.checks import data, memory, rewards, sampling, storage, text
from srpo_jax.checks.finding import FAIL, PASS, WARN, WIDTH, Finding, summary, table
from srpo_jax.data.encoded import Prompt, load_tokenizer
from srpo_jax.doctor import main
from srpo_jax.model import hf
from srpo_jax.planning.plans import plan
from srpo_jax.planning.workload import Lengths
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.types import Problem, Rollout
from srpo_jax.utils.errors import InputError
from tests.helpers.runs import launch, toy, write_config

GB = 10**9


def levels(findings):
  return {f.check: f.level for f in findings}


def test_a_healthy_run(talkative, tmp_path, capsys):
  changes = {"rollout__backend": "inprocess", "reward__function": "", "rollout__max_new_tokens": 64}
  file = write_config(tmp_path / "c.py", toy(talkative, **changes))
  main([f"--config={file}", f"--workdir={tmp_path / 'run'}"])
  printed = capsys.readouterr().out
  resources = ("disk space", "writing", "memory")
  for check in ("rewards of math", "rows", *resources, "sampler against trainer", "number of slots"):
    assert f"pass  {check}  " in printed
  assert {line[6 + WIDTH : 8 + WIDTH] for line in printed.splitlines()[:-1]} == {"  "}  # findings are aligned
  assert " 0 fail" in printed and not (tmp_path / "run").exists()


def test_a_failure_ends_with_status_1(talkative, tmp_path, capsys):
  faulty = toy(talkative, rollout__backend="inprocess", reward__function="tests.test_doctor:always_right")
  with pytest.raises(SystemExit) as ended:
    main([f"--config={write_config(tmp_path / 'c.py', faulty)}"])
  assert ended.value.code == 1
  assert "fail  rewards of math" in capsys.readouterr().out


def test_all_faults_are_reported_at_once(talkative, tmp_path, monkeypatch, capsys):
  """The run has no EOS, no sandbox, too few positions, and a file where the workdir should be."""
  folder = shutil.copytree(talkative, tmp_path / "base")
  for name, fields in (
    ("config.json", {"max_position_embeddings": 16}),
    ("tokenizer_config.json", {"eos_token": None}),
    ("generation_config.json", {"eos_token_id": None}),
  ):
    old = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
    (folder / name).write_text(json.dumps(old | fields))
  (tmp_path / "file").touch()
  start = SandboxOptions.start

  def refuse(options):
    if options.min_tier != "unsafe":
      raise InputError("no tier works here")
    return start(options)

  monkeypatch.setattr(SandboxOptions, "start", refuse)
  both = {"data__train": "tests.helpers.plugins:problems,tests.helpers.plugins:programs", "reward__function": ""}
  with pytest.raises(SystemExit) as ended:
    main([f"--config={write_config(tmp_path / 'c.py', toy(folder, **both))}", f"--workdir={tmp_path / 'file/run'}"])
  shown = [line for line in capsys.readouterr().out.splitlines() if line[:4] in (PASS, WARN, FAIL)]
  lines = {line[6 : 6 + WIDTH].strip(): line for line in shown}
  assert ended.value.code == 1 and lines["rewards of math"].startswith("pass") and "rewards of code" not in lines
  failing = {check for check, line in lines.items() if line.startswith("fail")}
  assert failing == {"sandbox", "tokens that end a response", "disk space"}
  assert "over the 16 positions" in lines["lengths"] and "not looked at" in lines["sampler against trainer"]


def test_a_run_that_continues_another_is_checked_with_its_policy(talkative, tmp_path, capsys):
  first = launch(toy(talkative, train__steps=1), tmp_path / "first")
  config = toy(talkative, init_from=str(first), model__path="", reward__function="", rollout__max_new_tokens=64)
  main([f"--config={write_config(tmp_path / 'c.py', config)}"])
  assert "pass  sampler against trainer" in capsys.readouterr().out
  shutil.rmtree(first / "checkpoints/1")
  with pytest.raises(InputError, match="first/checkpoints: no checkpoint yet"):
    main([f"--config={tmp_path / 'c.py'}"])


def test_stages_of_a_domain_without_data_are_refused(talkative, tmp_path):
  config = toy(talkative, stages={"stage1": stage({"code": 1.0}).to_dict()}, reward__function="")
  with pytest.raises(InputError, match=r"config\.stages\.stage1\.mix\.code: no prompt of this domain"):
    main([f"--config={write_config(tmp_path / 'c.py', config)}"])


def always_right(request, verdict):
  return dataclasses.replace(verdict, correct=1, reward=1.0)


def test_table():
  name = "longer than the usual column is"
  lines = table([Finding(PASS, "a", "fine"), Finding(FAIL, name, "broken", "mend it")]).splitlines()
  assert lines == [f"pass  a{' ' * 31}  fine", f"fail  {name}   broken", " " * 40 + "-> mend it"]
  assert summary([Finding(PASS, "a", ""), Finding(FAIL, "b", "")]) == "1 pass, 0 warn, 1 fail"


@pytest.mark.parametrize("validator", ["tags", "json"])
def test_rewards(validator):
  with Scorer(workers=1, validator=validator, sandbox=SandboxOptions(min_tier="unsafe", timeout_s=2.0)) as scorer:
    found = levels(rewards.check_rewards(scorer, {"math", "code"}, validator, False))
  assert found["rewards of math"] == found["rewards of code"] == PASS and found["sandbox"] in (PASS, WARN)


def test_format_and_language_are_checked_too(monkeypatch):
  monkeypatch.setattr("srpo_jax.rewards.scorer.format_ok", lambda *_, **__: 1)
  monkeypatch.setattr("srpo_jax.rewards.scorer.language_mix", lambda *_: 0)
  with Scorer(workers=1) as scorer:
    (found,) = rewards.check_rewards(scorer, {"math"}, "tags", False)
    (user_found,) = rewards.check_rewards(scorer, {"math"}, "tags", True)
  assert found.level == FAIL and user_found.level == PASS
  assert "form: format 1, expected 0" in found.found and "languages: language_mix 0, expected 1" in found.found


def test_a_reward_of_the_other_format_fails():
  with Scorer(workers=1, validator="json") as scorer:
    (found,) = rewards.check_rewards(scorer, {"math"}, "tags", False)
  assert found.level == FAIL and "a right answer: correct 0, expected 1" in found.found


def make_prompts(tokenizer, *texts):
  return [Prompt(Problem(t, "math", t), t, np.asarray(tokenizer(t)["input_ids"], np.int32)) for t in texts]


class Tokenizer:
  """A tokenizer with one token per character. `spoil` changes every decoded text."""

  def __init__(self, spoil=lambda text: text, pad=0):
    self.spoil, self.pad_token_id = spoil, pad

  def __call__(self, text, add_special_tokens=False):
    return {"input_ids": [ord(c) for c in text]}

  def __len__(self):
    return 128

  def decode(self, ids, **_):
    return self.spoil("".join(map(chr, ids)))

  def convert_ids_to_tokens(self, id_):
    return f"<{id_}>"


def check_text(tokenizer, stops=(0,), vocabulary=128, texts=("What is 1?",)):
  shape = dataclasses.make_dataclass("Shape", [("vocab_size", int)])(vocabulary)
  return levels(text.check_tokenizer(tokenizer, stops, shape, make_prompts(tokenizer, *texts)))


def test_tokenizer():
  assert set(check_text(Tokenizer()).values()) == {PASS}
  assert check_text(Tokenizer(), vocabulary=100)["vocabulary"] == FAIL
  assert check_text(Tokenizer(), stops=(0, 128))["vocabulary"] == FAIL  # an EOS outside the model's vocabulary
  assert check_text(Tokenizer(pad=None))["padding token"] == check_text(Tokenizer(pad=5))["padding token"] == PASS
  assert check_text(Tokenizer(str.lower))["prompts back from tokens"] == WARN
  assert check_text(Tokenizer(lambda t: t.replace("</think>", "")))["the form of a response in tokens"] == FAIL
  assert check_text(Tokenizer(), stops=(ord("?"),))["special tokens in questions"] == WARN


def test_room_for_a_response():
  tokenizer = Tokenizer()  # the shortest response has 26 characters and the EOS, the example has 57 and the EOS
  assert [text.check_room(tokenizer, n).level for n in (26, 27, 57, 58)] == [FAIL, WARN, WARN, PASS]


def test_a_real_tokenizer(talkative):
  tokenizer = load_tokenizer(talkative)
  found = text.check_tokenizer(tokenizer, (0,), hf.read_config(talkative), make_prompts(tokenizer, "1 + 1?"))
  assert FAIL not in levels(found).values()


def rollout(tokens):
  n = len(tokens)
  return Rollout("p", 0, np.zeros(1, np.int32), np.asarray(tokens, np.int32), np.zeros(n, np.float32), False)


def test_sampling():
  near, far = np.array([-1.0, -2.0]), np.array([-1.0, -2.5])
  assert sampling.check_gap(near, near, "float32", False).level == PASS
  assert sampling.check_gap(near, far, "float32", False).level == FAIL
  assert sampling.check_gap(near, near + 0.02, "bfloat16", False).level == WARN  # without the importance cap
  assert sampling.check_gap(near, near + 0.02, "bfloat16", True).level == PASS
  assert "not finite" in sampling.check_gap(near, near * np.nan, "float32", True).found
  assert sampling.check_micro_batch(near, far, (1, 4), "float32").level == FAIL
  assert sampling.check_micro_batch(near, near + 1e-5, (1, 4), "float32").level == PASS
  near_ties = [0.0, 9e-5, 9e-5, 9e-5]
  assert sampling.check_slots([0.0] * 4, 2, 4, "float32").level == PASS
  assert sampling.check_slots(near_ties, 2, 4, "float32").level == PASS
  assert sampling.check_slots([0.0, 0.0, 0.0, 2e-4], 2, 4, "float32").level == FAIL
  assert sampling.check_slots(near_ties, 2, 4, "bfloat16").level == WARN


def refuse_to_write(*_, **__):
  raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_disk(tmp_path, monkeypatch):
  usage = type("Usage", (), {"free": 10 * GB})
  monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder: usage)
  assert storage.check_space(tmp_path, GB, 2, 0).level == PASS
  assert storage.check_space(tmp_path, 3 * GB, 2, 0).level == WARN  # needs 9 of 10 GB
  assert storage.check_space(tmp_path, 3 * GB, 2, 2 * GB).level == FAIL
  assert storage.checkpoint_bytes(1000, 4) == 12_000
  assert storage.check_speed(tmp_path, 1).level == PASS and list(tmp_path.iterdir()) == []
  assert storage.check_speed(tmp_path / "no", 1).level == FAIL
  with monkeypatch.context() as changed:
    for method in ("open", "unlink"):  # a simulated read-only file system, because root may write anywhere
      changed.setattr(Path, method, refuse_to_write)
    assert storage.check_speed(tmp_path, 1).found == f"{tmp_path}: Read-only file system"
  assert storage.nearest(tmp_path / "a" / "b") == tmp_path
  (tmp_path / "file").touch()
  for workdir in (tmp_path / "file", tmp_path / "file" / "run"):
    assert [f.level for f in storage.check(workdir, 1, 1, 1)] == [FAIL]


def test_memory(talkative):
  def found(fits, total, available, platform="gpu"):
    phase = type("Phase", (), {"total": total, "program": "generate", "held": {}, "temporaries": 0})
    chip = type("Chip", (), {"available": available, "platform": platform})
    topology = type("Topology", (), {"chip": chip, "name": "here", "chips": 2})
    fields = {"fits": fits, "peak": phase, "topology": topology, "refused": [], "programs": {}}
    return memory.finding(type("Plan", (), fields)).level

  assert found(None, GB, None) == PASS and found(True, GB, 2 * GB) == PASS
  assert found(True, 19 * GB, 20 * GB) == WARN
  assert found(None, 1000, None, "cpu") == PASS and found(None, 1 << 60, None, "cpu") == FAIL

  real = plan(toy(talkative), None, Lengths(mean=6, sigma=0.8, prompt=8))
  chip = dataclasses.replace(real.topology.chip, available=1000)
  small = memory.finding(dataclasses.replace(real, topology=dataclasses.replace(real.topology, chip=chip)))
  assert small.level == FAIL and "does not fit" in small.found and "rollout.slots" in small.todo


def test_data():
  item = "A train of cars leaves the old station at noon and goes sixty miles an hour to the sea"
  problems = [Problem("a", "math", f"Please solve: {item}. How far?", "1"), Problem("b", "math", "What is 3?", "3")]
  held = {"exam": [Problem("x", "math", item, "1")]}
  (found,) = data.check_leaks({"train": problems}, held)
  assert found.level == WARN and "1 of them all; a 100% of those of x of exam" in found.found
  assert levels(data.check_leaks({"train": problems[1:]}, held)) == {"held-out items in training rows": PASS}
  refused = type(
    "Set", (), {"name": "t", "refused": {3: "no test"}, "unread": {}, "domains": {"math": ["a"]}, "longest": 5}
  )
  assert data.check_rows(refused, 10)[0].level == WARN and data.check_rows(refused, 1000)[0].level == PASS
  lengths = [data.check_lengths(refused, 8, 10, *limits).level for limits in ((12, None), (0, 15), (0, None), (15, 14))]
  assert lengths == [FAIL, PASS, PASS, WARN]


def test_a_request_has_the_requested_format():
  body = rewards.request_of(rewards.CASES[0], "json").response.partition("<answer>")[2].removesuffix("</answer>")
  assert json.loads(body) == {"answer": rewards.CASES[0].answer}
