"""Checkpoints of a run: orbax, written in the background; the only importer of orbax.

WORKDIR/checkpoints/STEP holds the arrays (parameters, optimizer) and the host's state (history pools, stage, counters)
of a run that has applied STEP updates.
"""

import math
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from srpo_jax.model.qwen2 import Params
from srpo_jax.training.learner import TrainState
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import as_path, is_local

CHUNK_BYTES = 32 * 2**20  # at most, of what is read or written at once
LAYER_BYTES = 64 * 2**10  # a layer's part of an array is a chunk of its own from this size on


class Checkpoints:
  """Saves and restores; keeps the newest `keep` (None: all), and those at multiples of `keep_every` (0: none)."""

  def __init__(self, workdir: str | Path, *, keep: int | None = None, keep_every: int = 0):
    self.workdir = path = as_path(workdir)
    self.folder = (path.absolute() if is_local(path) else path) / "checkpoints"
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, keep_period=keep_every or None, create=True)
    self._manager = ocp.CheckpointManager(self.folder, options=options)

  @classmethod
  def of_run(cls, workdir: Path) -> "Checkpoints":
    """Those of a run that is only read. Raises InputError where the folder is no run's."""
    if not (workdir / "checkpoints").is_dir():
      raise InputError(f"{workdir}: no checkpoints, expected the workdir of a run")
    return cls(workdir)

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def latest(self) -> int | None:
    return self._manager.latest_step()

  def steps(self) -> list[int]:
    """The steps of the checkpoints that are whole, in order."""
    return sorted(self._manager.all_steps())

  def find(self, step: int | None) -> int:
    """`step`, or the last one where it is None.

    Raises:
      InputError: there is no such checkpoint.
    """
    latest = self.latest()
    if latest is None:
      raise InputError(f"{self.folder}: no checkpoint yet")
    step = latest if step is None else step
    if step not in self.steps():
      steps = ", ".join(map(str, self.steps()))
      raise InputError(f"{self.folder}: no checkpoint of step {step}, expected one of: {steps}")
    return step

  def save(self, step: int, state: TrainState, host: dict[str, Any]) -> None:
    """Returns as soon as the arrays are copied; files are written behind the next step."""
    chunks = jax.tree_util.tree_map_with_path(_chunks, state.params)  # an export reads these alone
    arrays = {
      "params": ocp.args.StandardSave(state.params, save_args=chunks),
      "opt_state": ocp.args.StandardSave(state.opt_state),
    }
    self._manager.save(step, args=ocp.args.Composite(host=ocp.args.JsonSave(host), **arrays))

  def restore(self, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """The state saved at `step`, in the shapes and dtypes of `like` (arrays or shape structs).

    Raises:
      InputError: no such checkpoint, or one of another shape.
    """
    wanted = {name: _restore_args(tree) for name, tree in like._asdict().items()}
    kept = self._restore(step, ocp.args.Composite(host=ocp.args.JsonRestore(), **wanted))
    return TrainState(kept["params"], kept["opt_state"]), kept["host"]

  def restore_params(self, step: int, like: Params) -> Params:
    """The parameters alone."""
    return self._restore(step, ocp.args.Composite(params=_restore_args(like)))["params"]

  def _restore(self, step: int, args: ocp.args.Composite) -> Any:
    self.find(step)
    try:
      return self._manager.restore(step, args=args)
    except (ValueError, KeyError, TypeError) as error:
      raise InputError(f"{self.folder / str(step)}: does not fit this model ({error})") from None

  def wait(self) -> None:
    """Returns once what is being written is whole."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for what is being written."""
    self.wait()
    self._manager.close()


def _chunks(path: tuple[Any, ...], leaf: jax.Array) -> ocp.SaveArgs:
  """A chunk is one layer of what a device holds of a stacked array, so that a layer costs its own bytes to read.

  Small arrays stay whole: no chunks of a few bytes. orbax cuts what is larger than a chunk along its longest axes.
  """
  layer_bytes = math.prod(leaf.sharding.shard_shape(leaf.shape)[1:]) * leaf.dtype.itemsize
  stacked = isinstance(path[0], jax.tree_util.DictKey) and path[0].key == "layers"
  axes = (0,) if stacked and layer_bytes >= LAYER_BYTES else ()
  return ocp.SaveArgs(shard_axes=axes, chunk_byte_size=CHUNK_BYTES)


def _restore_args(tree: Any) -> ocp.args.StandardRestore:
  """Every leaf names its sharding: left out, orbax would want the devices that the checkpoint was written on."""
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])

  def wanted(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding or here)

  return ocp.args.StandardRestore(jax.tree.map(wanted, tree))
