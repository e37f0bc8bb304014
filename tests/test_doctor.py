"""The doctor on a healthy run, and on parts with one fault each."""

import dataclasses
import json

import numpy as np
import pytest

from srpo_jax.checkup import data, memory, rewards, sampling, storage, text
from srpo_jax.checkup.finding import FAIL, PASS, WARN, Finding, summary, table
from srpo_jax.data.encoded import Prompt, load_tokenizer
from srpo_jax.doctor import main
from srpo_jax.model import hf
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.types import Problem, Rollout
from tests.test_train import checkpoint, toy  # noqa: F401 (checkpoint is a fixture)

GB = 10**9


def levels(findings):
  return {f.check: f.level for f in findings}


def write_config(path, config):
  """A config file that gives the toy run's config."""
  path.write_text(
    "from ml_collections import ConfigDict\n"
    f"def get_config():\n  return ConfigDict({dataclasses.asdict(config)!r}, convert_dict=True, type_safe=True)\n"
  )
  return path


def test_a_healthy_run(checkpoint, tmp_path, capsys):  # noqa: F811
  file = write_config(tmp_path / "c.py", toy(checkpoint, rollout__backend="inprocess", reward__function=""))
  main([f"--config={file}", f"--workdir={tmp_path / 'run'}"])
  printed = capsys.readouterr().out
  of_disk = ("disk space", "writing", "memory")
  for check in ("rewards of math", "rows of", *of_disk, "sampler against trainer", "number of slots"):
    assert f"pass  {check}" in printed
  assert " 0 fail" in printed and not (tmp_path / "run").exists()


def test_a_failure_ends_with_status_1(checkpoint, tmp_path, capsys):  # noqa: F811
  faulty = toy(checkpoint, rollout__backend="inprocess", reward__function="tests.test_doctor:always_right")
  with pytest.raises(SystemExit) as ended:
    main([f"--config={write_config(tmp_path / 'c.py', faulty)}"])
  assert ended.value.code == 1
  assert "fail  rewards of math" in capsys.readouterr().out


def always_right(request, verdict):
  return dataclasses.replace(verdict, correct=1, reward=1.0)


def test_table():
  lines = table([Finding(PASS, "a", "fine"), Finding(FAIL, "longer", "broken", "mend it")]).splitlines()
  assert lines == ["pass  a       fine", "fail  longer  broken", " " * 14 + "-> mend it"]
  assert summary([Finding(PASS, "a", ""), Finding(FAIL, "b", "")]) == "1 pass, 0 warn, 1 fail"


@pytest.mark.parametrize("validator", ["tags", "json"])
def test_rewards(validator):
  with Scorer(workers=1, validator=validator, sandbox=SandboxOptions(min_tier="unsafe", limit_s=2.0)) as scorer:
    found = levels(rewards.check_rewards(scorer, {"math", "code"}, validator, False))
  assert found["rewards of math"] == found["rewards of code"] == PASS and found["sandbox"] in (PASS, WARN)


def test_a_reward_of_the_other_form_fails():
  with Scorer(workers=1, validator="json") as scorer:
    (found,) = rewards.check_rewards(scorer, {"math"}, "tags", False)
  assert found.level == FAIL and "a right answer: 0, expected 1" in found.found


def make_prompts(tokenizer, *texts):
  return [Prompt(Problem(t, "math", t), t, np.asarray(tokenizer(t)["input_ids"], np.int32)) for t in texts]


class Tokenizer:
  """A character a token; `spoil` is what decoding makes of a text."""

  pad_token_id = 0

  def __init__(self, spoil=lambda text: text):
    self.spoil = spoil

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
  assert check_text(Tokenizer(), vocabulary=100)["size of the vocabulary"] == FAIL
  assert check_text(Tokenizer(str.lower))["prompts back from tokens"] == WARN
  assert check_text(Tokenizer(lambda t: t.replace("</think>", "")))["the form of a response in tokens"] == FAIL
  assert check_text(Tokenizer(), stops=(ord("?"),))["special tokens in prompts"] == WARN


