"""Every command makes the same prompt: the ids of training, evaluation, labelling, replay, logprobs and serving."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from srpo_jax.analysis.questions import QuestionReader
from srpo_jax.analysis.run_files import RunFiles
from srpo_jax.config import read_config, to_json
from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.data.labelling.rollouts import Labeller
from srpo_jax.evaluate import main as evaluate
from srpo_jax.evaluation.logprobs import read_texts
from srpo_jax.rollout.collector import RolloutSampler
from srpo_jax.serving.requests import BadRequestError, PromptReader
from srpo_jax.serving.text import token_bytes
from srpo_jax.training.build import build_renderer, build_scorer, prompt_files
from srpo_jax.training.kept_prompt import keep_prompt, run_config
from srpo_jax.training.recording import Recording
from srpo_jax.training.replay import replay
from srpo_jax.types import Problem
from srpo_jax.utils.errors import InputError
from tests.helpers.chat_templates import QWEN25
from tests.helpers.plugins import problems
from tests.helpers.runs import launch, rollouts, toy

EXAMPLE = {"question": "What is 9 + 9?", "response": " Add. </think> <answer> \\boxed{18} </answer>"}
START = "<|im_start|>system\nAdd.<|im_end|>\n<|im_start|>user\n"
WORKED = "What is 9 + 9?\n\nBox it.<|im_end|>\n<|im_start|>assistant\n<think>" + EXAMPLE["response"]


def text_of(question: str) -> str:
  return f"{START}{WORKED}<|im_end|>\n<|im_start|>user\n{question}\n\nBox it.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def chatty(talkative, tmp_path_factory) -> Path:
  """The talkative checkpoint with a chat template."""
  folder = shutil.copytree(talkative, tmp_path_factory.mktemp("chatty") / "model")
  file = folder / "tokenizer_config.json"
  file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": QWEN25}))
  return folder


@pytest.fixture(scope="module")
def run(chatty, tmp_path_factory) -> Path:
  """Workdir of two steps with the style chat and an example."""
  examples = tmp_path_factory.mktemp("examples") / "examples.jsonl"
  examples.write_text(json.dumps(EXAMPLE) + "\n")
  prompt = {"style": "chat", "system": "Add.", "math": "Box it.", "examples": str(examples), "opens_think": "model"}
  changes = {f"prompt__{name}": value for name, value in prompt.items()}
  config = toy(chatty, train__steps=2, train__length_bucket=64, rollout__prompt_bucket=64, **changes)
  return launch(config, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def sampled(monkeypatch):
  """Prompts that were sampled, by problem."""
  found = {}
  collect = RolloutSampler.collect

  def record(sampler, params, prompts, **options):
    found.update({prompt.problem.question: prompt.tokens.tolist() for prompt in prompts})
    return collect(sampler, params, prompts, **options)

  monkeypatch.setattr(RolloutSampler, "collect", record)
  return found


def test_every_command_has_the_ids_of_training(run, sampled, tmp_path):
  config, tokenizer = read_config(run / "config.json"), load_tokenizer(run / "model")
  rows = [row for step in range(2) for row in rollouts(run, step)]
  questions = {problem.id: problem.question for problem in problems()}
  asked = {questions[row["prompt_id"]]: row["prompt"] for row in rows}
  assert asked == {question: text_of(question) for question in asked} and len(asked) > 3
  expected = {question: tokenizer(text)["input_ids"] for question, text in asked.items()}

  with Recording(run) as recording:
    steps = [recording.step(step) for step in range(2)]
  trained = {g.prompt.problem.question: r.prompt_tokens.tolist() for s in steps for g in s.groups for r in g.rollouts}
  assert trained == expected
  assert all(check.agrees for check in replay(run, 1).checks)

  sets = ["--sets=tests.helpers.plugins:problems", "--limit=7", "--samples=2"]
  evaluate([f"--workdir={run}", *sets, f"--out={tmp_path / 'out'}"])
  table = pq.read_table(tmp_path / "out/samples/problems.parquet").to_pylist()
  assert {questions[row["prompt_id"]]: row["prompt"] for row in table}.items() >= asked.items()
  assert sampled.items() >= expected.items()
  sampled.clear()

  with build_scorer(config) as scorer:
    ids = [row["prompt_id"] for row in rows]
    Labeller(config, scorer, problems(), 1).tallies(sorted(set(ids)))
  assert sampled == expected

  reader = PromptReader(build_renderer(config, tokenizer), token_bytes(tokenizer, len(tokenizer)), 1024)
  assert {question: reader.read_question(question, "math").tolist() for question in expected} == expected
  assert {question: reader.read(text).tolist() for question, text in asked.items()} == expected

  lines = [json.dumps({"prompt": text, "response": "x"}) + "\n" for text in asked.values()]
  (tmp_path / "texts.jsonl").write_text("".join(lines))
  texts = read_texts(tmp_path / "texts.jsonl", tokenizer)
  assert [text.tokens[: text.prompt_length] for text in texts] == list(expected.values())

  read_question = QuestionReader(RunFiles(run))
  assert [read_question(text, "math") for text in asked.values()] == list(asked)


def test_a_run_resumes_only_with_its_examples(run, chatty, tmp_path):
  shutil.copytree(run, tmp_path / "run")
  config = read_config(run / "config.json", ["--config.train.steps=3"])
  examples = Path(config.prompt.examples)
  before = examples.read_text()
  try:
    examples.write_text(before.replace("9 + 9", "8 + 8"))
    assert run_config(run).prompt.examples == str(run / "prompt/examples.jsonl")
    with Recording(run) as recording:  # reads the workdir's copy
      assert recording.renderer.text("1?", "math") == text_of("1?")
    with pytest.raises(InputError, match=r"not the math rows that .* was trained on"):
      launch(config, tmp_path / "run")
    examples.write_text(before.replace("</think>", ""))
    with pytest.raises(InputError, match=r"config\.prompt\.examples: .*examples\.jsonl:1: field response: expected"):
      launch(config, tmp_path / "run")
  finally:
    examples.write_text(before)


def test_a_run_keeps_the_prompt_that_it_was_started_with(tmp_path):
  keep_prompt(tmp_path / "none", "", {})
  assert not (tmp_path / "none").exists()
  template = "Q: {question}\nA:\n<think>\n"
  for _ in range(2):
    keep_prompt(tmp_path, template, {})
  assert [file.name for file in (tmp_path / "prompt").iterdir()] == ["template.txt"]
  with pytest.raises(InputError, match=r"prompt\.template: not the template that the run was started with \(.*\.txt\)"):
    keep_prompt(tmp_path, "Q: {question}", {})
  chosen = toy("model", prompt__style="template", prompt__template=template, prompt__opens_think="template")
  (tmp_path / "config.json").write_text(to_json(chosen))
  assert prompt_files(run_config(tmp_path))["template"] == template
  own = run_config(tmp_path, ["--config.prompt.template=Now {question} <think>"])
  assert prompt_files(own)["template"] == "Now {question} <think>"


def test_a_server_takes_domains_of_a_judge(run):
  config, tokenizer = read_config(run / "config.json"), load_tokenizer(run / "model")
  renderer, vocabulary = build_renderer(config, tokenizer), token_bytes(tokenizer, len(tokenizer))
  tokens = PromptReader(renderer, vocabulary, 1024, ["puzzle"]).read_question("Who?", "puzzle")
  assert tokenizer.decode(tokens) == f"{START}Who?<|im_end|>\n<|im_start|>assistant\n"
  with pytest.raises(BadRequestError, match=r"expected one of code, math$"):
    PromptReader(renderer, vocabulary, 1024).read_question("Who?", "puzzle")


def test_base_prompts_have_examples_too(chatty, run):
  config = read_config(run / "config.json", ["--config.prompt.style=base", "--config.prompt.opens_think=prompt"])
  prompt = build_renderer(config, load_tokenizer(chatty))(Problem("p", "math", "What is 1 + 1?"))
  assert prompt.text.count("Assistant: <think>") == 2 and prompt.text.endswith(
    "User: What is 1 + 1?\nAssistant: <think>"
  )
  assert "\\boxed{18} </answer><|endoftext|>\nUser:" in prompt.text and np.isin(prompt.tokens, range(384)).all()
