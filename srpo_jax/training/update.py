"""Optimizer updates of a step: selects groups, computes their advantages, makes micro-batches and applies updates."""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from srpo_jax.config import Config
from srpo_jax.model.attention import can_share_prompts
from srpo_jax.model.sampling import Purpose
from srpo_jax.model.transformer import Params
from srpo_jax.rollout.collector import Group, rewards_of
from srpo_jax.training.batch import Response, make_micro_batches, pack_micro_batches
from srpo_jax.training.build import Advantage
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.training.learner import Learner, MicroBatch, TrainState, UpdateMetrics
from srpo_jax.training.shared_batch import pack_shared_micro_batches, share_micro_batches
from srpo_jax.utils.errors import InputError, TrainingError


def groups_in_update(groups: Sequence[Group], *, dynamic: bool) -> np.ndarray:
  """Mask of the groups used in the update, bool [prompt]. Dynamic sampling keeps only mixed groups."""
  return np.array([not dynamic or is_mixed(group) for group in groups])


def is_mixed(group: Group) -> bool:
  """Returns True if some responses are correct and some are not."""
  judged = [v.correct for v in group.verdicts if v.correct is not None]
  return 0 < sum(judged) < len(judged)


def batch_advantages(
  advantage: Advantage, config: Config, groups: Sequence[Group], update_mask: np.ndarray
) -> np.ndarray:
  """Returns float32 [prompt, sample] advantages.

  Advantages are zero in groups outside the update mask, and for responses that are truncated or were not judged.

  Raises:
    InputError: the user's function returned a wrong shape, or numbers that are not finite.
  """
  rewards, judged, truncated = rewards_of(groups)
  advantages = np.asarray(advantage(rewards, judged, truncated))
  if advantages.shape != rewards.shape or not np.isfinite(advantages[judged]).all():
    raise InputError(
      f"config.advantage.function: {config.advantage.function} returned {advantages.shape} {advantages.dtype}, "
      f"expected finite numbers of shape {rewards.shape}"
    )
  return np.where(update_mask[:, None] & judged & ~truncated, advantages, 0.0).astype(np.float32)


def update(
  learner: Learner,
  state: TrainState,
  groups: Sequence[Group],
  advantages: np.ndarray,
  update_mask: np.ndarray,
  *,
  step: int,
  config: Config,
  checkpoints: Checkpoints,
  reference: Params | None = None,
  check: Callable[[], None] | None = None,
) -> tuple[TrainState, list[UpdateMetrics], int]:
  """Applies a step's optimizer updates. `state` is donated.

  Args:
    checkpoints: checkpoints of the run. The error names the last one if training diverges.
    reference: parameters of the policy that the run began from, for a loss that needs them.
    check: called between micro-batches of the first update. If it raises, the update ends and `state` is unchanged.

  Returns:
    the new state, the metrics of each update, and the number of tokens that went through them, prompts included.

  Raises:
    TrainingError: loss or gradient norm is not finite.
  """
  parts = update_batches(groups, advantages, update_mask, step=step, config=config)
  if not parts:
    logging.warning("step %d: no token in the loss, no update", step)
  if config.loss.updates > 1:
    parts = [(learner.with_old_logprobs(state.params, batches), n, m) for batches, n, m in parts]
  if reference is not None:
    parts = [(learner.with_reference_logprobs(reference, batches), n, m) for batches, n, m in parts]
  metrics = []
  for number, (batches, n_tokens, n_responses) in enumerate(parts):
    check = None if number else check  # after the first update is applied, the step must be completed
    state, metric = learner.update(state, batches, n_tokens, n_responses, check)
    if not np.isfinite([metric.loss, metric.grad_norm]).all():
      raise TrainingError(
        f"step {step}: training has diverged: loss {metric.loss}, gradient norm {metric.grad_norm}; the last "
        f"checkpoint of {checkpoints.workdir} is of step {checkpoints.latest()}"
      )
    metrics.append(metric)
  return state, metrics, sum(int(np.count_nonzero(batch.segments)) for batches, *_ in parts for batch in batches)


def update_batches(
  groups: Sequence[Group], advantages: np.ndarray, update_mask: np.ndarray, *, step: int, config: Config
) -> list[tuple[list[MicroBatch], int, int]]:
  """Returns, for each optimizer update, its micro-batches and the numbers of tokens and of responses in its loss.

  Responses that are truncated or were not judged are left out of the loss. Updates without tokens are left out.
  """
  _, judged, truncated = rewards_of(groups)
  in_loss = update_mask[:, None] & judged & ~truncated
  chosen = [(groups[p].rollouts[s], float(advantages[p, s])) for p, s in np.argwhere(in_loss)]
  n_updates = config.loss.updates
  if n_updates > 1:
    order = np.random.default_rng((config.train.seed, Purpose.MINIBATCH, step)).permutation(len(chosen))
    chosen = [chosen[i] for i in order]
  parts = []
  for part in (chosen[i::n_updates] for i in range(n_updates)):
    n_tokens, n_responses = sum(len(rollout.tokens) for rollout, _ in part), len(part)
    if config.train.skip_zero_advantage:
      part = [(rollout, advantage) for rollout, advantage in part if advantage]
    if n_tokens:
      parts.append((micro_batches(part, config), n_tokens, n_responses))
  return parts


def micro_batches(responses: Sequence[Response], config: Config) -> list[MicroBatch]:
  """Returns the micro-batches of one optimizer step, packed or padded, with shared prompts or not, as configured."""
  train = config.train
  share = train.share_prompts and can_share_prompts()
  if train.pack_tokens:
    pack = pack_shared_micro_batches if share else pack_micro_batches
    return pack(responses, rows=train.micro_batch, row_tokens=train.pack_tokens)
  sizes = {"rows": train.micro_batch, "length_bucket": train.length_bucket}
  if share:
    return share_micro_batches(responses, row_multiple=config.mesh.data * config.mesh.fsdp, **sizes)
  return make_micro_batches(responses, **sizes)
