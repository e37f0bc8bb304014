"""The evaluate command: its figures match its samples, also after a kill, and bad input is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import transformers

from srpo_jax.analysis.estimators import majority_at_ks
from srpo_jax.data.difficulty import pass_at_k
from srpo_jax.evaluate import main
from srpo_jax.training.workdir import read_rows
from srpo_jax.utils.errors import InputError
from tests.helpers.checkpoints import make_talkative
from tests.helpers.paths import ROOT
from tests.helpers.processes import cpu_devices
from tests.helpers.runs import launch, toy

SAMPLES = 4
SETS = "tests.helpers.label_plugins:rows,{folder}/more.jsonl"
MORE = [{"problem": f"What is {i} + 1?", "answer": i + 1} for i in range(3)]


@pytest.fixture(scope="module")
def model(checkpoint, tmp_path_factory) -> Path:
  return make_talkative(checkpoint, tmp_path_factory.mktemp("talkative") / "model")


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
  """File to which the tests' reward writes each verdict. Its folder also holds the second set."""
  monkeypatch.setenv("SRPO_TEST_LOG", str(tmp_path / "log.jsonl"))
  monkeypatch.delenv("SRPO_DATA", raising=False)
  monkeypatch.chdir(ROOT)
  write_more(tmp_path)
  return tmp_path / "log.jsonl"


def write_more(folder: Path) -> None:
  (folder / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in MORE))


def arguments(policy: list[str], folder: Path, out: Path, *more: str, sets: str = SETS) -> list[str]:
  return [
    *policy,
    f"--sets={sets.format(folder=folder)}",
    f"--out={out}",
    f"--samples={SAMPLES}",
    "--max-new-tokens=12",
    "--batch-problems=2",
    "--config.rollout.backend=inprocess",
    "--config.rollout.slots=8",
    "--config.reward.workers=1",
    "--config.log.progress=False",
    *more,
  ]


def model_flags(model: Path, reward: str = "tests.helpers.label_plugins:logged") -> list[str]:
  return [f"--model={model}", "--config=configs/tiny.py", f"--config.reward.function={reward}"]


def files(out: Path) -> dict[str, bytes]:
  return {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("*")) if f.is_file() and f.name != ".lock"}


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory) -> Path:
  """Folder of one uninterrupted evaluation (`out`) with its log and second set."""
  folder = tmp_path_factory.mktemp("whole")
  write_more(folder)
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("SRPO_TEST_LOG", str(folder / "log.jsonl"))
    patch.chdir(ROOT)
    main(arguments(model_flags(model), folder, folder / "out"))
  return folder


def test_samples_match_the_judged_responses(whole, model):
  """Each row matches the log of verdicts, and its text matches its tokens."""
  logged = {(prompt, i): rest for i, prompt, *rest in read_rows(whole / "log.jsonl")}
  tokenizer = transformers.AutoTokenizer.from_pretrained(model)
  n = unjudged = 0
  for name, problems in (("rows", 9), ("more", 3)):
    rows = pq.read_table(whole / f"out/samples/{name}.parquet").to_pylist()
    assert len(rows) == problems * SAMPLES
    for row in rows:
      id_ = f"{row['prompt_id']}/{row['sample']}"
      assert logged[row["prompt"], id_] == [row["response"], not row["truncated"], row["correct"]]
      text = tokenizer.decode(row["token_ids"][: None if row["truncated"] else -1])
      assert text == row["response"] and row["n_tokens"] == len(row["token_ids"]) == len(row["sampler_logprobs"])
      assert row["set"] == name and (row["n_tokens"] == 12) >= row["truncated"]
      unjudged += row["correct"] is None
    n += len(rows)
  assert n == len(logged) and unjudged