def test_a_real_tokenizer(checkpoint):  # noqa: F811
  tokenizer = load_tokenizer(checkpoint)
  found = text.check_tokenizer(tokenizer, (0,), hf.read_config(checkpoint), make_prompts(tokenizer, "1 + 1?"))
  assert FAIL not in levels(found).values()


def rollout(tokens):
  n = len(tokens)
  return Rollout("p", 0, np.zeros(1, np.int32), np.asarray(tokens, np.int32), np.zeros(n, np.float32), False)


def test_sampling():
  near, far = np.array([-1.0, -2.0]), np.array([-1.0, -2.5])
  assert sampling.check_gap(near, near, "float32", False).level == PASS
  assert sampling.check_gap(near, far, "float32", False).level == FAIL
  assert sampling.check_gap(near, near + 0.02, "bfloat16", False).level == WARN  # the cap is off
  assert sampling.check_gap(near, near + 0.02, "bfloat16", True).level == PASS
  assert sampling.check_gap(near, near * np.nan, "float32", True).level == FAIL
  assert sampling.check_micro_batch(near, far, (1, 4), "float32").level == FAIL
  assert sampling.check_micro_batch(near, near + 1e-5, (1, 4), "float32").level == PASS
  same, other = [rollout([1, 2])] * 4, [rollout([1, 3])] * 4
  assert sampling.check_slots(same, same, 2, 4, "float32").level == PASS
  assert sampling.check_slots(same, other, 2, 4, "float32").level == FAIL
  assert sampling.check_slots(same, other, 2, 4, "bfloat16").level == WARN


def test_disk(tmp_path, monkeypatch):
  usage = type("Usage", (), {"free": 10 * GB})
  monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder: usage)
  assert storage.check_space(tmp_path, GB, 2, 0).level == PASS
  assert storage.check_space(tmp_path, 3 * GB, 2, 0).level == WARN  # nine of ten
  assert storage.check_space(tmp_path, 3 * GB, 2, 2 * GB).level == FAIL
  assert storage.checkpoint_bytes(1000, 4) == 12_000
  assert storage.check_speed(tmp_path, 1).level == PASS and list(tmp_path.iterdir()) == []
  assert storage.check_speed(tmp_path / "no", 1).level == FAIL
  assert storage.nearest(tmp_path / "a" / "b") == tmp_path


def test_memory():
  def found(fits, total, available):
    phase = type("Phase", (), {"total": total, "program": "generate", "held": {}, "temporaries": 0})
    chip = type("Chip", (), {"available": available})
    topology = type("Topology", (), {"chip": chip, "name": "here"})
    fields = {"fits": fits, "peak": phase, "topology": topology, "refused": [], "programs": {}}
    return memory.finding(type("Plan", (), fields)).level

  assert found(None, GB, None) == PASS and found(True, GB, 2 * GB) == PASS
  assert found(True, 19 * GB, 20 * GB) == WARN


def test_data():
  item = "A train of cars leaves the old station at noon and goes sixty miles an hour to the sea"
  problems = [Problem("a", "math", f"Please solve: {item}. How far?", "1"), Problem("b", "math", "What is 3?", "3")]
  held = {"exam": [Problem("x", "math", item, "1")]}
  (found,) = data.check_leaks({"train": problems}, held)
  assert found.level == WARN and "1 rows of train, as a, which holds item x of exam" in found.found
  assert levels(data.check_leaks({"train": problems[1:]}, held)) == {"held-out items in training rows": PASS}
  refused = type("Set", (), {"name": "t", "refused": {3: "no test"}, "domains": {"math": ["a"]}, "longest": 5})
  assert data.check_rows(refused, 10)[0].level == WARN and data.check_rows(refused, 1000)[0].level == PASS
  assert data.check_lengths(refused, 8, 10, 12).level == FAIL and data.check_lengths(refused, 8, 10, 0).level == PASS


def test_a_request_is_of_the_form_that_is_asked_for():
  body = rewards.request_of(rewards.CASES[0], "json").response.partition("<answer>")[2].removesuffix("</answer>")
  assert json.loads(body) == {"answer": rewards.CASES[0].answer}
