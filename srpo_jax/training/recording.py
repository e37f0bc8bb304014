"""The files of a run read back: a step's rollouts as groups, and the update made again from them."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from srpo_jax.config import read_config
from srpo_jax.data.dataset import column
from srpo_jax.data.encoded import Prompt, encode_prompt, load_tokenizer
from srpo_jax.model import hf
from srpo_jax.rollout.collector import Group, request_of
from srpo_jax.rollout.policy import over_mesh
from srpo_jax.training.batch import make_micro_batches
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.training.learner import TrainState
from srpo_jax.training.loop import advantages_of, update, which_used
from srpo_jax.training.metrics import Row, policy_metrics
from srpo_jax.training.run import Run, base_folder, make_advantage, make_learner, make_scorer, open_sets
from srpo_jax.training.workdir import ROLLOUT_SCHEMA, numbers, open_parquet, read_rows
from srpo_jax.types import Rollout, Verdict
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.paths import as_path, local_copy


@dataclasses.dataclass(frozen=True)
class Step:
  """A recorded step: its groups with the verdicts as they stand, and [prompt, sample] advantages."""

  number: int
  groups: tuple[Group, ...]
  advantages: np.ndarray


class Recording:
  """A run's files, read only, and the parts of the run that an update needs."""

  check_notice = None  # an update made again ends where it likes: there is nothing to save

  def __init__(self, workdir: str | Path, overrides: Sequence[str] = ()):
    """Raises InputError where the folder is no run's."""
    self.path = as_path(workdir)
    self.config = read_config(self.path / "config.json", overrides)
    folder = local_copy(str(self.path / "model"))
    self.tokenizer, self.model_config = load_tokenizer(folder), hf.read_config(folder)
    self.learner = make_learner(self.config, self.model_config)
    self.advantage = make_advantage(self.config)
    self.checkpoints = Checkpoints.of_run(self.path)

  def __enter__(self) -> "Recording":
    return self

  def __exit__(self, *_: object) -> None:
    self.checkpoints.close()

  def steps(self) -> list[int]:
    """Those whose rollouts are there."""
    return numbers(self.path / "rollouts", "step")

  def step(self, number: int) -> Step:
    """A recorded step.

    Raises:
      InputError: no such step, rows that are no rollouts, or prompts that are not those of the run's data.
    """
    file = self.path / f"rollouts/step_{number:06d}.parquet"
    if not file.is_file():
      there = self.steps()
      known = f"{there[0]} to {there[-1]}" if there else "none"
      raise InputError(f"{file}: no such file; the recorded steps are {known}")
    try:
      with open_parquet(file) as stream:
        table = pq.read_table(stream)
    except (pa.ArrowException, OSError) as error:
      raise InputError(f"{file}: cannot be read: {error}") from None
    samples = self.config.rollout.group
    if table.schema != ROLLOUT_SCHEMA or len(table) % samples or not len(table):
      raise InputError(f"{file}: expected the rollouts of a step, {samples} a prompt")
    rows = table.to_pylist()
    groups = [self._group(file, number, start, rows[start : start + samples]) for start in range(0, len(rows), samples)]
    advantages = np.array([row["advantage"] for row in rows], np.float32).reshape(-1, samples)
    return Step(number, tuple(groups), advantages)

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
    """Raises InputError where a row is not of this step and prompt, or its tokens cannot be."""
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
    """prompt id -> its data set and its record there."""
    data = self.config.data
    sets = open_sets(data.train, format=data.format, limit=data.limit)
    return {id_: (problems, i) for _, problems in sets for i, id_ in enumerate(column(problems, "id"))}

  def _prompt(self, id_: str) -> Prompt:
    if id_ not in self._places:
      raise InputError(f"{self.config.data.train}: no row {id_}, expected the data that {self.path} was trained on")
    problems, index = self._places[id_]
    return encode_prompt(problems[index], self.config.prompt, self.tokenizer)

  def state_before(self, number: int) -> TrainState:
    """Parameters and optimizer as step `number` met them.

    Raises:
      InputError: neither a checkpoint nor the base to begin from.
    """
    earlier = [step for step in self.checkpoints.steps() if step <= number]
    shapes = hf.param_shapes(self.model_config, jnp.dtype(self.config.model.param_dtype))
    if earlier or self.config.init_from:
      like = over_mesh(jax.eval_shape(self.learner.init, shapes))
      begin = earlier[-1] if earlier else self.steps()[0]
      state = self.checkpoints.restore(begin, like)[0] if earlier else self._inherited(begin, like)
    else:
      shardings = jax.tree.map(lambda x: x.sharding, over_mesh(shapes))
      folder, dtype = base_folder(self.config), jnp.dtype(self.config.model.param_dtype)
      state, begin = self.learner.init(hf.load_params(folder, self.model_config, dtype, shardings=shardings)), 0
    for step in tqdm(range(begin, number), desc="updates", unit="step", disable=not self.config.log.progress):
      state = self.update(state, self.step(step))[0]
    return state

  def _inherited(self, first: int, like: TrainState) -> TrainState:
    """What the run began from: the checkpoint of its first step, `first`, in the run that it goes on from."""
    other = as_path(self.config.init_from)
    try:
      with Checkpoints.of_run(other) as checkpoints:
        return checkpoints.restore(first, like)[0]
    except InputError as error:
      raise InputError(f"{error}; none of {self.path} is as early (see --no-loss)") from None

  def update(self, state: TrainState, step: Step) -> tuple[TrainState, Row]:
    """The step's update made again from what is recorded of it, and its policy/* figures. `state` is donated."""
    state, metrics, _ = update(
      cast(Run, self), state, step.groups, step.advantages, self.in_use(step.groups), step.number
    )
    return state, policy_metrics(metrics)

  def logprobs(self, state: TrainState, rollouts: Sequence[Rollout]) -> list[np.ndarray]:
    """The trainer's log-probabilities of the tokens of each rollout, float32 [n_tokens]."""
    sizes = {"rows": self.config.train.micro_batch, "length_bucket": self.config.train.length_bucket}
    each = (make_micro_batches([(rollout, 0.0)], **sizes)[0] for rollout in rollouts)
    return [np.asarray(self.learner.logprobs(state.params, batch))[batch.in_loss] for batch in each]

  def advantages(self, groups: Sequence[Group]) -> np.ndarray:
    """[prompt, sample] of the groups' verdicts."""
    return advantages_of(cast(Run, self), groups, self.in_use(groups))

  def in_use(self, groups: Sequence[Group]) -> np.ndarray:
    """Which groups the update used."""
    return which_used(groups, dynamic=self.config.history.dynamic_sampling)

  def judge(self, groups: Sequence[Group]) -> tuple[Group, ...]:
    """The groups with the verdicts of today on the same responses."""
    with make_scorer(self.config) as scorer:
      for group in groups:
        for rollout, text in zip(group.rollouts, group.texts, strict=True):
          scorer.submit(request_of(group.prompt, rollout, text))
      verdicts = scorer.collect()
    return tuple(dataclasses.replace(g, verdicts=tuple(verdicts[v.id] for v in g.verdicts)) for g in groups)

  def metrics(self, number: int) -> Mapping[str, Any]:
    """The step's row of metrics.jsonl."""
    file = self.path / "metrics.jsonl"
    row = next((row for row in read_rows(file) if row.get("step") == number), None)
    if row is None:
      raise InputError(f"{file}: no row of step {number}")
    return row
