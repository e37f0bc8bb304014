"""Looks a run over before it is started: python -m srpo_jax.doctor --config=configs/tiny.py [--config.x.y=value ...]

The tokenizer and the prompts, the sampler against the trainer on real prompts, sizes that must not matter, the rewards
on known responses and the sandbox's tier, disk space and writing speed, memory (by the plan), the data. Prints a line a
check (pass, warn or fail) with what to do; exits 1 where one fails. It takes --config and --workdir as launch does, and
writes nothing into the workdir.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from srpo_jax.checkup.finding import FAIL, Finding, summary, table
from srpo_jax.config import Config
from srpo_jax.errors import InputError, run_cli
from srpo_jax.launch import parse_flags

PROMPTS = 4  # that are sampled
TEXTS = 256  # prompts whose tokens are looked at


def examine(config: Config, workdir: Path, show: Callable[[Finding], None]) -> list[Finding]:
  """All findings, each shown as soon as it is there; where the rewards fail, theirs alone."""
  import jax
  import jax.numpy as jnp

  from srpo_jax import run as parts
  from srpo_jax.checkup import data, memory, rewards, sampling, storage, text
  from srpo_jax.data.encoded import load_tokenizer
  from srpo_jax.data.prompt_set import Selection
  from srpo_jax.model import hf
  from srpo_jax.model.sharding import make_mesh, on_mesh

  findings: list[Finding] = []
  mesh = make_mesh(**dataclasses.asdict(config.mesh))  # first: a mesh of other devices is told at once

  def add(*found: Finding) -> None:
    for finding in found:
      findings.append(finding)
      show(finding)

  train = parts.open_sets(config.data.train, format=config.data.format, limit=config.data.limit)
  held = parts.open_sets(config.data.eval, limit=config.data.eval_limit)
  with parts.make_scorer(config) as scorer:
    domains = {p.domain for _, problems in train for p in problems}
    add(*rewards.check_rewards(scorer, domains, config.reward.validator, bool(config.reward.function)))
    if any(finding.level == FAIL for finding in findings):
      return findings
    folder = parts.base_folder(config)
    model, tokenizer = hf.read_config(folder), load_tokenizer(folder)
    selection = Selection(config.data.keep, config.data.max_unsolved, config.train.seed)
    sets = [parts.prompt_set(config, *set_, scorer, tokenizer, selection) for set_ in train]
  for set_, (_, problems) in zip(sets, train, strict=True):
    add(*data.check_rows(set_, len(problems)))
    limits = config.data.max_prompt_tokens, config.rollout.max_new_tokens, config.train.pack_tokens
    add(data.check_lengths(set_, *limits))
  add(*data.check_leaks(dict(train), {parts.set_name(name): problems for name, problems in held}))

  stops = parts.stop_tokens(folder, tokenizer)
  texts = [set_[id_] for set_ in sets for id_ in list(set_)[: TEXTS // len(sets)]]
  add(*text.check_tokenizer(tokenizer, stops, model, texts))

  shapes = hf.param_shapes(model, jnp.dtype(config.model.param_dtype))
  parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  checkpoint = storage.checkpoint_bytes(parameters, jnp.dtype(config.model.param_dtype).itemsize)
  # A token is 4 bytes of ids, 4 of log-probs and about 4 of text; half of the limit is a long mean response.
  rows = config.rollout.prompts * config.rollout.group * (config.train.steps or 1000)
  add(*storage.check(workdir, checkpoint, config.checkpoint.keep, rows * 6 * config.rollout.max_new_tokens))

  add(memory.check_memory(config, max(set_.longest for set_ in sets)))
  prompts = texts[:: max(len(texts) // PROMPTS, 1)][:PROMPTS]
  with on_mesh(mesh):
    add(*sampling.check_sampling(config, folder, shapes, mesh, prompts, stops))
  return findings


def main(args: Sequence[str]) -> None:
  config, workdir, _ = parse_flags(args)
  from srpo_jax.cache import enable_compilation_cache

  enable_compilation_cache()
  if config.init_from:
    raise InputError("config.init_from: expected a base (config.model.path); the run there was looked over before it")
  findings = examine(config, workdir, lambda finding: print(table([finding]), flush=True))
  print(summary(findings))
  if any(finding.level == FAIL for finding in findings):
    sys.exit(1)


if __name__ == "__main__":
  run_cli(main)
