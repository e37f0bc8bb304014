"""The token-level GRPO loss without a KL term (SRPO, arXiv 2504.14286; clip range after DAPO, arXiv 2503.14476).

    L = - sum_i sum_t w_it min(r_it A_i, clip(r_it, 1 - e_low, 1 + e_high) A_i) / sum_i |o_i|

    r_it = pi(o_it) / pi_old(o_it)        w_it = min(cap, pi_old(o_it) / sampler(o_it)), or 1

i counts responses, t their tokens. The denominator is the count of all tokens in the loss over the whole batch, those
with zero advantage included; it is an argument here, because a micro-batch cannot know it. Strictly on policy,
pi_old = pi and r = 1: the gradient is that of A log pi.

Axes: B rows, R response tokens of a row.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from srpo_jax.utils.arrays import Array


def importance_weight(
  old_logprob: Float[Array, " B R"], sampler_logprob: Float[Array, " B R"], cap: float
) -> Float[Array, " B R"]:
  """min(cap, trainer / sampler probability) of each token, gradient stopped: bf16 rollouts are slightly off policy."""
  return jax.lax.stop_gradient(jnp.minimum(cap, jnp.exp(old_logprob - sampler_logprob)))


def policy_loss(
  logprob: Float[Array, " B R"],
  old_logprob: Float[Array, " B R"],
  advantage: Float[Array, " B R"],
  in_loss: Bool[Array, " B R"],
  n_tokens: ArrayLike,
  *,
  clip_low: float,
  clip_high: float,
  weight: Float[Array, " B R"] | float = 1.0,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """This micro-batch's share of the loss, and how many of its tokens the clip holds back.

  Args:
    old_logprob: of the policy that sampled, by the trainer; pass stop_gradient(logprob) when strictly on policy.
    in_loss: tokens that count; the others add nothing, whatever they hold.
    n_tokens: of the whole batch, at least 1.
  """
  ratio = jnp.exp(jnp.where(in_loss, logprob - jax.lax.stop_gradient(old_logprob), 0.0))
  free = ratio * advantage
  held = jnp.clip(ratio, 1 - clip_low, 1 + clip_high) * advantage
  objective = jnp.where(in_loss, weight * jnp.minimum(free, held), 0.0)
  return -objective.sum() / n_tokens, jnp.sum(in_loss & (held < free)).astype(jnp.float32)
