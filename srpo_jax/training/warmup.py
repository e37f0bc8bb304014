"""Base model of the tiny demo, made by a short supervised warm-up on imperfect traces and kept in a cache.

The result is an ordinary Hugging Face folder and is loaded like any other.
"""

import hashlib
import inspect
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import optax
from tqdm import tqdm

from srpo_jax.algorithm import loss
from srpo_jax.data import prompts
from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.data.toy import arithmetic as synthetic
from srpo_jax.data.toy import arithmetic_traces, expression, programs, wording
from srpo_jax.data.toy import tokenizer as tiny_tokenizer
from srpo_jax.model import hf, hf_export, transformer
from srpo_jax.training import batch as batches
from srpo_jax.training import learner
from srpo_jax.training.batch import make_micro_batches
from srpo_jax.training.learner import Learner, LearnerOptions
from srpo_jax.types import Problem, Rollout
from srpo_jax.utils.cache import cache_dir

TRACES: dict[str, Callable[[Problem, np.random.Generator], str]] = {
  "math": arithmetic_traces.trace,
  "code": programs.trace,
}


def tiny_base(
  *,
  hidden_size: int,
  intermediate_size: int,
  layers: int,
  heads: int,
  kv_heads: int,
  steps: int,
  batch: int,
  learning_rate: float,
  code: float,
  seed: int,
) -> Path:
  """Returns the folder of the base model with this shape and training. It is made on first use and then cached.

  The result is the same every time on the same kind of machine.

  Args:
    steps: steps of the warm-up. Each uses `batch` freshly drawn traces.
    learning_rate: peak learning rate. It is reached after a tenth of the steps and then decays along a cosine.
    code: share of traces that are programs. The others are arithmetic.
  """
  given = dict(locals())
  toys = (synthetic, arithmetic_traces, expression, wording, programs, tiny_tokenizer)
  modules = (*toys, prompts, transformer, learner, loss, batches, sys.modules[__name__])
  sources = [inspect.getsource(module) for module in modules]
  name = hashlib.sha256(json.dumps([given, sources]).encode()).hexdigest()[:16]
  folder = cache_dir() / f"tiny-base-{name}"
  if (folder / hf.SINGLE_FILE).is_file():
    return folder
  logging.info("making the base model: %d supervised steps, kept in %s", steps, folder)
  partial = folder.with_suffix(f".{os.getpid()}")
  try:
    tiny_tokenizer.build_tokenizer(partial)
    _write_model_config(partial, hidden_size, intermediate_size, layers, heads, kv_heads)
    config = hf.read_config(partial)
    params = transformer.init_params(config, jax.random.key(seed))
    params = _supervise(
      params, config, partial, steps=steps, batch=batch, learning_rate=learning_rate, code=code, seed=seed
    )
    hf_export.write_params(params, config, partial)
    if not (folder / hf.SINGLE_FILE).is_file():  # another process may have made it in the meantime
      os.replace(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  return folder


def tiny_base_shape(
  *, hidden_size: int, intermediate_size: int, layers: int, heads: int, kv_heads: int, **training: object
) -> transformer.TransformerConfig:
  """Returns the shape of the base model that `tiny_base` makes from the same arguments, without training it."""
  with tempfile.TemporaryDirectory() as folder:
    tiny_tokenizer.build_tokenizer(Path(folder))
    _write_model_config(Path(folder), hidden_size, intermediate_size, layers, heads, kv_heads)
    return hf.read_config(folder)


def _write_model_config(folder: Path, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int) -> None:
  tokenizer = load_tokenizer(folder)
  config = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "dtype": "float32",
    "vocab_size": len(tokenizer),
    "hidden_size": hidden,
    "intermediate_size": intermediate,
    "num_hidden_layers": layers,
    "num_attention_heads": heads,
    "num_key_value_heads": kv_heads,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": True,
    "eos_token_id": tokenizer.eos_token_id,
    "pad_token_id": tokenizer.pad_token_id,
  }
  (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _supervise(
  params: transformer.Params,
  config: transformer.TransformerConfig,
  folder: Path,
  *,
  steps: int,
  batch: int,
  learning_rate: float,
  code: float,
  seed: int,
) -> transformer.Params:
  """Maximises the likelihood of traces given their prompts. The policy loss with advantage 1 has this gradient."""
  tokenizer = load_tokenizer(folder)
  rng = np.random.default_rng(seed)
  arithmetic, functions = synthetic.train_problems(), programs.train_programs()
  problems = (*arithmetic, *functions)
  texts = [prompts.format_prompt(p.question, prompts.DEFAULT_INSTRUCTIONS[p.domain]) for p in problems]
  prompt_ids = [np.asarray(ids, np.int32) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
  schedule = optax.warmup_cosine_decay_schedule(0.0, learning_rate, steps // 10, steps, learning_rate / 20)
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, b1=0.9, b2=0.95, weight_decay=0.01))
  teacher = Learner(config, optimizer, LearnerOptions(head_chunk=64))
  state = teacher.init(params)
  bar = tqdm(range(steps), desc="warm-up", unit="step", dynamic_ncols=True, mininterval=0.5)
  for _ in bar:
    is_code = rng.random(batch) < code
    chosen = np.where(
      is_code, len(arithmetic) + rng.integers(len(functions), size=batch), rng.integers(len(arithmetic), size=batch)
    )
    traces = [TRACES[problems[i].domain](problems[i], rng) for i in chosen]
    ids = tokenizer(traces, add_special_tokens=False)["input_ids"]
    rows = [_as_rollout(prompt_ids[i], [*row, tokenizer.eos_token_id]) for i, row in zip(chosen, ids, strict=True)]
    parts = make_micro_batches([(row, 1.0) for row in rows], rows=32, length_bucket=16)
    state, metrics = teacher.update(state, parts, sum(map(len, ids)) + batch, batch)
    bar.set_postfix(entropy=f"{metrics.entropy:.3f}", refresh=False)
  return state.params


def _as_rollout(prompt: np.ndarray, tokens: list[int]) -> Rollout:
  return Rollout("", 0, prompt, np.asarray(tokens, np.int32), np.zeros(len(tokens), np.float32), truncated=False)
