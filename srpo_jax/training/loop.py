"""The training loop of SRPO: prompts -> rollout -> reward -> advantage -> update -> history -> checkpoint.

At the end of each epoch a domain's pool is resampled from its history; stages decide which domains make a batch.
"""

import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from srpo_jax.algorithm.history import Outcome, next_prompts
from srpo_jax.algorithm.stages import Position
from srpo_jax.config import TrainConfig
from srpo_jax.model.qwen2 import Params
from srpo_jax.model.sampling import Purpose
from srpo_jax.rollout.collector import Group, by_domain, response_rows, rewards_of
from srpo_jax.training.batch import Response, make_micro_batches, pack_micro_batches
from srpo_jax.training.eval import evaluate
from srpo_jax.training.learner import MicroBatch, TrainState, UpdateMetrics
from srpo_jax.training.metrics import (
  Row,
  domain_metrics,
  group_metrics,
  mean,
  policy_metrics,
  reflection_metrics,
  time_metrics,
)
from srpo_jax.training.progress import Progress
from srpo_jax.training.run import Run
from srpo_jax.utils.errors import InputError, TrainingError


def train(run: Run) -> None:
  """Runs to the end of its stages, from the workdir's last checkpoint if it has one."""
  state, at = run.start()
  with Progress(run, at) as progress, run.saving_when_told(lambda: (state, reached)):
    while True:
      reached = at
      policy = run.collector.engine.load_params(state.params)
      at = run.schedule.advance(evaluate_if_due(run, policy, at))
      if run.schedule.is_finished(at):
        break
      started, met = time.perf_counter(), at
      groups, in_use, at, times = roll_out(run, policy, at)
      run.collector.engine.free_params()
      advantages = advantages_of(run, groups, in_use)
      updating = time.perf_counter()
      state, updates, trained = update(run, state, groups, advantages, in_use, at.step)
      times["update_s"] = time.perf_counter() - updating

      at = end_epochs(run, run.schedule.record(at, outcomes(groups), sum(len(g.rollouts) for g in groups)))
      at = run.schedule.watch_rewards(at, mean_rewards(groups), met)
      run.files.write_rollouts(met.step, rollout_rows(run, groups, advantages, met))
      times["step_s"] = time.perf_counter() - started
      row: Row = {"step": met.step, "stage": run.schedule.number(met)}
      row |= group_metrics(groups, advantages) | {"rollouts/spent": at.spent} | policy_metrics(updates)
      row |= domain_metrics(groups, met) | reflection_metrics(groups) | time_metrics(times, groups, trained)
      run.files.write_metrics(row)
      progress.step(row)
      if at.step % run.config.checkpoint.every == 0:
        run.save(state, at)
  if run.checkpoints.latest() != reached.step:
    run.save(state, reached)


def roll_out(run: Run, params: Params, at: Position) -> tuple[list[Group], np.ndarray, Position, dict[str, float]]:
  """The step's groups, which of them the update uses, the position past their prompts, and the seconds it took.

  Dynamic sampling (DAPO, arXiv 2503.14476) goes on until enough groups are mixed, or the epoch is over, and uses those.
  """
  config, groups, times = run.config, [], {"rollout_s": 0.0, "score_s": 0.0}
  dynamic = config.history.dynamic_sampling
  wanted, pools = run.schedule.counts(at), dict(at.pools)
  while True:
    ids: list[str] = []
    for domain, count in wanted.items():
      taken, pools[domain] = next_prompts(pools[domain], count, config.train.seed)
      ids += taken
    if not ids:
      break
    new, seconds = run.collector.collect(
      params,
      [run.prompt(id_) for id_ in ids],
      step=at.step,
      purpose=Purpose.TRAIN,
      samples=config.rollout.group,
      temperature=config.rollout.temperature,
      budget=run.schedule.budget(at),
    )
    groups += new
    times = {name: times[name] + seconds[name] for name in times}
    for group in new:
      wanted[group.prompt.problem.domain] -= not dynamic or is_mixed(group)
  return groups, which_used(groups, dynamic=dynamic), dataclasses.replace(at, pools=pools), times


def which_used(groups: Sequence[Group], *, dynamic: bool) -> np.ndarray:
  """Of each group whether the update uses it: by dynamic sampling the mixed ones alone."""
  return np.array([not dynamic or is_mixed(group) for group in groups])


def is_mixed(group: Group) -> bool:
  """Some responses correct and some not."""
  judged = [v.correct for v in group.verdicts if v.correct is not None]
  return 0 < sum(judged) < len(judged)


def advantages_of(run: Run, groups: Sequence[Group], in_use: np.ndarray) -> np.ndarray:
  """[prompt, sample]; zeros for groups out of use, and always for responses that are truncated or not judged."""
  rewards, judged, truncated = rewards_of(groups)
  advantages = np.asarray(run.advantage(rewards, judged, truncated))
  if advantages.shape != rewards.shape or not np.isfinite(advantages[judged]).all():
    raise InputError(
      f"config.advantage.function: {run.config.advantage.function} returned {advantages.shape} {advantages.dtype}, "
      f"expected finite numbers of shape {rewards.shape}"
    )
  return np.where(in_use[:, None] & judged & ~truncated, advantages, 0.0).astype(np.float32)


