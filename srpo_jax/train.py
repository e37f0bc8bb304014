"""The training loop of SRPO: prompts -> rollout -> reward -> advantage -> update -> history -> checkpoint.

At the end of each epoch the pool is resampled from its history.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from srpo_jax.algorithm.history import Pool, epoch_is_over, next_prompts, record, resample
from srpo_jax.batch import make_micro_batches
from srpo_jax.errors import InputError, TrainingError
from srpo_jax.experience import Group, rewards_of
from srpo_jax.heldout import evaluate
from srpo_jax.learner import TrainState, UpdateMetrics
from srpo_jax.metrics import Row, domain_metrics, group_metrics, policy_metrics, time_metrics
from srpo_jax.model.qwen2 import Params
from srpo_jax.model.sampling import Purpose
from srpo_jax.progress import Progress
from srpo_jax.run import Run


def train(run: Run) -> None:
  """Runs to the configured end, from the workdir's last checkpoint if it has one."""
  state, pool, step, spent = run.start()
  with Progress(run, step) as progress:
    while True:
      evaluate_if_due(run, state.params, step, is_last=is_finished(run, step, pool))
      if is_finished(run, step, pool):
        break
      started = time.perf_counter()
      met = pool
      groups, in_use, pool, times = roll_out(run, state.params, pool, step)
      spent += sum(len(group.rollouts) for group in groups)
      advantages = advantages_of(run, groups, in_use)
      updating = time.perf_counter()
      state, updates, trained = update(run, state, groups, advantages, in_use, step)
      times["update_s"] = time.perf_counter() - updating

      pool = record(pool, {group.prompt.problem.id: group.outcome() for group in groups})
      if epoch_is_over(pool):
        pool = end_epoch(run, pool)
      run.files.write_rollouts(step, rollout_rows(run, groups, advantages, met, step))
      times["step_s"] = time.perf_counter() - started
      row: Row = {"step": step, "stage": run.config.train.stage}
      row |= group_metrics(groups, advantages) | {"rollouts/spent": spent} | policy_metrics(updates)
      row |= domain_metrics(groups, met) | time_metrics(times, groups, trained)
      run.files.write_metrics(row)
      progress.step(row)
      step += 1
      if step % run.config.checkpoint.every == 0 or is_finished(run, step, pool):
        run.save(step, state, pool, spent)


def is_finished(run: Run, step: int, pool: Pool) -> bool:
  limits = run.config.train
  return bool((limits.steps and step >= limits.steps) or (limits.epochs and pool.epoch >= limits.epochs)) or (
    not pool.prompts
  )


def roll_out(run: Run, params: Params, pool: Pool, step: int) -> tuple[list[Group], np.ndarray, Pool, dict[str, float]]:
  """The step's groups, which of them the update uses, the pool past their prompts, and the seconds it took.

  Dynamic sampling (DAPO, arXiv 2503.14476) goes on until enough groups are mixed, or the epoch is over, and uses those.
  """
  config, groups, times = run.config, [], {"rollout_s": 0.0, "score_s": 0.0}
  dynamic = config.history.dynamic_sampling
  wanted = config.rollout.prompts
  while wanted and not epoch_is_over(pool):
    ids, pool = next_prompts(pool, wanted, config.train.seed)
    new, seconds = run.collector.collect(
      params,
      [run.prompts[id_] for id_ in ids],
      step=step,
      purpose=Purpose.TRAIN,
      samples=config.rollout.group,
      temperature=config.rollout.temperature,
      budget=config.rollout.max_new_tokens,
    )
    groups += new
    times = {name: times[name] + seconds[name] for name in times}
    wanted -= sum(is_mixed(group) for group in new) if dynamic else len(new)
  return groups, np.array([not dynamic or is_mixed(group) for group in groups]), pool, times


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
      rows, bucket = config.train.micro_batch, config.train.length_bucket
      parts.append((make_micro_batches(part, rows=rows, length_bucket=bucket), n_tokens))
  if not parts:
    logging.warning("step %d: no token in the loss, no update", step)
  if n_updates > 1:
    parts = [(run.learner.with_old_logprobs(state.params, batches), n_tokens) for batches, n_tokens in parts]
  metrics = []
  for batches, n_tokens in parts:
    state, metric = run.learner.update(state, batches, n_tokens)
    if not np.isfinite([metric.loss, metric.grad_norm]).all():
      raise TrainingError(
        f"step {step}: training has diverged: loss {metric.loss}, gradient norm {metric.grad_norm}; the last "
        f"checkpoint of {run.path} is of step {run.checkpoints.latest()}"
      )
    metrics.append(metric)
  return state, metrics, sum(int(batch.segments.sum()) for batches, _ in parts for batch in batches)


def end_epoch(run: Run, pool: Pool) -> Pool:
  """Writes the epoch's history and returns the next epoch's pool."""
  following = resample(pool, mode=run.config.history.mode)
  run.files.write_history(pool, following.prompts)
  logging.info(
    "epoch %d of %s: retired %d of %d prompts, %d go on",
    *(pool.epoch, pool.domain, len(pool.prompts) - len(following.prompts), len(pool.prompts), len(following.prompts)),
  )
  if not following.prompts:
    logging.warning("every prompt of %s is solved: the pool is empty, training ends", pool.domain)
  return following


def evaluate_if_due(run: Run, params: Params, step: int, *, is_last: bool) -> None:
  every = run.config.eval.every
  if not every or not run.heldout or (step % every and not is_last) or step in run.evaluated:
    return
  row = evaluate(
    run.collector,
    params,
    list(run.heldout.values()),
    name=run.heldout_name,
    step=step,
    samples=run.config.eval.samples,
    budget=run.config.rollout.max_new_tokens,
  )
  run.evaluated.add(step)
  run.files.write_eval(row)
  logging.info("step %d: held-out pass@1 %.1f %%, greedy %.1f %%", step, 100 * row["pass@1"], 100 * row["greedy"])


def rollout_rows(
  run: Run, groups: Sequence[Group], advantages: np.ndarray, pool: Pool, step: int
) -> list[dict[str, Any]]:
  """A row a rollout, as workdir.ROLLOUT_SCHEMA."""
  return [
    {
      "step": step,
      "stage": run.config.train.stage,
      "domain": group.prompt.problem.domain,
      "epoch": pool.epoch,
      "prompt_id": rollout.prompt_id,
      "sample": rollout.sample,
      "prompt": group.prompt.text,
      "response": text,
      "token_ids": rollout.tokens,
      "sampler_logprobs": rollout.logprobs,
      "n_tokens": len(rollout.tokens),
      "truncated": rollout.truncated,
      "format": verdict.format,
      "correct": verdict.correct,
      "pass_fraction": verdict.pass_fraction,
      "reason": verdict.reason,
      "language_mix": verdict.language_mix,
      "reward": None if verdict.correct is None else verdict.reward,
      "advantage": float(advantage),
    }
    for group, group_advantages in zip(groups, advantages, strict=True)
    for rollout, text, verdict, advantage in zip(
      group.rollouts, group.texts, group.verdicts, group_advantages, strict=True
    )
  ]
