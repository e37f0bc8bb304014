"""Checks that sampler and trainer agree, and that results do not depend on the sizes of batches and slots."""

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from srpo_jax.checks.finding import FAIL, PASS, WARN, Finding
from srpo_jax.checks.near_ties import draw_distance
from srpo_jax.config import Config
from srpo_jax.data.encoded import Prompt
from srpo_jax.model import hf
from srpo_jax.model.sampling import Purpose, prompt_key
from srpo_jax.model.transformer import Params, TransformerConfig
from srpo_jax.rollout.policy import Policy
from srpo_jax.rollout.sampler import GroupRequest, sample_groups
from srpo_jax.training.batch import make_micro_batches
from srpo_jax.training.build import build_engine, build_learner
from srpo_jax.training.learner import Learner, MicroBatch
from srpo_jax.training.update import micro_batches
from srpo_jax.types import Rollout
from srpo_jax.utils.rounding import round_up

SAMPLES = 4  # responses to each prompt
COMPARED = 2  # of them, those that are sampled again with few slots
TOKENS = 128  # tokens of a response that are compared
SECONDS = 120.0  # time limit of sampling, without the compilation
# Largest acceptable mean difference of log-probs between sampler and trainer. bf16 keeps 8 bits.
GAP = {"float32": 1e-4, "bfloat16": 3e-2}
# Largest distance, in probability, of a float32 draw from a token that another number of slots draws. The rows of a
# float32 product differ by up to 6e-5 with the size of the batch.
TIE = 1e-4


class Deadline:
  """Time limit of sampling. Its clock starts at the second decode call, because the first one compiles.

  Attributes:
    passed: True once sampling was stopped.
  """

  def __init__(self, seconds: float):
    self.seconds, self.passed = seconds, False
    self._calls, self._start = 0, 0.0

  def __call__(self) -> bool:
    """Returns True if sampling must end. Called before each decode call."""
    self._calls += 1
    if self._calls == 2:
      self._start = time.monotonic()
    self.passed = self._calls >= 2 and time.monotonic() - self._start >= self.seconds
    return self.passed


@dataclasses.dataclass(frozen=True)
class Draws:
  """Responses of one engine, ordered by prompt and sample.

  Attributes:
    limit: length limit in tokens.
    seconds: time after which sampling was stopped. None: it was not.
  """

  rollouts: tuple[Rollout, ...]
  slots: int
  limit: int
  seconds: float | None


def roll_out(
  config: Config,
  model: TransformerConfig,
  params: Params,
  prompts: Sequence[Prompt],
  stops: tuple[int, ...],
  *,
  slots: int,
  samples: int,
  limit: int,
) -> Draws:
  """Samples responses at the run's temperature, for at most SECONDS."""
  short = dataclasses.replace(config.rollout, slots=slots, max_new_tokens=limit)
  longest = max(len(p.tokens) for p in prompts)
  engine = build_engine(dataclasses.replace(config, rollout=short), model, max_prompt=longest, stops=stops)
  requests = [
    GroupRequest(p.problem.id, p.tokens, samples, _key(config, p.problem.id), limit, config.rollout.temperature)
    for p in prompts
  ]
  deadline, bucket = Deadline(SECONDS), config.rollout.prompt_bucket
  serving = engine.load_params(params)
  found = list(sample_groups(engine, serving, requests, stop_tokens=stops, prompt_bucket=bucket, between=deadline))
  engine.free_params()
  order = {p.problem.id: i for i, p in enumerate(prompts)}
  found.sort(key=lambda r: (order[r.prompt_id], r.sample))
  return Draws(tuple(found), slots, limit, SECONDS if deadline.passed else None)


def _key(config: Config, prompt_id: str) -> Any:
  return prompt_key(config.train.seed, Purpose.EVAL, 0, prompt_id)


def cut(rollout: Rollout, n: int) -> Rollout:
  """Returns the first `n` tokens of a response."""
  if len(rollout.tokens) <= n:
    return rollout
  return dataclasses.replace(rollout, tokens=rollout.tokens[:n], logprobs=rollout.logprobs[:n], truncated=True)


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


def check_slots(distances: Sequence[float], n_few: int, n_many: int, dtype: str) -> Finding:
  """Checks that the same keys give the same responses with few and many slots.

  They may differ only where rounding decides a near tie.

  Args:
    distances: for each response, how far its first differing draw was from a tie (`draw_distance`). 0: none differs.
  """
  differ = [distance for distance in distances if distance > 0]
  found = f"{len(distances) - len(differ)} of {len(distances)} responses are the same with {n_few} and {n_many} slots"
  if differ:
    found += f", the others from a draw within {max(differ):.2g} of both tokens on"
  if dtype == "float32" and max(distances, default=0.0) > TIE:
    return Finding(FAIL, "number of slots", found, "slots leak into each other: please report it")
  if dtype != "float32" and len(differ) > len(distances) / 2:
    return Finding(WARN, "number of slots", found, "bf16 rounding decides many draws: watch policy/logprob_gap")
  return Finding(PASS, "number of slots", found)


def check_sampling(
  config: Config, policy: Policy, prompts: Sequence[Prompt], stops: tuple[int, ...]
) -> tuple[list[Finding], Draws]:
  """Samples responses to some prompts on the ambient mesh, and runs the checks of this module on them.

  Returns:
    the findings, and SAMPLES responses to each prompt at the run's own length limit.
  """
  model, params = hf.read_config(policy.folder), policy.load(config)
  ways = config.mesh.data * config.mesh.fsdp  # slots and rows must be multiples of this
  limit, learner, dtype = first_limit(config), build_learner(config, model), config.model.dtype
  run = functools.partial(roll_out, config, model, params, prompts, stops)
  few = run(slots=2 * ways, samples=COMPARED, limit=min(TOKENS, limit))
  many = run(slots=round_up(SAMPLES * len(prompts), ways), samples=SAMPLES, limit=limit)
  short = [cut(rollout, TOKENS) for rollout in many.rollouts]
  both = [(a, b) for a in few.rollouts for b in short if (a.prompt_id, a.sample) == (b.prompt_id, b.sample)]
  both = [(cut(a, len(b.tokens)), cut(b, len(a.tokens))) if b.truncated or a.truncated else (a, b) for a, b in both]
  ask: dict[str, Any] = {"temperature": config.rollout.temperature}
  distances = [draw_distance(params, model, a, b, key=_key(config, a.prompt_id), **ask) for a, b in both]
  responses, length = [(rollout, 1.0) for rollout in short], config.train.length_bucket
  of_all, of_one = (
    trainer_logprobs(learner, params, make_micro_batches(responses, rows=rows, length_bucket=length))
    for rows in (many.slots, ways)
  )
  of_run = trainer_logprobs(learner, params, micro_batches(responses, config))  # packed and shared as in the run
  findings = [
    check_gap(*of_run, dtype, config.loss.importance_cap > 0),
    check_micro_batch(of_one[0], of_all[0], (ways, many.slots), dtype),
    check_slots(distances, few.slots, many.slots, dtype),
  ]
  return findings, many


def first_limit(config: Config) -> int:
  """Returns the length limit of the run's first stage."""
  return next(iter(config.stages.values())).max_new_tokens or config.rollout.max_new_tokens
