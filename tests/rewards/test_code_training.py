"""A training step on MBPP with real prompts, tokens, sandbox and groups. Only the sampler is fake."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from srpo_jax.data.dataset import load_problems
from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.data.prompt_renderer import PromptRenderer
from srpo_jax.data.toy.tokenizer import build_tokenizer
from srpo_jax.model.sampling import Purpose
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rollout import collector as experience
from srpo_jax.rollout.collector import RolloutSampler, rewards_of
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.types import Rollout
from tests.helpers.paths import ROOT
from tests.helpers.runs import STEPS, assert_same_run, rollouts


def test_a_step_on_mbpp_is_judged_by_the_real_sandbox(data_dir, tmp_path, monkeypatch):
  problems = load_problems(str(data_dir / "mbpp.jsonl"), limit=6)
  programs = [json.loads(line)["code"] for line in (data_dir / "mbpp.jsonl").read_text().splitlines()[:6]]
  tokenizer = load_tokenizer(build_tokenizer(tmp_path))
  prompts = [*map(PromptRenderer(tokenizer), problems)]

  def fake_sampler(engine, params, requests, **_):
    """Yields three samples a prompt: the reference program, a program that does nothing, and a truncated response."""
    for request, program in zip(requests, programs, strict=True):
      texts = [answered(program), answered("pass"), answered(program)]
      for sample, text in enumerate(texts):
        ids = [*tokenizer(text)["input_ids"], *([tokenizer.eos_token_id] if sample < 2 else [])]
        tokens = np.asarray(ids, np.int32)
        zeros = np.zeros(len(tokens), np.float32)
        yield Rollout(request.prompt_id, sample, request.tokens, tokens, zeros, truncated=sample == 2)

  monkeypatch.setattr(experience, "sample_groups", fake_sampler)
  with Scorer(workers=1, sandbox=SandboxOptions(min_tier="namespaces", slots=2)) as scorer:
    sampler = RolloutSampler(None, scorer, tokenizer, (tokenizer.eos_token_id,), 16, 0)
    groups, _ = sampler.collect(
      None, prompts, step=0, purpose=next(iter(Purpose)), samples=3, temperature=1.0, max_new_tokens=64
    )
  assert [[v.correct for v in group.verdicts] for group in groups] == [[1, 0, 0]] * 6
  assert [[v.pass_fraction for v in group.verdicts] for group in groups] == [[1.0, 0.0, 0.0]] * 6
  rewards, judged, truncated = rewards_of(groups)
  assert rewards[0] == pytest.approx([1.1, 0.1, 0.0]) and judged.all() and truncated[:, 2].all()
  assert all(group.verdicts[2].reason == "truncated" for group in groups)


def answered(program: str) -> str:
  return f" I write it. </think> <answer>```python\n{program}\n```</answer>"


@pytest.mark.slow
def test_programs_that_depend_on_hashes_and_addresses_are_judged_alike_after_a_resume(talkative, tmp_path):
  file = tmp_path / "config.py"
  changes = "data__train='tests.helpers.plugins:order_dependent_programs', "
  changes += (
    "reward__function='tests.helpers.plugins:judged_then_kill', stages={'stage1': base.stage({'code': 1.0}).to_dict()}"
  )
  file.write_text(
    "from configs import base\nfrom tests.helpers.runs import toy\nfrom ml_collections import ConfigDict\n"
    "import dataclasses\n"
    f"def get_config():\n  return ConfigDict(dataclasses.asdict(toy({str(talkative)!r}, {changes})))\n"
  )

  def launched(name: str, kill_at: int) -> int:
    command = [sys.executable, "-m", "srpo_jax.launch", f"--config={file}", f"--workdir={tmp_path / name}"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"SRPO_TEST_KILL_AT": str(kill_at)}).returncode

  assert launched("unbroken", 0) == 0
  assert (launched("killed", 30), launched("killed", 0)) == (-9, 0)
  assert_same_run(tmp_path / "unbroken", tmp_path / "killed")
  verdicts = [row["correct"] for step in range(STEPS) for row in rollouts(tmp_path / "unbroken", step)]
  assert {0, 1} <= set(verdicts)
