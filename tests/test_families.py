"""Takes a tiny model of each family through the commands: doctor, launch, export, evaluate and serve."""

import json

import numpy as np
import pytest
import torch
import transformers

from srpo_jax import doctor, evaluate, export
from srpo_jax.model import hf
from srpo_jax.model.files import COMPANION_FILES
from srpo_jax.planning.plans import shape_of
from srpo_jax.training.export import load_policy
from tests.helpers.checkpoints import make_checkpoint, make_talkative
from tests.helpers.runs import launch, metrics, toy, write_config
from tests.helpers.servers import STOP, ids, serving

NEW = ("qwen3", "llama")
STEPS = 2


@pytest.fixture(scope="module", params=NEW)
def base(request, tmp_path_factory):
  folder = tmp_path_factory.mktemp(request.param)
  checkpoint = make_checkpoint(folder / "whole", family=request.param, std=0.2, seed=2, tie_word_embeddings=False)
  return make_talkative(checkpoint, folder / "model")


@pytest.fixture(scope="module")
def exported(base, tmp_path_factory):
  """Workdir of a short run from the base, and the folder exported from it."""
  folder = tmp_path_factory.mktemp("run")
  workdir = launch(toy(base, train__steps=STEPS, optimizer__learning_rate=1e-3), folder / "run")
  export.main(["--workdir", str(workdir), "--out", str(folder / "out")])
  return workdir, folder / "out"


def test_a_run_and_its_export(base, exported):
  """The policy of each step is that of the sampler, and the exported folder holds the trained weights."""
  workdir, out = exported
  rows = metrics(workdir)
  assert len(rows) == STEPS and all(row["policy/logprob_gap_max"] < 1e-4 for row in rows)
  assert any(row["policy/grad_norm"] > 0 for row in rows)
  params, config, step = load_policy(workdir)
  assert step == STEPS and config == hf.read_config(out) == hf.read_config(base) == shape_of(toy(base))
  for name, leaf in hf.load_params(out, config)["layers"].items():
    changed = (leaf["weight"], params["layers"][name]["weight"]) if "norm" in name else (leaf, params["layers"][name])
    np.testing.assert_array_equal(*changed)
  for file in base.iterdir():
    if file.name in COMPANION_FILES:
      assert (out / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.slow
def test_the_doctor_finds_nothing(base, tmp_path, capsys):
  changes = {"reward__function": "", "rollout__max_new_tokens": 64}
  doctor.main([f"--config={write_config(tmp_path / 'c.py', toy(base, **changes))}"])
  printed = capsys.readouterr().out
  assert " 0 fail" in printed
  for check in ("sampler against trainer", "size of a micro-batch", "number of slots"):
    assert f"pass  {check}  " in printed


@pytest.mark.slow
def test_an_exported_policy_is_evaluated(exported, tmp_path):
  flags = ["--samples=2", "--max-new-tokens=12", "--config.rollout.slots=8", "--config.reward.workers=1"]
  flags += ["--config.rollout.backend=inprocess", "--config.log.progress=False"]
  evaluate.main(
    [
      f"--model={exported[1]}",
      "--config=configs/tiny.py",
      "--config.reward.function=tests.helpers.plugins:parity",
      "--sets=tests.helpers.label_plugins:rows",
      f"--out={tmp_path / 'out'}",
      *flags,
    ]
  )
  (results,) = (tmp_path / "out").glob("results*.json")
  assert json.loads(results.read_text())


@pytest.mark.slow
def test_a_server_answers_as_transformers(exported):
  """Greedy tokens of the server are those that transformers generates from the exported folder."""
  out, prompt, n = exported[1], list(range(40, 52)), 24
  config = hf.read_config(out)
  model = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
  with torch.no_grad():
    expected = model.generate(torch.tensor([prompt]), max_new_tokens=n, do_sample=False, eos_token_id=list(STOP))
  with serving((config, hf.load_params(out, config)), out) as server:
    body = {"prompt": prompt, "max_tokens": n, "temperature": 0.0, "logprobs": 0}
    status, answer = server.post(body)
  assert status == 200, answer
  wanted = [token for token in expected[0, len(prompt) :].tolist() if token not in STOP]
  assert len(wanted) > 3 and ids(answer["choices"][0]) == wanted
