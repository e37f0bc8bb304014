"""Token-level GRPO loss without a KL term (SRPO, arXiv 2504.14286; clip range after DAPO, arXiv 2503.14476).

    L = - sum_i sum_t w_it min(r_it A_i, clip(r_it, 1 - e_low, 1 + e_high) A_i) / sum_i |o_i|

    r_it = pi(o_it) / pi_old(o_it)        w_it = min(cap, pi_old(o_it) / sampler(o_it)), or 1

Index i runs over responses and t over their tokens. The denominator is the number of tokens in the loss over the whole
batch, including tokens with zero advantage. It is an input because a micro-batch cannot know it. Strictly on policy,
pi_old = pi and r = 1, so the gradient is that of A log pi.

`policy_loss` computes this equation. Any function from `LossInputs` to `LossOutputs` can replace it.

Axes: B rows, R response tokens of a row.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class LossInputs:
  """Inputs of a loss for one micro-batch.

  Each response lies entirely in one row of one micro-batch, so `response_sum` gives exact sums over its tokens.
  Padding holds arbitrary finite numbers. Only `logprob` carries a gradient.

  The whole batch means all responses of one optimizer step: the judged, untruncated responses of the groups in use.
  With `train.skip_zero_advantage`, responses with zero advantage are counted in it but appear in no micro-batch.

  Attributes:
    logprob: log pi, from the policy being trained, at the sampling temperature.
    old_logprob: log pi_old, from the policy before the first update of the step. Equal to `logprob` if a step has
      only one update (`loss.updates` 1).
    sampler_logprob: log-probabilities reported by the sampler, which may compute in bfloat16.
    reference_logprob: log-probabilities from the policy that the run began from. None unless the loss has
      `needs_reference = True`.
    advantage: A of the token's response.
    mask: True for response tokens in the loss, False for padding.
    response: number of the token's response within its row, counted from 1. 0 for padding.
    n_responses: number of responses in the whole batch, at least 1.
    n_tokens: number of tokens in the loss in the whole batch, at least 1.
  """

  logprob: Float[Array, " B R"]
  old_logprob: Float[Array, " B R"]
  sampler_logprob: Float[Array, " B R"]
  reference_logprob: Float[Array, " B R"] | None
  advantage: Float[Array, " B R"]
  mask: Bool[Array, " B R"]
  response: Int[Array, " B R"]
  n_responses: Float[Array, ""]
  n_tokens: Float[Array, ""]


class LossOutputs(NamedTuple):
  """Outputs of a loss for one micro-batch.

  Attributes:
    loss: share of this micro-batch in the batch's loss. The shares of all micro-batches are added up. Divide by
      `n_tokens` or `n_responses` of the whole batch, and by nothing that depends on the micro-batch.
    clipped: True for tokens whose ratio was clipped, for the metric policy/clip_frac. None: the loss does not clip,
      and the metric is 0.
  """

  loss: Float[Array, ""]
  clipped: Bool[Array, " B R"] | None = None


Loss = Callable[[LossInputs], LossOutputs]


def needs_reference(loss: Loss) -> bool:
  """Returns True if a loss needs the log-probabilities of the policy that the run began from.

  A user's loss asks for them by an attribute: `my_loss.needs_reference = True`.
  """
  return bool(getattr(loss, "needs_reference", False))


def importance_weight(
  old_logprob: Float[Array, " B R"], sampler_logprob: Float[Array, " B R"], cap: float
) -> Float[Array, " B R"]:
  """Returns min(cap, trainer's probability / sampler's probability) of each token, with its gradient stopped.

  It corrects for bf16 rollouts, which are slightly off policy.
  """
  return jax.lax.stop_gradient(jnp.minimum(cap, jnp.exp(old_logprob - sampler_logprob)))


def response_sum(values: Float[Array, " B R"], response: Int[Array, " B R"]) -> Float[Array, " B R"]:
  """Returns, for each token, the sum of `values` over its response. The sum at padding is 0."""

  def in_row(values: Array, response: Array) -> Array:
    sums = jax.ops.segment_sum(values, response, num_segments=response.shape[0] + 1)
    return jnp.where(response > 0, sums[response], 0.0)

  return jax.vmap(in_row)(values, response)


def policy_loss(inputs: LossInputs, *, clip_low: float, clip_high: float, importance_cap: float = 0.0) -> LossOutputs:
  """Returns the loss of the equation above for one micro-batch.

  Args:
    clip_low: e_low.
    clip_high: e_high.
    importance_cap: cap of w. 0: w is 1 for every token.
  """
  mask, advantage, old_logprob = inputs.mask, inputs.advantage, inputs.old_logprob
  weight = importance_weight(old_logprob, inputs.sampler_logprob, importance_cap) if importance_cap else 1.0
  ratio = jnp.exp(jnp.where(mask, inputs.logprob - jax.lax.stop_gradient(old_logprob), 0.0))
  unclipped = ratio * advantage
  clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high) * advantage
  objective = jnp.where(mask, weight * jnp.minimum(unclipped, clipped), 0.0)
  return LossOutputs(-objective.sum() / inputs.n_tokens, mask & (clipped < unclipped))
