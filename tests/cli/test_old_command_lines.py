"""Command lines of the first README, which are still accepted with their old flags."""

import shlex

import pytest

from srpo_jax.cli.main import dispatch
from srpo_jax.cli.parser import ArgumentParser

LINES = """
launch --config=configs/tiny.py --workdir=runs/gsm8k --config.data.train=gsm8k_train.jsonl --config.data.limit=256
launch --config=configs/tiny.py:staged --coordinator=HOST:1234 --num_processes=2 --process_id=0
launch --config configs/stage2.py --workdir gs://bucket/run --config.init_from=runs/stage1
doctor --config=configs/qwen25_05b_gpu.py --config.model.path=...
export --workdir runs/demo --out policy/
logprobs --model policy/ --input texts.jsonl --output out.jsonl
score --input responses.jsonl --output verdicts.jsonl
score --input responses.jsonl --output verdicts.jsonl --limit-s 6
score --explain --input problems.jsonl
report --workdir runs/demo --compare runs/other runs/more
evaluate --workdir runs/demo --sets gsm8k,math500,humaneval --data data --samples 32
evaluate --model policy/ --sets aime24,lcb --from 2024-10-01 --to 2025-02-01 --temperature 0.6 --top-p 0.95
replay --workdir runs/demo --step 100
serve --workdir runs/demo --port 8000
plan --config=configs/stage1.py --topology=v5p:4x4x4 --search
plan --config=configs/stage1.py --topology=v5p:4x4x4 --json=plan.json --mean-length=1000 --length-sigma=1
curate --config=configs/curate.py --config.output=data/curated --config.sources.gsm8k.path=gsm8k_train.jsonl
curate label --model Qwen2.5-32B --input data/curated/records --output data/labelled --host 1 --hosts 2
curate label --input data/curated/records --output data/labelled --merge
"""


class Parsed(Exception):
  """Carries the result of a command's parser to the test."""


@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_an_old_command_line_is_read(line, monkeypatch):
  parse = ArgumentParser.parse_known_args

  def parse_and_raise(self, args=None, namespace=None):
    raise Parsed(*parse(self, args, namespace))

  monkeypatch.setattr(ArgumentParser, "parse_known_args", parse_and_raise)
  with pytest.raises(Parsed) as parsed:
    dispatch(shlex.split(line))
  options, left = parsed.value.args
  assert all(arg.startswith("--config.") for arg in left)
  assert len(left) == line.count("--config.")
  if "--output" in line:
    assert str(options.out) == shlex.split(line)[shlex.split(line).index("--output") + 1]
