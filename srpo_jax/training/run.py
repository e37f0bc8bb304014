"""An open run: opens its workdir, starts or resumes it, and saves checkpoints."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from srpo_jax.algorithm.stages import Position
from srpo_jax.config import Config, check_same_run, to_json
from srpo_jax.model.files import INDEX_FILE, companion_names
from srpo_jax.model.sharding import param_shardings
from srpo_jax.model.transformer import Params
from srpo_jax.training.build import base_folder, build, param_shapes
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.training.kept_prompt import keep_prompt
from srpo_jax.training.learner import TrainState
from srpo_jax.training.model_commit import model_commit, with_commit
from srpo_jax.training.reference import load_reference
from srpo_jax.training.workdir import MARKS, ReadOnlyWorkdir, Workdir, numbers, read_rows, write_text
from srpo_jax.utils import processes
from srpo_jax.utils.errors import InputError, PreemptedError
from srpo_jax.utils.paths import as_path, check_writable, local_copy
from srpo_jax.utils.preemption import PreemptionSignal

SEEN_WITHIN_S = 60.0  # time for a file written by one host to appear on another, including file system caches


class Run:
  """An open run. Use as a context manager.

  Attributes:
    parts: parts built from the config.
    files: files of the workdir, which only one process writes.
    evaluated: rows of eval.jsonl by (step, set).
    reference: parameters of the policy that the run began from, set by `start`. None unless the loss needs them.
  """

  def __init__(self, config: Config, workdir: str | Path, signal: PreemptionSignal | None = None):
    """Opens the run. All processes must open it together. If opening fails on one of them, it fails on all.

    Args:
      signal: preemption signal. None: signals are not checked.
    """
    self.path = as_path(workdir)
    commit = processes.from_writer(lambda: model_commit(config, self.path))  # asked once, so that all hosts agree
    self.config = config = with_commit(config, commit)
    self._signal = signal
    processes.from_writer(self._check_workdir)
    with contextlib.ExitStack() as opened:  # closes whatever is open if a later step fails
      self.parts, self._base_params = build(config, self._find_base, opened, signal)
      self.files = processes.agreed(lambda: self._open_files(opened))
      processes.agreed(self._check_shared)
      self.checkpoints = Checkpoints(self.path, keep=config.checkpoint.keep, keep_every=config.checkpoint.keep_every)
      opened.callback(self.checkpoints.close)
      self._opened = opened.pop_all()
    self.evaluated: dict[tuple[int, str], dict[str, Any]] = {}
    self.reference: Params | None = None

  def _check_workdir(self) -> None:
    if (self.path / "config.json").exists():
      check_same_run(self.config, self.path / "config.json")
    elif self.path.is_dir() and any(file.name not in MARKS for file in self.path.iterdir()):
      raise InputError(f"{self.path}: not empty and not the workdir of a run (no config.json), nothing was written")
    check_writable(self.path)

  def _find_base(self) -> Path:
    """Returns the folder with the model's config and tokenizer, and the weights if the run starts from a base.

    Raises:
      InputError: there is no such folder, or its config or tokenizer differs from the one the run started with.
    """
    folder = self._base_folder()
    for name in _kept_names(self.path / "model"):
      file, kept = folder / name, self.path / "model" / name
      if not file.is_file() or file.read_bytes() != kept.read_bytes():
        raise InputError(f"{file}: not the file that {self.path} was trained from ({kept})")
    return folder

  def _base_folder(self) -> Path:
    if not self.config.init_from:
      return base_folder(self.config)
    other = as_path(self.config.init_from)
    for run in (other, self.path):  # a run that has its own checkpoints no longer needs the other one
      if any((run / "checkpoints").glob("[0-9]*")):
        return local_copy(str(run / "model"))
    raise InputError(f"config.init_from: {other} has no checkpoint, expected the workdir of a run, such as stage 1's")

  def _open_files(self, opened: contextlib.ExitStack) -> Workdir:
    if not processes.is_writer():
      return ReadOnlyWorkdir(self.path)
    files = Workdir(self.path, tensorboard=self.config.log.tensorboard)
    opened.callback(files.close)
    write_text(self.path / "config.json", to_json(self.config))
    self._keep_source(self.parts.model.folder)
    return files

  def _keep_source(self, folder: Path) -> None:
    """Copies the base's config and tokenizer into the workdir, so that an export needs nothing else."""
    for name in _kept_names(folder):
      kept = self.path / "model" / name
      if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes((folder / name).read_bytes())

  def _check_shared(self) -> None:
    """Raises InputError if this process and the writer do not see the same workdir.

    All processes write and read checkpoints there.
    """
    file, ends = self.path / "config.json", time.monotonic() + SEEN_WITHIN_S
    while not (file.is_file() and file.read_text() == to_json(self.config)):
      if time.monotonic() > ends:
        raise InputError(f"{file}: not what process 0 has just written; expected a workdir that all processes share")
      time.sleep(1)

  def start(self) -> tuple[TrainState, Position]:
    """Returns the state and position of the last checkpoint or of a new run, and rewinds the files to that position."""
    schedule = self.parts.schedule
    own = processes.from_writer(self.checkpoints.latest)
    if own is not None:
      state, position = self._restore(self.checkpoints, own)
      logging.info("resuming %s at step %d", self.path, own)
    elif self._base_params is None:
      state, inherited = self._inherit(as_path(self.config.init_from))
      position = schedule.begin(inherited)
    else:
      state, position = self.parts.learner.init(self._base_params), schedule.begin()
    del self._base_params  # frees the base's weights if a checkpoint replaced them
    self.evaluated = processes.from_writer(lambda: self._rewind(position))
    processes.from_writer(lambda: keep_prompt(self.path, self.parts.renderer.template, self.parts.renderer.examples))
    if self.parts.learner.needs_reference:
      self.reference = self._load_reference(position)
    return state, position

  def _load_reference(self, position: Position) -> Params:
    run_start = processes.from_writer(lambda: [*numbers(self.path / "rollouts", "step"), position.step][0])
    base = None if self.config.init_from else base_folder(self.config)
    return load_reference(self.config, base, self.parts.model.config, run_start, self._like().params)

  def _rewind(self, position: Position) -> dict[tuple[int, str], dict[str, Any]]:
    """Rewinds the files to a position. Returns the rows of eval.jsonl up to it, by step and set."""
    self.files.rewind(position.step, {domain: pool.epoch for domain, pool in position.pools.items()})
    return {(row["step"], row["set"]): row for row in read_rows(self.path / "eval.jsonl")}

  def _inherit(self, folder: Path) -> tuple[TrainState, Position]:
    """Returns the last state of the run in another workdir: parameters, optimizer, and position with history."""
    with Checkpoints(folder) as checkpoints:
      step = checkpoints.latest()
      if step is None:
        raise InputError(f"config.init_from: {checkpoints.folder} has no whole checkpoint")
      state, position = self._restore(checkpoints, step)
    logging.info("continuing from step %d of %s", step, folder)
    return state, position

  def _restore(self, checkpoints: Checkpoints, step: int) -> tuple[TrainState, Position]:
    """Restores a checkpoint. Raises InputError if it was trained on other rows than this run's data."""
    state, host = checkpoints.restore(step, self._like())
    digests = self.parts.prompts.digests()
    for domain, digest in host["data"].items():
      if domain in digests and digest != digests[domain]:
        raise InputError(
          f"{self.config.data.train}: not the {domain} rows that {checkpoints.folder.parent} was trained on (to "
          "continue with other rows, start from its exported policy, config.model.path)"
        )
    return state, Position.from_json(host["position"])

  def _like(self) -> TrainState:
    """Returns the shapes of the training state, with shardings on this run's mesh. It may differ from the saved one."""
    like = jax.eval_shape(self.parts.learner.init, param_shapes(self.config, self.parts.model))
    return jax.tree.map(
      lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
      like,
      param_shardings(like, self.parts.mesh),
    )

  @property
  def check_signal(self) -> Callable[[], None] | None:
    """Function that raises PreemptedError once a signal has told the run to end. None: signals are not checked."""
    return None if self._signal is None else self._signal.check

  def save(self, state: TrainState, position: Position) -> None:
    """Saves a checkpoint. Raises TrainingError if another run has taken over the workdir."""
    processes.from_writer(self.files.check_owner)
    host = {"position": position.to_json(), "data": self.parts.prompts.digests()}
    self.checkpoints.save(position.step, state, host)

  @contextlib.contextmanager
  def saving_when_told(self, finished: Callable[[], tuple[TrainState, Position]]) -> Iterator[None]:
    """Saves a checkpoint if a preemption signal ends the block.

    Samples of the unfinished step are dropped. A resumed run samples them again with the same keys.

    Args:
      finished: returns the state and position after the last completed step.
    """
    if self._signal is None:
      yield
      return
    self._signal.defer()
    try:
      yield
    except PreemptedError as told:
      state, position = finished()
      if self.checkpoints.latest() != position.step:
        self.save(state, position)
      self.checkpoints.wait()
      raise told.saying(f"saved step {position.step}") from None

  def __enter__(self) -> "Run":
    return self

  def __exit__(self, *_: object) -> None:
    self._opened.close()


def _kept_names(folder: Path) -> list[str]:
  """Returns the names of the files of a model's folder that the workdir keeps, relative to it."""
  return [*companion_names(folder), *([INDEX_FILE] if (folder / INDEX_FILE).is_file() else [])]
