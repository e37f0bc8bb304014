"""Training loop of SRPO: prompts -> rollout -> reward -> advantage -> update -> history -> checkpoint.

At the end of each epoch, a domain's pool is resampled from its history. Stages set the mix of domains in a batch.
"""

import dataclasses
import functools
import logging
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from srpo_jax.algorithm.history import Outcome, next_prompts
from srpo_jax.algorithm.stages import Position
from srpo_jax.config import Config
from srpo_jax.data.encoded import Prompt
from srpo_jax.data.prompt_set import PromptSets
from srpo_jax.model.sampling import Purpose
from srpo_jax.model.transformer import Params
from srpo_jax.rollout.collector import Group, RolloutSampler, by_domain, response_rows
from srpo_jax.training.build import shows_progress
from srpo_jax.training.eval import evaluate
from srpo_jax.training.metrics import MetricsRow, mean, step_metrics
from srpo_jax.training.progress import Progress
from srpo_jax.training.run import Run
from srpo_jax.training.schedule import Schedule
from srpo_jax.training.update import batch_advantages, groups_in_update, is_mixed, update
from srpo_jax.training.workdir import Workdir

EvalRows = MutableMapping[tuple[int, str], dict[str, Any]]  # rows of eval.jsonl by (step, set)


@dataclasses.dataclass(frozen=True)
class Batch:
  """The groups of a step.

  Attributes:
    update_mask: bool [prompt], True for the groups used in the update.
    position: position at the start of the step, with the pools advanced past the sampled prompts.
    times: seconds spent sampling (`rollout_s`) and then waiting for verdicts (`score_s`).
  """

  groups: list[Group]
  update_mask: np.ndarray
  position: Position
  times: dict[str, float]


def train(run: Run) -> None:
  """Trains to the end of the run's stages. Starts from the workdir's last checkpoint if there is one."""
  config, parts, files, schedule = run.config, run.parts, run.files, run.parts.schedule
  state, position = run.start()
  progress = Progress(position.step, schedule.last_step(position), config.log.every, show=shows_progress(config))
  with progress, run.saving_when_told(lambda: (state, position)):
    while True:
      params = parts.sampler.engine.load_params(state.params)
      step_start = schedule.advance(
        evaluate_if_due(parts.evaluator, params, parts.heldout, position, schedule, config, files, run.evaluated)
      )
      if schedule.is_finished(step_start):
        break
      started = time.perf_counter()
      batch = roll_out(parts.sampler, params, parts.prompts, step_start, schedule, config)
      parts.sampler.engine.free_params()
      groups, mask = batch.groups, batch.update_mask
      advantages = batch_advantages(parts.advantage, config, groups, mask)

      updating = time.perf_counter()
      state, updates, n_tokens = update(
        parts.learner, state, groups, advantages, mask,
        step=step_start.step, config=config, checkpoints=run.checkpoints, reference=run.reference,
        check=run.check_signal,
      )  # fmt: skip
      times = batch.times | {"update_s": time.perf_counter() - updating}

      position = schedule.record(batch.position, outcomes(groups), sum(len(g.rollouts) for g in groups))
      position = end_epochs(schedule, files, parts.prompts, position)
      position = schedule.watch_rewards(position, mean_rewards(groups), step_start)
      files.write_rollouts(step_start.step, rollout_rows(groups, advantages, schedule, step_start))
      times["step_s"] = time.perf_counter() - started
      row: MetricsRow = {"step": step_start.step, "stage": schedule.number(step_start)}
      row |= step_metrics(groups, advantages, updates, step_start, position.n_rollouts, times, n_tokens)
      files.write_metrics(row)
      progress.step(row)
      if position.step % config.checkpoint.every == 0:
        run.save(state, position)
  if run.checkpoints.latest() != position.step:
    run.save(state, position)


def roll_out(
  sampler: RolloutSampler, params: Params, prompts: PromptSets, step_start: Position, schedule: Schedule, config: Config
) -> Batch:
  """Samples and judges the groups of a step.

  Dynamic sampling (DAPO, arXiv 2503.14476) continues until there are enough mixed groups or the epoch is over. Then the
  update uses only the mixed groups.
  """
  groups: list[Group] = []
  times = {"rollout_s": 0.0, "score_s": 0.0}
  dynamic = config.history.dynamic_sampling
  wanted, pools = schedule.counts(step_start), dict(step_start.pools)
  while True:
    ids: list[str] = []
    for domain, count in wanted.items():
      taken, pools[domain] = next_prompts(pools[domain], count, config.train.seed)
      ids += taken
    if not ids:
      break
    new, seconds = sampler.collect(
      params,
      [prompts[id_] for id_ in ids],
      step=step_start.step,
      purpose=Purpose.TRAIN,
      samples=config.rollout.group,
      temperature=config.rollout.temperature,
      max_new_tokens=schedule.max_new_tokens(step_start),
    )
    groups += new
    times = {name: times[name] + seconds[name] for name in times}
    for group in new:
      wanted[group.prompt.problem.domain] -= not dynamic or is_mixed(group)
  update_mask = groups_in_update(groups, dynamic=dynamic)
  return Batch(groups, update_mask, dataclasses.replace(step_start, pools=pools), times)


