"""Loads a user's loss (`loss.function`) and tests it on a few made-up tokens before the run writes anything."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from srpo_jax.algorithm.loss import Loss, LossInputs, LossOutputs, needs_reference
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.plugins import resolve_callable

RESPONSES = ((1, 1, 2, 0), (1, 1, 1, 1), (0, 0, 0, 0))  # response numbers of the tokens in three rows, 0 for padding
_NO_MESH = jax.sharding.Mesh(np.empty((), dtype=object), ())


def load_loss(spec: str, *, skip_zero_advantage: bool = False) -> Loss:
  """Returns the loss that `module:function` names, after it has passed tests on made-up tokens.

  Args:
    skip_zero_advantage: True if responses with zero advantage are left out of the update's forward pass.

  Raises:
    InputError: there is no such function, or it fails a test. The tests reject a loss that raises an error, returns a
      wrong type or shape, or lets padding into the loss. They reject a value that depends on how the batch is split
      into micro-batches, and a gradient at zero advantage if `skip_zero_advantage` leaves those responses out.
  """
  loss = resolve_callable(spec)
  with jax.set_mesh(_NO_MESH):  # tests run on one local device, even if the ambient mesh is that of another machine
    problem = _problem(loss, skip_zero_advantage)
  if problem:
    raise InputError(f"config.loss.function: {spec} {problem}")
  return loss


def _problem(loss: Loss, skip_zero_advantage: bool) -> str | None:
  """Returns a description of the first problem of a loss. None: there is no problem."""
  inputs = _made_up(needs_reference(loss))
  try:
    value, slope = _value_and_gradient(loss, inputs)
    by_row = [float(_value_and_gradient(loss, _rows(inputs, row))[0]) for row in range(len(RESPONSES))]
    idle = dataclasses.replace(inputs, advantage=jnp.zeros_like(inputs.advantage))
    idle_slope = _value_and_gradient(loss, idle)[1]
  except _WrongOutputs as error:
    return str(error)
  except Exception as error:  # a user's function may fail in any way
    return f"failed on made-up tokens: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
  if not np.isfinite([float(value), *by_row]).all() or not np.isfinite(slope).all():
    return "gave a loss or gradient that is not finite for a batch with padding, expected padding to be masked"
  if slope[~np.asarray(inputs.mask)].any() or by_row[-1] != 0:
    return "let padding into the loss, expected tokens outside inputs.mask to add nothing"
  if not np.isclose(value, sum(by_row), rtol=1e-4, atol=1e-6):
    return (
      f"gave {float(value):.6g} for a micro-batch and {sum(by_row):.6g} for the sum of its rows, expected the same: "
      "divide by inputs.n_tokens or inputs.n_responses of the whole batch"
    )
  if skip_zero_advantage and idle_slope.any():
    return "has a gradient at zero advantage, expected config.train.skip_zero_advantage=False"
  return None


class _WrongOutputs(Exception):
  """Describes outputs of a user's loss that have a wrong type or shape."""


def _value_and_gradient(loss: Loss, inputs: LossInputs) -> tuple[np.ndarray, np.ndarray]:
  """Returns the loss, [], and its gradient with respect to the log-probabilities, [B, R]."""

  def value(logprob: Array) -> Array:
    outputs = loss(dataclasses.replace(inputs, logprob=logprob))
    _check_outputs(outputs, logprob.shape)
    return outputs.loss

  found, slope = jax.jit(jax.value_and_grad(value))(inputs.logprob)
  return np.asarray(found), np.asarray(slope)


def _check_outputs(outputs: object, shape: tuple[int, ...]) -> None:
  """Raises _WrongOutputs unless `outputs` is a LossOutputs with a scalar loss and a mask of `shape` or None."""
  if not isinstance(outputs, LossOutputs):
    raise _WrongOutputs(f"returned {_described(outputs)}, expected srpo_jax.algorithm.loss.LossOutputs")
  loss, clipped = outputs
  if not isinstance(loss, Array) or loss.shape or not jnp.issubdtype(loss.dtype, jnp.floating):
    raise _WrongOutputs(f"returned {_described(loss)} as loss, expected a floating-point scalar")
  if clipped is None:
    return
  if not isinstance(clipped, Array) or clipped.shape != shape or clipped.dtype != jnp.bool_:
    raise _WrongOutputs(f"returned {_described(clipped)} as clipped, expected booleans of shape {shape} or None")


def _described(value: object) -> str:
  return f"{value.dtype} of shape {value.shape}" if isinstance(value, Array) else type(value).__name__


def _made_up(with_reference: bool) -> LossInputs:
  """Returns three rows of four tokens: one with two responses and padding, one with a response, one with padding."""
  response = jnp.array(RESPONSES, jnp.int32)
  mask = response > 0
  logprob = -jnp.linspace(0.3, 2.5, response.size, dtype=jnp.float32).reshape(response.shape)

  def shifted(by: Sequence[float]) -> Array:
    return jnp.where(mask, logprob + jnp.array(by, jnp.float32), 0.0)  # padding holds zeros, as in a micro-batch

  return LossInputs(
    logprob=jnp.where(mask, logprob, -20.0),
    old_logprob=shifted((0.05, -0.02, 0.03, 0.01)),
    sampler_logprob=shifted((0.04, -0.03, 0.02, 0.01)),
    reference_logprob=shifted((-0.1, 0.2, 0.1, -0.2)) if with_reference else None,
    advantage=jnp.where(mask, jnp.where(response == 1, 0.5, -1.5), 0.0),
    mask=mask,
    response=response,
    n_responses=jnp.float32(6),
    n_tokens=jnp.float32(17),
  )


def _rows(inputs: LossInputs, row: int) -> LossInputs:
  """Returns one row as a separate micro-batch of the same batch."""

  def cut(value: Any) -> Any:
    return value if value is None or not value.ndim else value[row : row + 1]

  return dataclasses.replace(inputs, **{f.name: cut(getattr(inputs, f.name)) for f in dataclasses.fields(inputs)})
