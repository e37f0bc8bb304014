"""The demo's base model is an ordinary Hugging Face folder, has the same bytes every time and is made once."""

import numpy as np
import pytest
import torch
import transformers

from configs import tiny
from srpo_jax.data.toy import arithmetic, arithmetic_traces
from srpo_jax.model import hf
from srpo_jax.training import warmup

SMALL = {"hidden_size": 24, "intermediate_size": 32, "layers": 1, "heads": 2, "kv_heads": 1, "steps": 12, "batch": 32}


def make(monkeypatch, cache, **changes):
  monkeypatch.setenv("SRPO_CACHE", str(cache))
  args = tiny.get_config().model.build_args.to_dict() | SMALL | changes
  return warmup.tiny_base(**args)


def test_deterministic_cached_and_loadable(tmp_path, monkeypatch):
  one, two = make(monkeypatch, tmp_path / "a"), make(monkeypatch, tmp_path / "b")
  assert one.name == two.name
  assert {f.name for f in one.iterdir()} == {
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
  }
  for file in one.iterdir():
    assert file.read_bytes() == (two / file.name).read_bytes(), file.name
  monkeypatch.setattr(warmup, "_supervise", lambda *a, **k: pytest.fail("the base was made again"))
  assert make(monkeypatch, tmp_path / "a") == one
  with pytest.raises(pytest.fail.Exception):
    make(monkeypatch, tmp_path / "a", seed=1)
  assert not [f for f in (tmp_path / "a").iterdir() if f != one and f.name.startswith("tiny-base")]

  model = transformers.AutoModelForCausalLM.from_pretrained(one)
  assert isinstance(model, transformers.Qwen2ForCausalLM)
  assert model.config.eos_token_id == transformers.AutoTokenizer.from_pretrained(one).eos_token_id
  assert hf.read_config(one).hidden_size == 24


@pytest.mark.slow
def test_supervision_teaches(tmp_path, monkeypatch):
  """The likelihood of worked examples, computed by transformers, is far above that of the untrained model."""
  from srpo_jax.data.prompts import DEFAULT_INSTRUCTIONS, format_prompt

  rng = np.random.default_rng(5)
  problems = arithmetic.heldout_problems()[:20]
  texts = [(format_prompt(p.question, DEFAULT_INSTRUCTIONS["math"]), arithmetic_traces.trace(p, rng)) for p in problems]

  def nll(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    total, count = 0.0, 0
    for prompt, trace in texts:
      n = len(tokenizer(prompt)["input_ids"])
      ids = torch.tensor([tokenizer(prompt)["input_ids"] + tokenizer(trace)["input_ids"]])
      logp = torch.log_softmax(model(ids).logits, -1)[0, n - 1 : -1]
      total -= float(logp.gather(1, ids[0, n:, None]).sum())
      count += ids.shape[1] - n
    return total / count

  trained = make(monkeypatch, tmp_path, steps=60, learning_rate=1e-2)
  untrained = make(monkeypatch, tmp_path, steps=10, learning_rate=1e-9)
  assert nll(untrained) > 5 and nll(trained) < 4
