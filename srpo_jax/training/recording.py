"""Recorded steps of a run. Reads their rollouts as groups, judges them again and repeats their updates."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from srpo_jax.analysis.run_files import RunFiles
from srpo_jax.data.dataset import column, open_problem_sets
from srpo_jax.data.encoded import Prompt, load_tokenizer
from srpo_jax.model import hf
from srpo_jax.model.transformer import Params
from srpo_jax.rollout.collector import Group, request_of
from srpo_jax.rollout.policy import over_mesh
from srpo_jax.training.batch import make_micro_batches
from srpo_jax.training.build import base_folder, build_advantage, build_learner, build_renderer, build_scorer
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.training.kept_prompt import run_config
from srpo_jax.training.learner import TrainState
from srpo_jax.training.metrics import MetricsRow, policy_metrics
from srpo_jax.training.reference import load_reference
from srpo_jax.training.update import batch_advantages, groups_in_update, update
from srpo_jax.types import Rollout, Verdict
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import as_path, local_copy


@dataclasses.dataclass(frozen=True)
class Step:
  """A recorded step: groups with their recorded verdicts, and [prompt, sample] advantages."""

  number: int
  groups: tuple[Group, ...]
  advantages: np.ndarray


class Recording:
  """Read-only access to a run's files and to the parts that an update needs. Use as a context manager."""

  def __init__(self, workdir: str | Path, overrides: Sequence[str] = ()):
    """Raises InputError if the folder is not the workdir of a run that has completed a step."""
    self.path = as_path(workdir)
    self.config = run_config(self.path, overrides)
    self.files = RunFiles(self.path)
    folder = local_copy(str(self.path / "model"))
    self.tokenizer, self.model_config = load_tokenizer(folder), hf.read_config(folder)
    self.renderer = build_renderer(self.config, self.tokenizer)
    self.learner = build_learner(self.config, self.model_config)
    self.advantage = build_advantage(self.config)
    self.checkpoints = Checkpoints.of_run(self.path)

  def __enter__(self) -> "Recording":
    return self

  def __exit__(self, *_: object) -> None:
    self.checkpoints.close()

  def step(self, number: int) -> Step:
    """Returns a recorded step.

    Raises:
      InputError: there is no such step, its rows are not rollouts, or its prompts are not in the run's data.
    """
    samples, file = self.config.rollout.group, self.files.rollouts_file(number)
    recorded = self.files.step_groups(number, samples)
    groups = tuple(self._group(file, number, i * samples, rows) for i, rows in enumerate(recorded))
    advantages = np.array([[row["advantage"] for row in rows] for rows in recorded], np.float32)
    return Step(number, groups, advantages)

  def _group(self, file: Path, number: int, start: int, rows: Sequence[Mapping[str, Any]]) -> Group:
    if [row["sample"] for row in rows] != list(range(len(rows))) or len({row["prompt_id"] for row in rows}) > 1:
      raise InputError(f"{file}: row {start}: expected samples 0 to {len(rows) - 1} of one prompt from here on")
    prompt = self._prompt(rows[0]["prompt_id"])
    for i, row in enumerate(rows, start):
      self._check(f"{file}: row {i}", row, number, prompt)
    return Group(
      prompt,
      tuple(
        Rollout(
          row["prompt_id"],
          row["sample"],
          prompt.tokens,
          np.asarray(row["token_ids"], np.int32),
          np.asarray(row["sampler_logprobs"], np.float32),
          row["truncated"],
        )
        for row in rows
      ),
      tuple(row["response"] for row in rows),
      tuple(
        Verdict(
          f"{row['prompt_id']}/{row['sample']}",
          row["format"],
          row["language_mix"],
          row["correct"],
          np.nan if row["reward"] is None else row["reward"],
          row["reason"],
          row["pass_fraction"],
        )
        for row in rows
      ),
    )

  def _check(self, where: str, row: Mapping[str, Any], number: int, prompt: Prompt) -> None:
    """Raises InputError if a row does not belong to this step and prompt, or if its tokens are invalid."""
    if row["step"] != number:
      raise InputError(f"{where}: field step: {row['step']}, expected {number}")
    for field, expected in (("domain", prompt.problem.domain), ("prompt", prompt.text)):
      if row[field] != expected:
        raise InputError(f"{where}: field {field}: not that of {prompt.problem.id} in {self.config.data.train}")
    n, vocabulary = row["n_tokens"], self.model_config.vocab_size
    ids, logprobs = (np.asarray(row[field] or (), np.float64) for field in ("token_ids", "sampler_logprobs"))
    if not n or len(ids) != n or len(logprobs) != n:
      raise InputError(f"{where}: field n_tokens: {n}, expected that many token_ids and sampler_logprobs")
    if not ((ids >= 0) & (ids < vocabulary)).all():
      raise InputError(f"{where}: field token_ids: expected 0 to {vocabulary - 1}")
    if not np.isfinite([float("nan" if row["advantage"] is None else row["advantage"]), *logprobs]).all():
      raise InputError(f"{where}: advantage and sampler_logprobs: expected finite numbers")

  @functools.cached_property
  def _places(self) -> dict[str, tuple[Sequence[Any], int]]:
    """Prompt id -> its data set and its record there."""
    data = self.config.data
    sets = open_problem_sets(data.train, format=data.format, limit=data.limit)
    return {id_: (problems, i) for _, problems in sets for i, id_ in enumerate(column(problems, "id"))}

  def _prompt(self, id_: str) -> Prompt:
    if id_ not in self._places:
      raise InputError(f"{self.config.data.train}: no row {id_}, expected the data that {self.path} was trained on")
    problems, index = self._places[id_]
    return self.renderer(problems[index])

  def state_before(self, number: int) -> TrainState:
    """Returns parameters and optimizer state at the start of step `number`.

    Updates since the last checkpoint, or since the base, are repeated from their recorded rollouts.

    Raises:
      InputError: there is neither a checkpoint nor a base to start from.
    """
    earlier = [step for step in self.checkpoints.steps() if step <= number]
    shapes = hf.param_shapes(self.model_config, jnp.dtype(self.config.model.param_dtype))
    if earlier or self.config.init_from:
      like = over_mesh(jax.eval_shape(self.learner.init, shapes))
      begin = earlier[-1] if earlier else self.files.steps[0]
      state = self.checkpoints.restore(begin, like)[0] if earlier else self._inherited(begin, like)
    else:
      shardings = jax.tree.map(lambda x: x.sharding, over_mesh(shapes))
      folder, dtype = base_folder(self.config), jnp.dtype(self.config.model.param_dtype)
      state, begin = self.learner.init(hf.load_params(folder, self.model_config, dtype, shardings=shardings)), 0
    for step in tqdm(range(begin, number), desc="updates", unit="step", disable=not self.config.log.progress):
      state = self.update(state, self.step(step))[0]
    return state

  def _inherited(self, first: int, like: TrainState) -> TrainState:
    """Returns the state of the run that this one continues, at step `first` where this one began."""
    other = as_path(self.config.init_from)
    try:
      with Checkpoints.of_run(other) as checkpoints:
        return checkpoints.restore(first, like)[0]
    except InputError as error:
      raise InputError(f"{error}; none of {self.path} is as early (see --no-loss)") from None

  @functools.cached_property
  def reference(self) -> Params | None:
    """Parameters of the policy that the run began from. None if the loss does not need them."""
    if not self.learner.needs_reference:
      return None
    like = over_mesh(hf.param_shapes(self.model_config, jnp.dtype(self.config.model.param_dtype)))
    base = None if self.config.init_from else base_folder(self.config)
    return load_reference(self.config, base, self.model_config, self.files.steps[0], like)

  def update(self, state: TrainState, step: Step) -> tuple[TrainState, MetricsRow]:
    """Repeats a step's update from its recording. Returns the new state and the policy/* metrics.

    `state` is donated.
    """
    state, metrics, _ = update(
      self.learner,
      state,
      step.groups,
      step.advantages,
      self.update_mask(step.groups),
      step=step.number,
      config=self.config,
      checkpoints=self.checkpoints,
      reference=self.reference,
    )
    return state, policy_metrics(metrics)

  def logprobs(self, state: TrainState, rollouts: Sequence[Rollout]) -> list[np.ndarray]:
    """Returns the trainer's log-probabilities of the tokens of each rollout, float32 [n_tokens]."""
    sizes = {"rows": self.config.train.micro_batch, "length_bucket": self.config.train.length_bucket}
    each = (make_micro_batches([(rollout, 0.0)], **sizes)[0] for rollout in rollouts)
    return [np.asarray(self.learner.logprobs(state.params, batch))[batch.in_loss] for batch in each]

  def advantages(self, groups: Sequence[Group]) -> np.ndarray:
    """Returns [prompt, sample] advantages from the groups' verdicts."""
    return batch_advantages(self.advantage, self.config, groups, self.update_mask(groups))

  def update_mask(self, groups: Sequence[Group]) -> np.ndarray:
    """Mask of the groups used in the update, bool [prompt]."""
    return groups_in_update(groups, dynamic=self.config.history.dynamic_sampling)

  def judge(self, groups: Sequence[Group]) -> tuple[Group, ...]:
    """Returns the groups with new verdicts: the current rewards, applied to the same responses."""
    with build_scorer(self.config) as scorer:
      for group in groups:
        for rollout, text in zip(group.rollouts, group.texts, strict=True):
          scorer.submit(request_of(group.prompt, rollout, text))
      verdicts = scorer.collect()
    return tuple(dataclasses.replace(g, verdicts=tuple(verdicts[v.id] for v in g.verdicts)) for g in groups)
