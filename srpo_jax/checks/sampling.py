"""Checks that sampler and trainer agree, and that results do not depend on the sizes of batches and slots."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from srpo_jax.checks.finding import FAIL, PASS, WARN, Finding
from srpo_jax.config import Config
from srpo_jax.data.encoded import Prompt
from srpo_jax.model import hf
from srpo_jax.model.sampling import Purpose, prompt_key
from srpo_jax.model.transformer import Params
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.policy import Policy
from srpo_jax.rollout.sampler import GroupRequest, round_up, sample_groups
from srpo_jax.training.batch import make_micro_batches
from srpo_jax.training.build import build_engine, build_learner
from srpo_jax.training.learner import Learner, MicroBatch
from srpo_jax.training.update import micro_batches
from srpo_jax.types import Rollout

SAMPLES = 2
TOKENS = 128  # length limit of a response
# Largest acceptable mean difference of log-probs between sampler and trainer. bf16 keeps 8 bits.
GAP = {"float32": 1e-4, "bfloat16": 3e-2}


def roll_out(
  engine: InProcessEngine,
  params: Params,
  prompts: Sequence[Prompt],
  *,
  stops: Sequence[int],
  bucket: int,
  max_new_tokens: int,
  seed: int,
) -> list[Rollout]:
  """Returns SAMPLES responses to each prompt, ordered by prompt and sample."""
  requests = [
    GroupRequest(p.problem.id, p.tokens, SAMPLES, prompt_key(seed, Purpose.EVAL, 0, p.problem.id), max_new_tokens)
    for p in prompts
  ]
  found = list(sample_groups(engine, params, requests, stop_tokens=stops, prompt_bucket=bucket))
  order = {p.problem.id: i for i, p in enumerate(prompts)}
  return sorted(found, key=lambda r: (order[r.prompt_id], r.sample))


def trainer_logprobs(learner: Learner, params: Params, batches: Sequence[MicroBatch]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the (trainer's, sampler's) log-probs of all sampled tokens, in the order of the micro-batches."""

  def flat(of: Any, batch: MicroBatch) -> np.ndarray:
    return np.asarray(of)[batch.in_loss]

  trainer = [flat(learner.logprobs(params, batch), batch) for batch in batches]
  return np.concatenate(trainer), np.concatenate([flat(b.sampler_logprob, b) for b in batches])


def check_gap(trainer: np.ndarray, sampler: np.ndarray, dtype: str, capped: bool) -> Finding:
  """Checks the gap of log-probs between trainer and sampler. On policy, only rounding contributes to it.

  Args:
    capped: True if the loss caps importance weights.
  """
  gap = np.abs(trainer - sampler)
  worst = f"p99 {np.percentile(gap, 99):.2g}, max {gap.max():.2g}"
  found = f"log-probs differ by {gap.mean():.2g} in the mean, {worst}, over {gap.size} tokens in {dtype}"
  if not np.isfinite(gap).all():
    todo = "the weights are damaged or overflow in this type: look at the base's files"
    return Finding(FAIL, "sampler against trainer", "log-probs are not finite", todo)
  if gap.mean() > 10 * GAP[dtype]:
    todo = "sampler and trainer are not the same policy: check the base's config.json and the mesh"
    return Finding(FAIL, "sampler against trainer", found, todo)
  if gap.mean() > GAP[dtype] or (dtype == "bfloat16" and not capped):
    todo = "set config.loss.importance_cap=2.0: bf16 rollouts are slightly off policy"
    return Finding(WARN, "sampler against trainer", found, todo)
  return Finding(PASS, "sampler against trainer", found)


def check_micro_batch(one: np.ndarray, many: np.ndarray, rows: tuple[int, int], dtype: str) -> Finding:
  """Compares the trainer's log-probs of the same tokens in micro-batches of few and of many rows."""
  difference = float(np.abs(one - many).max())
  found = f"log-probs with {rows[0]} and with {rows[1]} rows a micro-batch differ by at most {difference:.2g}"
  if difference > 100 * GAP[dtype]:
    return Finding(FAIL, "size of a micro-batch", found, "padding leaks into responses: please report it")
  return Finding(PASS, "size of a micro-batch", found)


def check_slots(few: Sequence[Rollout], many: Sequence[Rollout], n_few: int, n_many: int, dtype: str) -> Finding:
  """Checks that the same keys give the same responses with few and many slots.

  They may differ where rounding decides a near tie.
  """
  same = sum(np.array_equal(a.tokens, b.tokens) for a, b in zip(few, many, strict=True))
  found = f"{same} of {len(few)} responses are the same with {n_few} and with {n_many} slots"
  if dtype == "float32" and same < 0.9 * len(few):
    return Finding(FAIL, "number of slots", found, "slots leak into each other: please report it")
  if same < 0.5 * len(few):
    return Finding(WARN, "number of slots", found, "bf16 rounding decides many draws: watch policy/logprob_gap")
  return Finding(PASS, "number of slots", found)


def check_sampling(config: Config, policy: Policy, prompts: Sequence[Prompt], stops: tuple[int, ...]) -> list[Finding]:
  """Samples responses to some prompts on the ambient mesh, and runs the checks of this module on them."""
  model, params = hf.read_config(policy.folder), policy.load(config)
  ways = config.mesh.data * config.mesh.fsdp  # slots and rows must be multiples of this
  limit, bucket = min(TOKENS, config.rollout.max_new_tokens), config.rollout.prompt_bucket
  longest = max(len(p.tokens) for p in prompts)
  learner, found = build_learner(config, model), {}
  n_slots = {"few": 2 * ways, "many": round_up(SAMPLES * len(prompts), ways)}
  for name, slots in n_slots.items():
    short = dataclasses.replace(config.rollout, slots=slots, max_new_tokens=limit)
    engine = build_engine(dataclasses.replace(config, rollout=short), model, max_prompt=longest, stops=stops)
    serving = engine.load_params(params)
    found[name] = roll_out(
      engine, serving, prompts, stops=stops, bucket=bucket, max_new_tokens=limit, seed=config.train.seed
    )
    engine.free_params()
  few, many, dtype = found["few"], found["many"], config.model.dtype
  responses = [(rollout, 1.0) for rollout in many]
  length = config.train.length_bucket
  of_all, of_one = (
    trainer_logprobs(learner, params, make_micro_batches(responses, rows=rows, length_bucket=length))
    for rows in (n_slots["many"], ways)
  )
  of_run = trainer_logprobs(learner, params, micro_batches(responses, config))  # packed and shared as in the run
  return [
    check_gap(*of_run, dtype, config.loss.importance_cap > 0),
    check_micro_batch(of_one[0], of_all[0], (ways, n_slots["many"]), dtype),
    check_slots(few, many, n_slots["few"], n_slots["many"], dtype),
  ]
