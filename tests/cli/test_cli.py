"""The entry points run as commands: their output, and one line with exit status 2 for every error."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from srpo_jax import export, launch, logprobs
from srpo_jax.cli.run_flags import parse_flags
from srpo_jax.evaluation.logprobs import text_logprobs
from srpo_jax.training.export import load_policy
from srpo_jax.training.workdir import read_rows
from srpo_jax.utils.errors import InputError
from tests.helpers.paths import ROOT
from tests.helpers.runs import launch as run
from tests.helpers.runs import toy

TINY = "--config=configs/tiny.py"


@pytest.fixture(scope="module")
def workdir(talkative, tmp_path_factory):
  return run(toy(talkative, train__steps=2, checkpoint__every=1), tmp_path_factory.mktemp("cli") / "run")


def call(module, *args):
  return subprocess.run([sys.executable, "-m", f"srpo_jax.{module}", *args], cwd=ROOT, capture_output=True, text=True)


def test_the_default_workdir_is_named_after_the_config_and_its_regime():
  for config, name in ((TINY, "tiny"), (f"{TINY}:staged", "tiny-staged")):
    assert parse_flags([config])[1] == Path("runs") / name


def test_an_unknown_regime_is_one_line():
  with pytest.raises(InputError, match=r"^flags: ValueError: nope: expected one of the regimes math, code, mixed"):
    parse_flags([f"{TINY}:nope"])


@pytest.mark.parametrize(
  ("args", "words"),
  [
    ([], "--config"),
    (["--config=configs/none.py"], "configs/none.py: no such file"),
    ([TINY, "--config.rollout.promts=3"], "config.rollout.promts: unknown field, expected prompts"),
    ([TINY, "--config.bogus.x=3"], "config.bogus.x: unknown field"),
    ([TINY, "--config.rollout.prompts=many"], "rollout.prompts"),
    ([TINY, "--config.rollout.prompts=0"], "config.rollout.prompts"),
    ([TINY, "--no_such_flag=1"], "no_such_flag"),
    ([TINY, "stray"], "stray"),
    ([TINY, "--config.data.train=no/such.jsonl"], "no/such.jsonl: no such file"),
    ([TINY, "--config.model.path=/no/such/folder"], "config.json: no such file"),
    ([TINY, "--config.advantage.scale=big"], "config.advantage.scale"),
  ],
)
def test_launch_refuses_in_one_line(args, words, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  with pytest.raises(InputError) as error:
    launch.main([*args, f"--workdir={tmp_path / 'w'}"] if args else args)
  assert words in str(error.value)
  assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
  ("module", "args"),
  [
    ("launch", [TINY, "--config.rollout.promts=3"]),
    ("export", ["--workdir", "/no/such/run", "--out", "/no/such/out"]),
    ("logprobs", ["--model", "x"]),
    ("score", ["--input", "/no/such/file", "--out", "/no/such/out"]),
    ("evaluate", ["--model", "/no/such/model", "--sets", "aime24"]),
  ],
)
def test_exit_status_2_with_one_line(module, args):
  done = call(module, *args)
  assert done.returncode == 2 and done.stdout == ""
  assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_place_that_cannot_be_written_is_named(talkative, tmp_path):
  source = tmp_path / "t.jsonl"
  source.write_text('{"text": "a"}\n')
  done = call("logprobs", "--model", str(talkative), "--input", str(source), "--out", "/no/such/folder/out.jsonl")
  assert done.returncode == 2
  last = done.stderr.splitlines()[-1]  # if libtpu is installed, it first reports that there is no TPU
  assert last.startswith("error: /no/such/folder/out.jsonl") and "No such" in last


@pytest.mark.parametrize("module", ["launch", "export", "logprobs", "score", "evaluate", "replay", "doctor", "report"])
def test_help(module):
  done = call(module, "--help")
  assert done.returncode == 0 and f"srpo_jax.{module}" in done.stdout


def test_bad_rows_of_a_train_file_are_named(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  file = tmp_path / "t.jsonl"
  file.write_text('{"question": "1+1?", "answer": "#### 2"}\n{"question": "1+2?", "answer": "three"}\n')
  with pytest.raises(InputError, match=r"t\.jsonl:2"):
    launch.main([TINY, f"--config.data.train={file}", f"--workdir={tmp_path / 'w'}"])


def test_export_is_loaded_by_transformers(workdir, talkative, tmp_path):
  out = tmp_path / "out"
  export.main(["--workdir", str(workdir), "--out", str(out), "--max-shard-gb", "0.0001"])
  assert (out / "model.safetensors.index.json").exists()
  for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
    assert (out / name).read_bytes() == (talkative / name).read_bytes()
  tokens = torch.arange(30, 50)[None]
  model = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
  theirs = torch.log_softmax(model(tokens).logits, -1)[0].detach().numpy()
  params, config, _ = load_policy(workdir)
  ours = text_logprobs(params, config, tokens[0].tolist())
  np.testing.assert_allclose(ours, theirs[np.arange(19), tokens[0, 1:]], atol=1e-5)


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf"])
def test_export_requires_a_positive_shard_size(tmp_path, size):
  with pytest.raises(InputError, match="--max-shard-gb: expected a positive number"):
    export.main([f"--workdir={tmp_path}", f"--out={tmp_path / 'out'}", f"--max-shard-gb={size}"])


def test_export_of_a_step(workdir, tmp_path):
  with pytest.raises(InputError, match=r"no checkpoint of step 7, expected one of: 1, 2"):
    export.main(["--workdir", str(workdir), "--step", "7", "--out", str(tmp_path / "a")])
  assert not (tmp_path / "a").exists()
  for step in (1, 2):
    export.main(["--workdir", str(workdir), "--step", str(step), "--out", str(tmp_path / str(step))])
  one, two = ((tmp_path / s / "model.safetensors").read_bytes() for s in "12")
  assert one != two
  with pytest.raises(InputError, match="not an empty folder"):
    export.main(["--workdir", str(workdir), "--out", str(tmp_path / "1")])
  assert (tmp_path / "1" / "model.safetensors").read_bytes() == one


def test_logprobs_against_transformers(talkative, tmp_path):
  rows = [
    {"id": 7, "text": "What is 12 + 34? It is 46, naïvely."},
    {"prompt": "User: 2 + 2?\nAssistant: <think>", "response": " 4 </think>"},
    {"text": "x" * 150},
  ]
  source, out = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
  source.write_text("".join(json.dumps(row) + "\n" for row in rows))
  logprobs.main(["--model", str(talkative), "--input", str(source), "--out", str(out)])
  tokenizer = transformers.AutoTokenizer.from_pretrained(talkative)
  model = transformers.AutoModelForCausalLM.from_pretrained(talkative).eval()
  got = read_rows(out)
  assert [row.get("id") for row in got] == [7, None, None]
  for row, given in zip(got, rows, strict=True):
    prompt = tokenizer(given["prompt"])["input_ids"] if "prompt" in given else []
    tokens = prompt + tokenizer(given.get("text", given.get("response")))["input_ids"]
    expected = torch.log_softmax(model(torch.tensor([tokens])).logits, -1)[0].detach().numpy()
    expected = expected[np.arange(len(tokens) - 1), tokens[1:]]
    assert row["token_ids"] == tokens[len(prompt) :]
    if not prompt:
      assert row["logprobs"].pop(0) is None
    np.testing.assert_allclose(row["logprobs"], expected[max(len(prompt) - 1, 0) :], atol=1e-4)


def test_logprobs_names_a_bad_row_and_keeps_the_old_output(talkative, tmp_path):
  source, out = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
  out.write_text("old")
  bad = [('{"prompt": "a"}', "response"), ("{", "one JSON object"), ('{"text": ""}', "at least one token")]
  bad += [('{"text": "\\ud800"}', "expected text"), ("[" * 100_000, "ordinary size")]
  for line, words in bad:
    source.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(InputError, match=r"texts\.jsonl:2.*" + words):
      logprobs.main(["--model", str(talkative), "--input", str(source), "--out", str(out)])
  assert out.read_text() == "old"
