"""Losses of a user's own for the tests, named in configs as tests.helpers.losses:NAME."""

import jax.numpy as jnp

from srpo_jax.algorithm.loss import LossInputs, LossOutputs, policy_loss

BETA = 0.1


def kl(x: LossInputs) -> LossOutputs:
  """The built-in loss with the k3 estimate of the KL divergence to the reference (GRPO, arXiv 2402.03300)."""
  loss, clipped = policy_loss(x, clip_low=0.2, clip_high=0.2)
  difference = jnp.where(x.mask, x.reference_logprob - x.logprob, 0.0)
  return LossOutputs(loss + BETA * (jnp.exp(difference) - difference - 1).sum() / x.n_tokens, clipped)


kl.needs_reference = True


def kl_without_asking(x: LossInputs) -> LossOutputs:
  return kl(x)


def bare(x: LossInputs):
  return kept(x).loss


def per_token(x: LossInputs) -> LossOutputs:
  return LossOutputs(jnp.where(x.mask, x.advantage * x.logprob, 0.0) / x.n_tokens)


def one_clipped(x: LossInputs) -> LossOutputs:
  return LossOutputs(kept(x).loss, jnp.sum(x.mask))


def unmasked(x: LossInputs) -> LossOutputs:
  return LossOutputs(-((1 + x.advantage) * x.logprob).sum() / x.n_tokens)


def not_a_number(x: LossInputs) -> LossOutputs:
  weight = jnp.sum(x.mask * x.logprob, axis=1) / jnp.sum(x.mask, axis=1)  # 0 / 0 in a row of padding
  return LossOutputs(weight.sum() / x.n_responses)


def mean(x: LossInputs) -> LossOutputs:
  return LossOutputs(-jnp.sum(jnp.where(x.mask, x.advantage * x.logprob, 0.0)) / jnp.maximum(x.mask.sum(), 1))


def branching(x: LossInputs) -> LossOutputs:
  return kept(x) if x.logprob.sum() > 0 else LossOutputs(0.0 * kept(x).loss)


def kept(x: LossInputs) -> LossOutputs:
  """REINFORCE, without a ratio and so without a clip."""
  return LossOutputs(-jnp.where(x.mask, x.advantage * x.logprob, 0.0).sum() / x.n_tokens)


def make_inputs(logprob, old_logprob, advantage, mask=None, n_tokens=None, **others):
  """LossInputs of a micro-batch; its responses are the rows unless `response` is given."""
  logprob = jnp.asarray(logprob, jnp.float32)
  mask = jnp.ones(logprob.shape, bool) if mask is None else jnp.asarray(mask)
  old_logprob = jnp.asarray(old_logprob, jnp.float32)
  values = {
    "sampler_logprob": old_logprob,
    "reference_logprob": None,
    "response": mask.astype(jnp.int32),
    "n_responses": len(logprob),
  } | others
  values["n_responses"] = jnp.float32(values["n_responses"])
  n_tokens = jnp.float32(n_tokens or mask.sum())
  advantage = jnp.asarray(advantage, jnp.float32)
  return LossInputs(
    logprob=logprob, old_logprob=old_logprob, advantage=advantage, mask=mask, n_tokens=n_tokens, **values
  )