def test_figures_match_the_samples(whole):
  results = json.loads((whole / "out/results.json").read_text())
  assert {name: results[name] for name in ("samples", "temperature", "top_p", "max_new_tokens", "seed", "step")} == {
    "samples": SAMPLES, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 12, "seed": 0, "step": None,
  }  # fmt: skip
  assert list(results["sets"]) == ["rows", "more"]
  for name, found in results["sets"].items():
    rows = pq.read_table(whole / f"out/samples/{name}.parquet").to_pylist()
    groups = [rows[i : i + SAMPLES] for i in range(0, len(rows), SAMPLES)]
    correct = [sum(row["correct"] == 1 for row in group) for group in groups]
    for k in (1, 2, 4):
      expected = np.mean([pass_at_k(SAMPLES, c, k) for c in correct])
      assert found[f"pass@{k}"]["value"] == pytest.approx(expected, abs=1e-12)
      votes = [majority_at_ks([row["vote"] for row in group], [k])[0] for group in groups]
      assert found[f"majority@{k}"]["value"] == pytest.approx(np.mean(votes), abs=1e-12)
      assert found[f"pass@{k}"]["low"] <= found[f"pass@{k}"]["value"] <= found[f"pass@{k}"]["high"]
    assert found["length_mean"]["value"] == pytest.approx(np.mean([row["n_tokens"] for row in rows]))
    assert found["truncated_frac"]["value"] == pytest.approx(np.mean([row["truncated"] for row in rows]))
    assert found["unjudged"] == sum(row["correct"] is None for row in rows)
    assert len(found["by"]) == (9 if name == "rows" else 0)  # one entry per difficulty level
    assert found["n"] == len(groups) and found["left_out"] == []
  assert 0 < results["sets"]["rows"]["pass@1"]["value"] < 1
  assert "| rows | 9 |" in (whole / "out/results.md").read_text()


@pytest.mark.slow
def test_a_killed_evaluation_resumes_to_the_same_bytes(model, whole, log, tmp_path):
  """The evaluation is killed in the third batch of the first set and in the first batch of the second set."""
  out = tmp_path / "out"
  command = [sys.executable, "-m", "srpo_jax.evaluate", *arguments(model_flags(model), whole, out)]
  for kill_at, parts in ((2 * SAMPLES * 2 + 3, ["batch_00000", "batch_00001"]), (SAMPLES * 5 + 1, None)):
    killed = subprocess.run(command, cwd=ROOT, env=os.environ | {"SRPO_TEST_KILL_AT": str(kill_at)})
    assert killed.returncode == -signal.SIGKILL and not (out / "results.json").exists()
    found = sorted(file.stem for file in (out / "parts/rows").glob("*.parquet"))
    assert found == (parts or [f"batch_0000{i}" for i in range(5)])
  assert not list((out / "parts/more").glob("*.parquet"))
  (out / "parts/more/batch_00000.parquet.partial").write_bytes(b"PAR1 cut short")
  for folder in (out, out / "parts/more"):
    (folder / "settings.x1y2z3.partial").write_text('{"cut":')
  log.unlink()
  main(arguments(model_flags(model), whole, out))
  assert files(out) == files(whole / "out")
  assert len(read_rows(log)) == 3 * SAMPLES  # finished batches are not sampled again
  log.unlink()
  (out / "results.json").unlink()
  main(arguments(model_flags(model), whole, out))  # nothing is left to sample
  assert files(out) == files(whole / "out") and not log.exists()


def test_a_set_may_be_added_later(model, whole, log, tmp_path):
  out = tmp_path / "out"
  main(arguments(model_flags(model), whole, out, sets="{folder}/more.jsonl"))
  single = json.loads((out / "results.json").read_text())["sets"]
  main(arguments(model_flags(model), whole, out, sets="tests.helpers.label_plugins:rows"))
  both = json.loads((out / "results.json").read_text())["sets"]
  assert list(both) == ["rows", "more"] and both["more"] == single["more"]


