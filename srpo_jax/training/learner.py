"""Policy update: sums the loss gradients of all micro-batches in a donated accumulator, then applies one AdamW step.

Axes: B rows of a micro-batch, T tokens of a row, R response tokens of a row, C response tokens of a chunk, M model
features, V vocabulary.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float, Int

from srpo_jax.algorithm.loss import Loss, LossInputs, needs_reference, policy_loss
from srpo_jax.model import transformer
from srpo_jax.model.sharding import constrain, constrain_params
from srpo_jax.model.shared_prompts import SharedPrompts
from srpo_jax.model.transformer import Params, TransformerConfig
from srpo_jax.utils.arrays import Array


class MicroBatch(NamedTuple):
  """Rows of prompts and responses. Each response token is a target, predicted from the hidden state before it."""

  tokens: Int[Any, " B T"]
  positions: Int[Any, " B T"]
  segments: Int[Any, " B T"]  # number of the prompt's copy within the row; 0: padding
  response: Int[Any, " B T"]  # number of the response within the row, 0 for a prompt; used only if prompts are shared
  source: Int[Any, " B R"]  # column of the hidden state that predicts the target
  target: Int[Any, " B R"]
  target_response: Int[Any, " B R"]  # number of the target's response within the row; 0: padding
  in_loss: Bool[Any, " B R"]
  advantage: Float[Any, " B R"]
  sampler_logprob: Float[Any, " B R"]
  old_logprob: Float[Any, " B R"]  # used only if updates are off policy
  reference_logprob: Float[Any, " B R"]  # used only by a loss that needs it, NaN until it is filled in
  shared: SharedPrompts | None = None  # layout of rows whose responses share a prompt


class TrainState(NamedTuple):
  """Parameters and optimizer state."""

  params: Params
  opt_state: Any


class Stats(NamedTuple):
  """Statistics of one micro-batch, on the device."""

  loss: Float[Array, ""]
  clipped: Float[Array, ""]  # number of clipped tokens
  entropy: Float[Array, ""]  # sum over tokens in the loss
  logprob: Float[Array, " B R"]


class UpdateMetrics(NamedTuple):
  """Metrics of one optimizer step, on the host."""

  loss: float
  grad_norm: float
  entropy: float | None  # None if all advantages are zero and their responses were left out
  clip_frac: float
  gap: np.ndarray  # [tokens in the loss] |trainer's - sampler's log-prob|, with the trainer before the first update


@dataclasses.dataclass(frozen=True)
class LearnerOptions:
  """Options of the update."""

  dtype: Any = jnp.float32  # dtype of the computation
  remat: str = "none"
  head_chunk: int = 32  # response tokens per row whose logits exist at once
  temperature: float = 1.0  # temperature of the sampler
  clip_low: float = 0.2
  clip_high: float = 0.2
  importance_cap: float = 0.0  # 0: off
  on_policy: bool = True  # one update per rollout batch, so that the ratio is 1 and `old_logprob` is not used
  loss: Loss | None = None  # replaces `policy_loss` with the clip range and cap above


def target_logprobs(
  params: Params,
  hidden: Float[Array, " B R M"],
  target: Int[Array, " B R"],
  *,
  temperature: float,
  chunk: int,
) -> tuple[Float[Array, " B R"], Float[Array, " B R"]]:
  """Returns log-probabilities and entropies at the targets, at the given temperature.

  The head runs over chunks of C targets per row. Each chunk is rematerialised in the backward pass, so no [B, R, V]
  array ever exists.
  """
  rows, length = target.shape
  chunk = min(chunk, length)
  padding = -length % chunk
  head = transformer.gather_head(params)

  def chunks(x: Array) -> Array:
    x = jnp.pad(x, [(0, 0), (0, padding)] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(x.reshape(rows, -1, chunk, *x.shape[2:]), 1, 0)

  @jax.checkpoint
  def one(hidden: Array, target: Array) -> tuple[Array, Array]:
    logits = transformer.logits(head, hidden) / temperature
    total = jax.nn.logsumexp(logits, axis=-1)
    logprob = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0] - total
    fixed = jax.lax.stop_gradient(logits)
    entropy = total - jnp.sum(jax.nn.softmax(fixed) * fixed, axis=-1)
    return logprob, jax.lax.stop_gradient(entropy)

  logprob, entropy = jax.lax.map(lambda c: one(*c), (chunks(hidden), chunks(target)))
  logprob, entropy = (jnp.moveaxis(x, 0, 1).reshape(rows, -1)[:, :length] for x in (logprob, entropy))
  return logprob, entropy


def batch_logprobs(
  params: Params, config: TransformerConfig, options: LearnerOptions, batch: MicroBatch
) -> tuple[Float[Array, " B R"], Float[Array, " B R"]]:
  """Returns the trainer's log-probabilities and entropies at a micro-batch's targets."""
  batch = jax.tree.map(lambda x: constrain(x, "batch", "length"), batch)
  hidden = transformer.forward(
    params,
    config,
    batch.tokens,
    batch.positions,
    batch.segments,
    response=batch.response,
    shared=batch.shared,
    dtype=options.dtype,
    remat=options.remat,
  )
  hidden = jnp.take_along_axis(hidden, batch.source[..., None], axis=1)
  # A row of several responses is one of fewer rows, so that the logits at once stay as many.
  chunk = options.head_chunk * (batch.shared.responses(batch.tokens.shape[1]) if batch.shared else 1)
  return target_logprobs(params, hidden, batch.target, temperature=options.temperature, chunk=chunk)


def micro_batch_loss(
  params: Params,
  batch: MicroBatch,
  n_tokens: Array,
  n_responses: Array,
  *,
  config: TransformerConfig,
  options: LearnerOptions,
) -> tuple[Float[Array, ""], Stats]:
  """Returns the micro-batch's share of the whole batch's loss, and its Stats."""
  batch = jax.tree.map(jnp.asarray, batch)
  logprob, entropy = batch_logprobs(params, config, options, batch)
  loss = loss_function(options)
  inputs = LossInputs(
    logprob=logprob,
    old_logprob=jax.lax.stop_gradient(logprob) if options.on_policy else batch.old_logprob,
    sampler_logprob=batch.sampler_logprob,
    reference_logprob=batch.reference_logprob if needs_reference(loss) else None,
    advantage=batch.advantage,
    mask=batch.in_loss,
    response=batch.target_response,
    n_responses=n_responses,
    n_tokens=n_tokens,
  )
  share, clipped = loss(inputs)
  n_clipped = jnp.zeros(()) if clipped is None else jnp.sum(batch.in_loss & clipped).astype(jnp.float32)
  return share, Stats(share, n_clipped, jnp.sum(jnp.where(batch.in_loss, entropy, 0.0)), constrain(logprob))


def loss_function(options: LearnerOptions) -> Loss:
  """Returns the user's loss, or else the paper's loss with the values in `options`."""
  return options.loss or functools.partial(
    policy_loss,
    clip_low=options.clip_low,
    clip_high=options.clip_high,
    importance_cap=options.importance_cap,
  )


class Learner:
  """Compiled programs of the update, for one model and one optimizer."""

  def __init__(self, config: TransformerConfig, optimizer: optax.GradientTransformation, options: LearnerOptions):
    self.options = options
    self.needs_reference = needs_reference(loss_function(options))
    loss = functools.partial(micro_batch_loss, config=config, options=options)

    def accumulate(
      params: Params, total: Params, batch: MicroBatch, n_tokens: Array, n_responses: Array
    ) -> tuple[Params, Stats]:
      (_, stats), grads = jax.value_and_grad(loss, has_aux=True)(params, batch, n_tokens, n_responses)
      return constrain_params(jax.tree.map(jnp.add, total, grads)), stats

    def apply(state: TrainState, grads: Params) -> tuple[TrainState, Array]:
      updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
      state = TrainState(optax.apply_updates(state.params, updates), opt_state)
      return constrain_params(state), optax.tree.norm(grads)

    self.accumulate = jax.jit(accumulate, donate_argnums=1)
    self.logprobs = jax.jit(lambda params, batch: constrain(batch_logprobs(params, config, options, batch)[0]))
    self._apply = jax.jit(apply, donate_argnums=0)
    self._zeros = jax.jit(lambda params: constrain_params(jax.tree.map(jnp.zeros_like, params)))
    self._init = jax.jit(lambda params: constrain_params(optimizer.init(params)))

  def init(self, params: Params) -> TrainState:
    return TrainState(params, self._init(params))

  def with_old_logprobs(self, params: Params, batches: Sequence[MicroBatch]) -> list[MicroBatch]:
    """Returns the batches with `old_logprob` computed from `params`. Call it before the first of several updates."""
    return [batch._replace(old_logprob=np.asarray(self.logprobs(params, batch))) for batch in batches]

  def with_reference_logprobs(self, reference: Params, batches: Sequence[MicroBatch]) -> list[MicroBatch]:
    """Returns the batches with `reference_logprob` computed from the parameters of the reference policy."""
    return [batch._replace(reference_logprob=np.asarray(self.logprobs(reference, batch))) for batch in batches]

  def update(
    self,
    state: TrainState,
    batches: Sequence[MicroBatch],
    n_tokens: int,
    n_responses: int,
    between: Callable[[], None] | None = None,
  ) -> tuple[TrainState, UpdateMetrics]:
    """Applies one optimizer step to all micro-batches together. Entropy and gap are over the tokens of `batches`.

    `state` is donated. The call waits for the device once, at its end. With `between`, it waits after each micro-batch.

    Args:
      n_tokens: number of tokens in the loss, the loss's denominator. It includes responses that are left out of
        `batches` because their advantage is zero.
      n_responses: number of responses in the loss, counted in the same way.
      between: called after each micro-batch. If it raises, the update ends and `state` is unchanged.
    """
    grads, stats = self._zeros(state.params), []
    for batch in batches:
      grads, stat = self.accumulate(state.params, grads, batch, np.float32(n_tokens), np.float32(n_responses))
      stats.append(stat)
      if between is not None:
        jax.block_until_ready(stat)
        between()
    state, grad_norm = self._apply(state, grads)
    stats, grad_norm = jax.device_get((stats, grad_norm))
    trainer = [s.logprob if self.options.on_policy else b.old_logprob for s, b in zip(stats, batches, strict=True)]
    gaps = [np.abs(t - b.sampler_logprob)[b.in_loss] for t, b in zip(trainer, batches, strict=True)]
    gap = np.concatenate([np.zeros(0, np.float32), *gaps])
    return state, UpdateMetrics(
      loss=float(sum(s.loss for s in stats)),
      grad_norm=float(grad_norm),
      entropy=float(sum(s.entropy for s in stats)) / len(gap) if len(gap) else None,
      clip_frac=float(sum(s.clipped for s in stats)) / n_tokens,
      gap=gap,
    )


def make_optimizer(
  *, learning_rate: float, b1: float, b2: float, eps: float, weight_decay: float, clip_norm: float
) -> optax.GradientTransformation:
  """Returns AdamW with a constant rate, after clipping of the gradient's global norm (`clip_norm` 0: no clipping)."""
  adamw = optax.adamw(learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
  return optax.chain(optax.clip_by_global_norm(clip_norm), adamw) if clip_norm else adamw