def outcomes(groups: Sequence[Group]) -> dict[str, dict[str, Outcome]]:
  """Returns domain -> prompt id -> its outcome in the step."""
  return {domain: {g.prompt.problem.id: g.outcome() for g in own} for domain, own in by_domain(groups).items()}


def mean_rewards(groups: Sequence[Group]) -> dict[str, float | None]:
  """Returns domain -> mean reward of its judged responses; None if none was judged."""
  return {
    domain: mean([v.reward for g in own for v in g.verdicts if v.correct is not None])
    for domain, own in by_domain(groups).items()
  }


def end_epochs(schedule: Schedule, files: Workdir, prompts: PromptSets, position: Position) -> Position:
  """Writes the history of each pool whose epoch is over, and replaces it with the next epoch's pool."""
  position, ended = schedule.end_epochs(position)
  for pool, following in ended:
    retired = len(following.retired) - len(pool.retired)
    files.write_history(pool, following.prompts, prompts.record)
    logging.info(
      "epoch %d of %s: retired %d of %d prompts, %d in the next epoch",
      *(pool.epoch, pool.domain, retired, len(pool.prompts), len(following.prompts)),
    )
    if not following.prompts:
      logging.warning("every prompt of %s is solved: its pool is empty", pool.domain)
  return position


def evaluate_if_due(
  sampler: RolloutSampler,
  params: Params,
  heldout: Mapping[str, Sequence[Prompt]],
  position: Position,
  schedule: Schedule,
  config: Config,
  files: Workdir,
  rows: EvalRows,
) -> Position:
  """Evaluates on every held-out set: every `eval.every` steps, and at the end of each stage and of the run.

  Args:
    rows: rows of earlier evaluations, which are not repeated. New rows are added to it.

  Returns:
    the position, updated with the scores if the stage ends at their plateau.
  """
  step, every = position.step, config.eval.every
  if not heldout or (step % every and not schedule.why_over(position) and not schedule.is_finished(position)):
    return position
  for name, prompts in heldout.items():
    if (step, name) not in rows:
      row = evaluate(
        sampler, params, prompts, name=name, step=step, samples=config.eval.samples, greedy=config.eval.greedy,
        max_new_tokens=config.rollout.max_new_tokens, keep=functools.partial(_write_heldout, files, step, name),
      )  # fmt: skip
      rows[step, name] = row
      files.write_eval(row)
      greedy = f", greedy {100 * row['greedy']:.1f} %" if config.eval.greedy else ""
      logging.info("step %d: %s pass@1 %.1f %%%s", step, name, 100 * row["pass@1"], greedy)
  mix = schedule.stage(position).mix
  watched = [name for name, prompts in heldout.items() if any(p.problem.domain in mix for p in prompts)]
  return schedule.watch_heldout(position, [rows[step, name]["pass@1"] for name in watched])


def _write_heldout(files: Workdir, step: int, name: str, groups: Sequence[Group]) -> None:
  rows = [{"prompt_id": group.prompt.problem.id, **row} for group in groups for row in response_rows(group)]
  files.write_heldout(step, name, rows)


def rollout_rows(
  groups: Sequence[Group], advantages: np.ndarray, schedule: Schedule, step_start: Position
) -> list[dict[str, Any]]:
  """Returns one row per rollout, in the form of workdir.ROLLOUT_SCHEMA."""
  return [
    {
      "step": step_start.step,
      "stage": schedule.number(step_start),
      "domain": group.prompt.problem.domain,
      "epoch": step_start.pools[group.prompt.problem.domain].epoch,
      "prompt_id": group.prompt.problem.id,
      **response,
      "advantage": float(advantage),
    }
    for group, group_advantages in zip(groups, advantages, strict=True)
    for response, advantage in zip(response_rows(group), group_advantages, strict=True)
  ]