@pytest.mark.parametrize(
  ("more", "message"),
  [
    (["--samples=5"], r"--samples \(4 there, 5 here\)"),
    (
      ["--temperature=0.9", "--top-p=0.5"],
      r"--temperature \(1\.0 there, 0\.9 here\), --top-p \(1\.0 there, 0\.5 here\)",
    ),
    (["--max-new-tokens=9"], r"config\.rollout\.max_new_tokens \(12 there, 9 here\)"),
    (["--batch-problems=3"], r"--batch-problems \(2 there, 3 here\)"),
    (["--seed=3"], r"config\.train\.seed \(0 there, 3 here\)"),
    (["--config.prompt.math=Say it."], r"config\.prompt\.math"),
    (["--config.reward.validator=json"], r"config\.reward\.validator"),
    (["--limit=2"], r"rows: was begun with other settings: problems \(9 there, 2 here\)"),
  ],
)
def test_other_settings_in_the_same_folder_are_refused(model, whole, log, tmp_path, more, message):
  shutil.copytree(whole / "out", tmp_path / "out")
  with pytest.raises(InputError, match=message):
    main(arguments(model_flags(model), whole, tmp_path / "out", *more))
  assert files(tmp_path / "out") == files(whole / "out") and not log.exists()


def test_another_model_and_other_rows_are_refused(model, whole, log, tmp_path):
  shutil.copytree(whole / "out", tmp_path / "out")
  other = tmp_path / "model"
  shutil.copytree(model, other)
  with (other / "model.safetensors").open("r+b") as stream:
    stream.seek(-1, os.SEEK_END)
    stream.write(b"\x01")
  with pytest.raises(InputError, match=r"out: was begun with other settings: model \("):
    main(arguments(model_flags(other), whole, tmp_path / "out"))
  (tmp_path / "more.jsonl").write_text("".join(json.dumps(row | {"answer": 0}) + "\n" for row in MORE))
  with pytest.raises(InputError, match=r"more: was begun with other settings: rows \("):
    main(arguments(model_flags(model), tmp_path, tmp_path / "out"))
  assert files(tmp_path / "out") == files(whole / "out")


def test_a_damaged_file_is_named(model, whole, log, tmp_path):
  shutil.copytree(whole / "out", tmp_path / "out")
  (tmp_path / "out/samples/rows.parquet").write_bytes(b"nonsense")
  with pytest.raises(InputError, match=r"samples/rows\.parquet: cannot be read"):
    main(arguments(model_flags(model), whole, tmp_path / "out"))
  shutil.copy(whole / "out/samples/more.parquet", tmp_path / "out/samples/rows.parquet")
  with pytest.raises(InputError, match=r"samples/rows\.parquet: not what this evaluation wrote, expected 36 rows"):
    main(arguments(model_flags(model), whole, tmp_path / "out"))


