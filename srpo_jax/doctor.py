"""Looks a run over before it is started: python -m srpo_jax.doctor --config=configs/tiny.py [--config.x.y=value ...]

The tokenizer and the prompts, the sampler against the trainer on real prompts, sizes that must not matter, the rewards
on known responses and the sandbox's tier, disk space and writing speed, memory (by the plan), the data. Prints a line a
check (pass, warn or fail) with what to do; exits 1 where one fails. It takes --config and --workdir as launch does, and
writes nothing into the workdir.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srpo_jax.checks.finding import FAIL, WARN, Finding, summary, table
from srpo_jax.cli.run_flags import read_options, resolve
from srpo_jax.utils.errors import InputError, run_cli
from srpo_jax.utils.logs import start_logging
from srpo_jax.utils.paths import as_path

if TYPE_CHECKING:
  from srpo_jax.config import Config
  from srpo_jax.rollout.policy import Policy

PROMPTS = 4  # that are sampled
TEXTS = 256  # prompts whose tokens are looked at


def examine(config: "Config", workdir: Path, show: Callable[[Finding], None]) -> list[Finding]:
  """All findings, each shown as soon as it is there.

  Raises:
    InputError: what a run would refuse before anything can be looked at, as a row without an answer.
  """
  import jax
  import jax.numpy as jnp

  from srpo_jax.checks import data, memory, rewards, sampling, storage, text
  from srpo_jax.data.encoded import load_tokenizer
  from srpo_jax.data.prompt_set import Selection
  from srpo_jax.model import hf
  from srpo_jax.model.sharding import make_mesh, on_mesh
  from srpo_jax.training import run as parts
  from srpo_jax.training.schedule import Schedule

  findings: list[Finding] = []
  mesh = make_mesh(**dataclasses.asdict(config.mesh))  # first: a mesh of other devices is told at once

  def add(*found: Finding) -> None:
    for finding in found:
      findings.append(finding)
      show(finding)

  train = parts.open_sets(config.data.train, format=config.data.format, limit=config.data.limit)
  held = parts.open_sets(config.data.eval, limit=config.data.eval_limit)
  with contextlib.ExitStack() as opened:
    scorer = opened.enter_context(parts.make_scorer(config))
    domains = {p.domain for _, problems in [*train, *held] for p in problems}
    add(*rewards.check_rewards(scorer, domains, config.reward.validator, bool(config.reward.function)))
    if any(f.check == "sandbox" and f.level == FAIL for f in findings):  # tests are still read, no program is run
      scorer = opened.enter_context(parts.make_scorer(with_any_sandbox(config)))
    policy = start_of(config)
    model, tokenizer = hf.read_config(policy.folder), load_tokenizer(policy.folder)
    selection = Selection(config.data.keep, config.data.max_unsolved, config.train.seed)
    sets = [parts.prompt_set(config, *set_, scorer, tokenizer, selection) for set_ in train]
    heldout = [parts.prompt_set(config, *set_, scorer, tokenizer, None) for set_ in held]
  Schedule(config, parts.by_domain(sets))
  positions = hf.read_raw_config(policy.folder).get("max_position_embeddings")
  limits = config.data.max_prompt_tokens, config.rollout.max_new_tokens, config.train.pack_tokens, positions
  for set_, (_, problems) in zip([*sets, *heldout], [*train, *held], strict=True):
    add(*data.check_rows(set_, len(problems)), data.check_lengths(set_, *limits))
  add(*data.check_leaks(dict(train), {parts.set_name(name): problems for name, problems in held}))

  of_text: list[Finding] = []
  stops: tuple[int, ...] = ()
  try:
    stops = parts.stop_tokens(policy.folder, tokenizer)
  except InputError as error:
    todo = "name one: eos_token in tokenizer_config.json, or eos_token_id in generation_config.json"
    of_text.append(Finding(FAIL, "tokens that end a response", str(error), todo))
  texts = [set_[id_] for set_ in sets for id_ in list(set_)[: TEXTS // len(sets)]]
  of_text += text.check_tokenizer(tokenizer, stops, model, texts)
  add(*of_text)
  budgets = [stage.max_new_tokens or config.rollout.max_new_tokens for stage in config.stages.values()]
  add(text.check_room(tokenizer, min(budgets)))

  shapes = hf.param_shapes(model, jnp.dtype(config.model.param_dtype))
  parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  checkpoint = storage.checkpoint_bytes(parameters, jnp.dtype(config.model.param_dtype).itemsize)
  # A token is 4 bytes of ids, 4 of log-probs and about 4 of text; half of the limit is a long mean response.
  rows = config.rollout.prompts * config.rollout.group * (config.train.steps or 1000)
  add(*storage.check(workdir, checkpoint, config.checkpoint.keep, rows * 6 * config.rollout.max_new_tokens))

  of_memory = memory.check_memory(config, max(set_.longest for set_ in (*sets, *heldout)))
  add(of_memory)
  if any(finding.level == FAIL for finding in (*of_text, of_memory)):
    add(Finding(WARN, "sampler against trainer", "not looked at", "first mend the tokenizer or the memory"))
    return findings
  prompts = texts[:: max(len(texts) // PROMPTS, 1)][:PROMPTS]
  with on_mesh(mesh):
    add(*sampling.check_sampling(config, policy, prompts, stops))
  return findings


def with_any_sandbox(config: "Config") -> "Config":
  return dataclasses.replace(config, sandbox=dataclasses.replace(config.sandbox, min_tier="unsafe"))


def start_of(config: "Config") -> "Policy":
  """The policy that the run begins from: a base, or the last checkpoint of another run."""
  from srpo_jax.rollout.policy import of_folder, of_run
  from srpo_jax.training.run import base_folder

  return of_run(as_path(config.init_from), None) if config.init_from else of_folder(base_folder(config))


def main(args: Sequence[str]) -> None:
  """Prints a line per check. Exits with 1 if one fails."""
  options, overrides = read_options("doctor", __doc__ or "", args)
  config, workdir, _ = resolve("doctor", options, overrides)
  from srpo_jax.utils.cache import enable_compilation_cache  # imported late: --help does not wait for JAX

  start_logging()
  enable_compilation_cache()
  findings = examine(config, workdir, lambda finding: print(table([finding]), flush=True))
  print(summary(findings))
  if any(finding.level == FAIL for finding in findings):
    sys.exit(1)


if __name__ == "__main__":
  run_cli(main)