def update(
  run: Run, state: TrainState, groups: Sequence[Group], advantages: np.ndarray, in_use: np.ndarray, step: int
) -> tuple[TrainState, list[UpdateMetrics], int]:
  """The step's optimizer updates, and the tokens (prompts included) they went over.

  The tokens of truncated and of not judged responses leave the loss. No token left: no update, and the log says so.
  """
  config = run.config
  _, judged, truncated = rewards_of(groups)
  in_loss = in_use[:, None] & judged & ~truncated
  chosen = [(groups[p].rollouts[s], float(advantages[p, s])) for p, s in np.argwhere(in_loss)]
  n_updates = config.loss.updates
  if n_updates > 1:
    order = np.random.default_rng((config.train.seed, Purpose.MINIBATCH, step)).permutation(len(chosen))
    chosen = [chosen[i] for i in order]
  parts = []  # one optimizer step each: its micro-batches, its tokens in the loss
  for part in (chosen[i::n_updates] for i in range(n_updates)):
    n_tokens = sum(len(rollout.tokens) for rollout, _ in part)
    if config.train.skip_zero_advantage:
      part = [(rollout, advantage) for rollout, advantage in part if advantage]
    if n_tokens:
      parts.append((cut(part, config.train), n_tokens))
  if not parts:
    logging.warning("step %d: no token in the loss, no update", step)
  if n_updates > 1:
    parts = [(run.learner.with_old_logprobs(state.params, batches), n_tokens) for batches, n_tokens in parts]
  metrics = []
  for place, (batches, n_tokens) in enumerate(parts):  # after the first update the step has begun: it is finished
    state, metric = run.learner.update(state, batches, n_tokens, None if place else run.check_notice)
    if not np.isfinite([metric.loss, metric.grad_norm]).all():
      raise TrainingError(
        f"step {step}: training has diverged: loss {metric.loss}, gradient norm {metric.grad_norm}; the last "
        f"checkpoint of {run.path} is of step {run.checkpoints.latest()}"
      )
    metrics.append(metric)
  return state, metrics, sum(int(np.count_nonzero(batch.segments)) for batches, _ in parts for batch in batches)


def cut(responses: Sequence[Response], config: TrainConfig) -> list[MicroBatch]:
  """The micro-batches of one optimizer step."""
  if config.pack_tokens:
    return pack_micro_batches(responses, rows=config.micro_batch, row_tokens=config.pack_tokens)
  return make_micro_batches(responses, rows=config.micro_batch, length_bucket=config.length_bucket)


def outcomes(groups: Sequence[Group]) -> dict[str, dict[str, Outcome]]:
  """domain -> prompt id -> what the step saw of it."""
  return {domain: {g.prompt.problem.id: g.outcome() for g in own} for domain, own in by_domain(groups).items()}


def mean_rewards(groups: Sequence[Group]) -> dict[str, float | None]:
  """domain -> mean reward of its judged responses."""
  return {
    domain: mean([v.reward for g in own for v in g.verdicts if v.correct is not None])
    for domain, own in by_domain(groups).items()
  }


def end_epochs(run: Run, at: Position) -> Position:
  """Where an epoch is over: writes its history, and goes on with the next epoch's pool."""
  at, ended = run.schedule.end_epochs(at)
  for pool, following in ended:
    retired = len(following.retired) - len(pool.retired)
    run.files.write_history(pool, following.prompts, run.record_of)
    logging.info(
      "epoch %d of %s: retired %d of %d prompts, %d go on",
      *(pool.epoch, pool.domain, retired, len(pool.prompts), len(following.prompts)),
    )
    if not following.prompts:
      logging.warning("every prompt of %s is solved: its pool is empty", pool.domain)
  return at


def evaluate_if_due(run: Run, params: Params, at: Position) -> Position:
  """Evaluates on every held-out set: every so many steps, at each stage's end and at the run's."""
  every = run.config.eval.every
  if not run.heldout or (at.step % every and not run.schedule.why_over(at) and not run.schedule.is_finished(at)):
    return at
  for name, prompts in run.heldout.items():
    if (at.step, name) not in run.evaluated:
      row = evaluate(
        run.evaluator,
        params,
        prompts,
        name=name,
        step=at.step,
        samples=run.config.eval.samples,
        budget=run.config.rollout.max_new_tokens,
      )
      run.evaluated[at.step, name] = row
      run.files.write_eval(row)
      scores = at.step, name, 100 * row["pass@1"], 100 * row["greedy"]
      logging.info("step %d: %s pass@1 %.1f %%, greedy %.1f %%", *scores)
  mix = run.schedule.stage(at).mix
  watched = [name for name, prompts in run.heldout.items() if any(p.problem.domain in mix for p in prompts)]
  return run.schedule.watch_heldout(at, [run.evaluated[at.step, name]["pass@1"] for name in watched])


def rollout_rows(run: Run, groups: Sequence[Group], advantages: np.ndarray, met: Position) -> list[dict[str, Any]]:
  """A row a rollout, as workdir.ROLLOUT_SCHEMA; `met` is the position that the step began from."""
  return [
    {
      "step": met.step,
      "stage": run.schedule.number(met),
      "domain": group.prompt.problem.domain,
      "epoch": met.pools[group.prompt.problem.domain].epoch,
      "prompt_id": group.prompt.problem.id,
      **response,
      "advantage": float(advantage),
    }
    for group, group_advantages in zip(groups, advantages, strict=True)
    for response, advantage in zip(response_rows(group), group_advantages, strict=True)
  ]