def test_unusable_rows_are_reported(model, log, tmp_path):
  tests = {"type": "assert", "cases": ["import os; os.system('x')"]}
  rows = [{"id": "a", "domain": "math", "question": "?", "answer": "1"},
          {"id": "long", "domain": "math", "question": "x " * 3000, "answer": "1"},
          {"id": "turned", "domain": "code", "question": "f", "tests": tests}]  # fmt: skip
  (tmp_path / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  main(arguments(model_flags(model), tmp_path, tmp_path / "out", sets="{folder}/odd.jsonl"))
  found = json.loads((tmp_path / "out/results.json").read_text())["sets"]["odd"]
  assert found["n"] == 1 and [left["row"] for left in found["left_out"]] == [1, 2]
  assert "over config.data.max_prompt_tokens 4096" in found["left_out"][0]["why"]
  assert "2 rows left out" in (tmp_path / "out/results.md").read_text()


def test_top_p_and_temperature_reach_the_sampler(model, whole, log, tmp_path):
  def responses(name, *more):
    main(arguments(model_flags(model), whole, tmp_path / name, *more, sets="{folder}/more.jsonl"))
    return pq.read_table(tmp_path / name / "samples/more.parquet").to_pylist()

  plain = pq.read_table(whole / "out/samples/more.parquet").to_pylist()
  narrow = responses("narrow", "--top-p=0.000001")
  greedy = responses("greedy", "--temperature=0", "--samples=1")
  for i, row in enumerate(narrow):  # the nucleus holds only the likeliest token, whose probability becomes 1
    assert row["token_ids"] == greedy[i // SAMPLES]["token_ids"]
    np.testing.assert_allclose(row["sampler_logprobs"], 0, atol=1e-5)
  assert np.mean([a["token_ids"] != b["token_ids"] for a, b in zip(plain, narrow, strict=True)]) > 0.5
  assert min(min(row["sampler_logprobs"]) for row in plain) < -1


@pytest.fixture(scope="module")
def run(model, tmp_path_factory) -> Path:
  """Workdir of a run that evaluates during training."""
  sets = {
    "data__eval": "tests.helpers.plugins:problems",
    "data__eval_limit": 9,
    "eval__every": 2,
    "eval__samples": SAMPLES,
  }
  config = toy(model, **sets, train__steps=2, checkpoint__every=1)
  return launch(config, tmp_path_factory.mktemp("run") / "run")


def test_evaluating_a_run_gives_the_figures_of_its_eval_jsonl(run, log, tmp_path):
  """The sampler, keys and rewards are the same, so each response equals that of the evaluation during training."""
  arguments = [f"--workdir={run}", "--sets=tests.helpers.plugins:problems", "--limit=9", f"--samples={SAMPLES}"]
  main([*arguments, "--config.log.progress=False"])
  out = run / "evaluations/step_000002"
  found, (recorded,) = json.loads((out / "results.json").read_text()), read_rows(run / "eval.jsonl")[-1:]
  assert (found["step"], recorded["step"]) == (2, 2)
  row = found["sets"]["problems"]
  for ours, theirs in (("pass@1", "pass@1"), ("format_rate", "format_rate"), ("length_mean", "length_mean"),
                       ("truncated_frac", "truncated_frac")):  # fmt: skip
    assert row[ours]["value"] == pytest.approx(recorded[theirs], abs=1e-12)
  assert 0 < recorded["pass@1"] < 1
  main([*arguments, "--step=1", "--config.log.progress=False"])
  earlier = run / "evaluations/step_000001/samples/problems.parquet"
  tokens = [pq.read_table(file)["token_ids"].to_pylist() for file in (out / "samples/problems.parquet", earlier)]
  assert tokens[0] != tokens[1]


@pytest.mark.parametrize(
  ("args", "message"),
  [
    ([], r"--sets"),
    (["--sets=aime24"], r"--model: expected a Hugging Face folder here, or a run's folder in --workdir"),
    (["--sets=aime24", "--model=a", "--workdir=b"], r"--model: .* not both"),
    (["--sets=aime24", "--model=a", "--step=3"], r"--step: expected only with --workdir"),
    (["--sets=aime24", "--workdir=a", "--config=configs/tiny.py"], r"--config: expected only with --model"),
    (["--sets=,", "--model=a"], r"--sets: expected at least one set"),
    (["--sets=aime24", "--model=a", "--samples=0"], r"--samples: expected a whole number of at least 1, got '0'"),
    (["--sets=aime24", "--model=a", "--samples=two"], r"--samples: expected a whole number"),
    (["--sets=aime24", "--model=a", "--temperature=-1"], r"--temperature: expected a number from 0 on, got '-1'"),
    (["--sets=aime24", "--model=a", "--temperature=nan"], r"--temperature: expected a number"),
    (["--sets=aime24", "--model=a", "--temperature=1e-37"], r"--temperature: expected 0 \(greedy\) or 0.001 to"),
    (["--sets=aime24", "--model=a", "--top-p=1.5"], r"--top-p: expected a number from 0 to 1, got '1\.5'"),
    (["--sets=aime24", "--model=a", "--top-p=0"], r"--top-p: expected a number above 0"),
    (["--sets=aime24", "--model=a", "--temperature=0"], r"--samples: at --temperature 0 all samples are alike"),
    (["--sets=aime24", "--model=a", "--from=2024"], r"--from: expected YYYY-MM-DD, got '2024'"),
    (["--sets=aime24", "--model=a", "--from=2025-02-01", "--to=2025-01-01"], r"--from: 2025-02-01 is after --to"),
    (["--sets=aime24", "--model=a", "--data=/nowhere"], r"--data: /nowhere: expected a folder"),
    (["--sets=aime24", "--model=a", "--bogus=1"], r"--bogus=1: unknown option"),
    (["--sets=aime24", "--model=a", "--config.rollout.bogus=1"], r"bogus"),
    (["--sets=aime24", "--model=/nowhere"], r"/nowhere/config\.json"),
    (
      ["--sets=aime24", "--workdir=/nowhere"],
      r"/nowhere/config\.json: no such file, expected the config\.json of a run",
    ),
    (["--sets={run}/none.jsonl", "--workdir={run}"], r"none\.jsonl: no such file"),
    (["--sets=aime24", "--workdir={run}", "--step=7"], r"no checkpoint of step 7, expected one of: 0, 1, 2|: 1, 2"),
    (["--sets=aime24", "--workdir={run}", "--config.rollout.bogus=1"], r"config\.rollout\.bogus: unknown field"),
    (["--sets=aime24", "--workdir={run}", "--config.rollout.slots=many"], r"rollout\.slots"),
    (["--sets=tests.helpers.plugins:problems", "--workdir={run}", "--out={run}"], r"not the folder of an evaluation"),
  ],
)
def test_bad_arguments_give_one_line_and_write_nothing(run, log, args, message):
  before = files(run)
  with pytest.raises(InputError, match=message) as error:
    main([arg.format(run=run) for arg in args])
  assert "\n" not in str(error.value)
  assert files(run) == before


def test_two_processes_in_one_folder_are_refused(model, whole, log, tmp_path):
  import fcntl

  shutil.copytree(whole / "out", tmp_path / "out")
  with (tmp_path / "out/.lock").open("w") as held:
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="another process is evaluating into this folder"):
      main(arguments(model_flags(model), whole, tmp_path / "out"))


@pytest.mark.slow  # half a minute
def test_a_mesh_gives_the_responses_of_one_device(model, run, whole, log, tmp_path):
  """The weights of a folder, and those of a run, are sharded over four devices."""
  env = cpu_devices(4)
  mesh = ["--config.mesh.fsdp=2", "--config.mesh.tensor=2"]
  run_flags = [f"--workdir={run}", "--sets=tests.helpers.plugins:problems", "--limit=9", f"--samples={SAMPLES}"]
  main([*run_flags, f"--out={tmp_path / 'one'}", "--config.log.progress=False"])
  for name, args, reference in (
    ("more", arguments(model_flags(model), whole, tmp_path / "model", sets="{folder}/more.jsonl"), whole / "out"),
    ("problems", [*run_flags, f"--out={tmp_path / 'run'}"], tmp_path / "one"),
  ):
    subprocess.run([sys.executable, "-m", "srpo_jax.evaluate", *args, *mesh], cwd=ROOT, env=env, check=True)
    out = Path(next(arg for arg in args if arg.startswith("--out=")).removeprefix("--out="))
    tables = [pq.read_table(folder / f"samples/{name}.parquet").to_pylist() for folder in (out, reference)]
    same = [a["token_ids"] == b["token_ids"] for a, b in zip(*tables, strict=True)]
    assert np.mean(same) > 0.9  # another order of summation may flip a draw that is nearly a tie
    for ours, theirs, equal in zip(*tables, same, strict=True):
      if equal:
        np.testing.assert_allclose(ours["sampler_logprobs"], theirs["sampler_logprobs"], atol=1e-3)
        assert ours["correct"] == theirs["correct"]
