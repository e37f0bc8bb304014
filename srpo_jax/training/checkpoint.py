"""Checkpoints of a run, written by orbax in the background. No other module imports orbax.

WORKDIR/checkpoints/STEP holds the state of a run after STEP updates: the arrays (parameters and optimizer) and the
host's state (history pools, stage, counters).
"""

import math
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from srpo_jax.model.transformer import Params
from srpo_jax.training.learner import TrainState
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import as_path, is_local

CHUNK_BYTES = 32 * 2**20  # largest chunk that is read or written at once
LAYER_BYTES = 64 * 2**10  # a layer's part of an array is stored as a separate chunk from this size on


class Checkpoints:
  """Saves and restores checkpoints of a workdir.

  Args:
    keep: number of newest checkpoints to keep. None: all.
    keep_every: also keeps the checkpoints at multiples of this number of steps. 0: none.
  """

  def __init__(self, workdir: str | Path, *, keep: int | None = None, keep_every: int = 0):
    self.workdir = path = as_path(workdir)
    self.folder = (path.absolute() if is_local(path) else path) / "checkpoints"
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, keep_period=keep_every or None, create=True)
    self._manager = ocp.CheckpointManager(self.folder, options=options)

  @classmethod
  def of_run(cls, workdir: Path) -> "Checkpoints":
    """Opens the checkpoints of an existing run for reading. Raises InputError if the folder is not a run's."""
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
    """Returns the steps of the complete checkpoints, in order."""
    return sorted(self._manager.all_steps())

  def find(self, step: int | None) -> int:
    """Returns `step`, or the step of the last checkpoint if `step` is None.

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
    """Saves a checkpoint. Returns once the arrays are copied. The files are written during the next step."""
    chunks = jax.tree_util.tree_map_with_path(_chunks, state.params)  # an export reads only the parameters
    arrays = {
      "params": ocp.args.StandardSave(state.params, save_args=chunks),
      "opt_state": ocp.args.StandardSave(state.opt_state),
    }
    self._manager.save(step, args=ocp.args.Composite(host=ocp.args.JsonSave(host), **arrays))

  def restore(self, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """Returns the training state and the host's state saved at `step`.

    Args:
      like: expected shapes, dtypes and shardings, as arrays or shape structs.

    Raises:
      InputError: there is no such checkpoint, or it has other shapes.
    """
    wanted = {name: _restore_args(tree) for name, tree in like._asdict().items()}
    kept = self._restore(step, ocp.args.Composite(host=ocp.args.JsonRestore(), **wanted))
    return TrainState(kept["params"], kept["opt_state"]), kept["host"]

  def restore_params(self, step: int, like: Params) -> Params:
    """Returns only the parameters saved at `step`. Errors are those of `restore`."""
    return self._restore(step, ocp.args.Composite(params=_restore_args(like)))["params"]

  def _restore(self, step: int, args: ocp.args.Composite) -> Any:
    self.find(step)
    try:
      return self._manager.restore(step, args=args)
    except (ValueError, KeyError, TypeError) as error:
      raise InputError(f"{self.folder / str(step)}: does not fit this model ({error})") from None

  def wait(self) -> None:
    """Waits until the checkpoint being written is complete."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for the checkpoint being written, then closes."""
    self.wait()
    self._manager.close()


def _chunks(path: tuple[Any, ...], leaf: jax.Array) -> ocp.SaveArgs:
  """Returns how an array is cut into chunks: one layer of a device's shard of a stacked array per chunk.

  This way a layer can be read without reading others. Small arrays are not cut, to avoid chunks of a few bytes. orbax
  cuts anything larger than a chunk along its longest axes.
  """
  layer_bytes = math.prod(leaf.sharding.shard_shape(leaf.shape)[1:]) * leaf.dtype.itemsize
  stacked = isinstance(path[0], jax.tree_util.DictKey) and path[0].key == "layers"
  axes = (0,) if stacked and layer_bytes >= LAYER_BYTES else ()
  return ocp.SaveArgs(shard_axes=axes, chunk_byte_size=CHUNK_BYTES)


def _restore_args(tree: Any) -> ocp.args.StandardRestore:
  """Returns restore arguments with a sharding for every leaf.

  Without shardings, orbax would require the devices that the checkpoint was written on.
  """
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])

  def wanted(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding or here)

  return ocp.args.StandardRestore(jax.tree.map(wanted, tree))
