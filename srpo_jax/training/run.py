"""What a training run is made of, built once from its config."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from srpo_jax.algorithm.advantages import group_advantages
from srpo_jax.algorithm.stages import Position
from srpo_jax.config import Config, check_same_run, flatten, to_json
from srpo_jax.data.dataset import file_stem, open_problems
from srpo_jax.data.encoded import Prompt, load_tokenizer
from srpo_jax.data.prompt_set import PromptSet, Selection
from srpo_jax.model import hf, qwen2
from srpo_jax.model.sharding import make_mesh, on_mesh, param_shardings
from srpo_jax.rewards.pool import default_workers
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rollout.collector import Collector
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import round_up
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.training.checkpoint import Checkpoints
from srpo_jax.training.learner import Learner, LearnerOptions, TrainState, make_optimizer
from srpo_jax.training.schedule import Schedule
from srpo_jax.training.workdir import MARKS, Bystander, Workdir, read_rows, write_text
from srpo_jax.types import Problem, ScoreRequest
from srpo_jax.utils import processes
from srpo_jax.utils.digests import files_digest
from srpo_jax.utils.errors import InputError, PreemptedError
from srpo_jax.utils.fields import names
from srpo_jax.utils.jsonl import read_json
from srpo_jax.utils.paths import as_local, as_path, check_writable, local_copy
from srpo_jax.utils.plugins import is_callable_spec, resolve_callable
from srpo_jax.utils.preemption import Notice

Sets = list[tuple[str, Sequence[Problem]]]

LIBRARIES = ("jax", "jaxlib", "flax", "numpy", "optax", "orbax-checkpoint", "transformers", "math-verify")
WEIGHTS = ".safetensors"
SEEN_WITHIN_S = 60.0  # what one host writes into a shared folder, caches of network file systems included


def stop_tokens(folder: str | Path, tokenizer: Any) -> tuple[int, ...]:
  """The ids that end a response: the tokenizer's EOS and those of generation_config.json."""
  file = Path(folder) / "generation_config.json"
  eos = read_json(file).get("eos_token_id") if file.is_file() else None
  ids = {tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])} - {None}
  if not ids:
    raise InputError(f"{folder}: no EOS token in the tokenizer or generation_config.json")
  if not all(type(id_) is int and id_ >= 0 for id_ in ids):
    raise InputError(f"{file}: eos_token_id is {eos!r}, expected token ids")
  return tuple(sorted(ids))


def check_vocabulary(
  folder: Path, model_config: qwen2.Qwen2Config, stops: Sequence[int], sets: Sequence[PromptSet]
) -> None:
  """Raises InputError where the stop tokens or the prompts have ids that the model does not know."""
  if max([*stops, *(set_.largest_id for set_ in sets)]) >= model_config.vocab_size:
    raise InputError(f"{folder}: the tokenizer has ids beyond the model's vocab_size {model_config.vocab_size}")


def base_folder(config: Config) -> Path:
  """The base model's folder: `model.path`, or what `model.build` makes."""
  if config.model.path:
    return as_local(config.model.path, "config.model.path")
  build = resolve_callable(config.model.build)
  try:
    inspect.signature(build).bind(**config.model.build_args)
  except TypeError as error:
    raise InputError(f"config.model.build_args: do not fit {config.model.build}: {error}") from None
  return Path(build(**config.model.build_args))


def make_engine(
  config: Config, model_config: Any, *, max_prompt: int, stops: tuple[int, ...], top_p: float = 1.0
) -> InProcessEngine:
  engine_type = InProcessEngine
  if config.rollout.backend == "jetstream":
    from srpo_jax.rollout.jetstream_engine import JetStreamEngine  # TensorFlow comes with it: only where asked for

    engine_type = JetStreamEngine
  return engine_type(
    model_config,
    slots=config.rollout.slots,
    max_prompt=round_up(max_prompt, config.rollout.prompt_bucket),
    max_new=config.rollout.max_new_tokens,
    chunk=config.rollout.chunk,
    stop_tokens=stops,
    group=min(config.rollout.group, config.rollout.slots),
    dtype=jnp.dtype(config.model.dtype),
    top_p=top_p,
  )


def make_advantage(config: Config) -> Callable[..., np.ndarray]:
  """(rewards, judged, truncated) -> advantages, all [prompt, sample]: the paper's, or the user's own."""
  a = config.advantage
  return resolve_callable(a.function) if a.function else functools.partial(group_advantages, scale=a.scale)


def make_learner(config: Config, model_config: Any) -> Learner:
  o = config.optimizer
  optimizer = make_optimizer(**dataclasses.asdict(o))
  options = LearnerOptions(
    dtype=jnp.dtype(config.model.dtype),
    remat=config.model.remat,
    head_chunk=config.train.head_chunk,
    temperature=config.rollout.temperature,
    clip_low=config.loss.clip_low,
    clip_high=config.loss.clip_high,
    importance_cap=config.loss.importance_cap,
    on_policy=config.loss.updates == 1,
  )
  return Learner(model_config, optimizer, options)


def make_scorer(config: Config) -> Scorer:
  return Scorer(
    format_weight=config.reward.format_weight,
    language_penalty=config.reward.language_penalty,
    validator=config.reward.validator,
    timeout_s=config.reward.timeout_s,
    workers=config.reward.workers or default_workers(),
    sandbox=SandboxOptions(
      min_tier=config.sandbox.min_tier,
      slots=config.sandbox.slots,
      timeout_s=config.sandbox.timeout_s,
      memory_mb=config.sandbox.memory_mb,
      packages=names(config.sandbox.packages),
    ),
    function=resolve_callable(config.reward.function) if config.reward.function else None,
  )


def open_sets(specs: str, *, format: str = "auto", limit: int = 0) -> Sets:
  """Each of `specs` (commas between) with its problems."""
  return [(spec, open_problems(str(local_copy(spec)), format=format, limit=limit)) for spec in names(specs)]


def prompt_set(
  config: Config, spec: str, problems: Sequence[Problem], scorer: Scorer, tokenizer: Any, selection: Selection | None
) -> PromptSet:
  """The prompts of the problems that the run can use."""

  def check(problem: Problem) -> None:
    scorer.check(ScoreRequest(problem.id, "", "", True, problem.domain, problem.answer, problem.tests))

  return PromptSet(
    spec,
    problems,
    instructions=config.prompt,
    tokenizer=tokenizer,
    max_tokens=config.data.max_prompt_tokens,
    check=check,
    packages=names(config.sandbox.packages),
    selection=selection,
  )


def by_domain(sets: Sequence[PromptSet]) -> dict[str, list[str]]:
  """domain -> the ids of all sets.

  Raises:
    InputError: an id in two sets: history and keys know a prompt by it.
  """
  first_in: dict[str, str] = {}
  for set_ in sets:
    for id_ in set_:
      if id_ in first_in:
        raise InputError(f"{set_.name}: id {id_!r} is also in {first_in[id_]}, expected it once")
      first_in[id_] = set_.name
  domains: dict[str, list[str]] = {}
  for set_ in sets:
    for domain, ids in set_.domains.items():
      domains.setdefault(domain, []).extend(ids)
  return domains


def set_name(spec: str) -> str:
  """What eval.jsonl calls a set."""
  return spec.rpartition(":")[2] if is_callable_spec(spec) else file_stem(Path(spec))


def facts(config: Config, folder: Path, sets: Sequence[PromptSet]) -> dict[str, str]:
  """What the processes of a group must have the same, by name: the config, the data, the base and the libraries."""
  found = {f"config.{name}": repr(value) for name, value in flatten(config).items()}
  for set_ in sets:
    found |= {f"{set_.name}: digest of its {domain} rows": digest for domain, digest in set_.digests.items()}
  for file in sorted(file for file in folder.iterdir() if file.name in hf.COMPANION_FILES or file.suffix == WEIGHTS):
    found[f"{file.name} of the base: digest"] = files_digest([file])  # its folder may be another on each host
  sources = Path(__file__).parents[1]
  digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(sources.rglob("*.py"))))
  found["srpo_jax: digest of its sources"] = digest.hexdigest()[:16]
  return found | {f"version of {name}": importlib.metadata.version(name) for name in LIBRARIES}


class Run:
  """An open run: its parts, and how it starts and saves. Use as a context manager."""

  def __init__(self, config: Config, workdir: str | Path, notice: Notice | None = None):
    """Opens it. Processes of a group open it together: what one of them refuses, all do.

    Args:
      notice: of preemption; None: signals are not looked at.
    """
    self.config = config
    self.path = as_path(workdir)
    self.shows_progress = config.log.progress and processes.is_writer()
    self._notice = notice
    processes.from_writer(self._check_workdir)
    with contextlib.ExitStack() as opened:  # whatever fails below, what is open by then is closed
      train, held = processes.agreed(self._open_sets)
      scorer = processes.agreed(lambda: opened.enter_context(make_scorer(config)))
      folder = processes.writer_first(lambda: self._base(config))
      same = processes.agreed(lambda: self._prepare(folder, train, held, scorer, opened))
      processes.check_same(same)
      self.files = processes.agreed(lambda: self._open_files(folder, opened))
      processes.agreed(self._check_shared)
      self.checkpoints = Checkpoints(self.path, keep=config.checkpoint.keep, keep_every=config.checkpoint.keep_every)
      opened.callback(self.checkpoints.close)
      self._opened = opened.pop_all()
    self.evaluated: dict[tuple[int, str], dict[str, Any]] = {}  # rows of eval.jsonl by step and set

  def _check_workdir(self) -> None:
    if (self.path / "config.json").exists():
      check_same_run(self.config, self.path / "config.json")
    elif self.path.is_dir() and any(file.name not in MARKS for file in self.path.iterdir()):
      raise InputError(f"{self.path}: not empty and not the workdir of a run (no config.json), nothing was written")
    check_writable(self.path)

  def _open_sets(self) -> tuple[Sets, Sets]:
    """The train and the held-out sets. First of all, and the mesh: what a user gets wrong is told at once."""
    config, data = self.config, self.config.data
    train = open_sets(data.train, format=data.format, limit=data.limit)
    held = open_sets(data.eval, limit=data.eval_limit) if config.eval.every else []
    if len({set_name(spec) for spec, _ in held}) < len(held):
      raise InputError(f"config.data.eval: {data.eval}: two sets of one name, expected each name once")
    self._mesh = make_mesh(**dataclasses.asdict(config.mesh))
    return train, held

  def _prepare(
    self, folder: Path, train: Sets, held: Sets, scorer: Scorer, opened: contextlib.ExitStack
  ) -> dict[str, str]:
    """Everything that is made of the config, the data and the base; what of it every process must have the same."""
    config, data = self.config, self.config.data
    self._check_source(folder)
    self.model_config = hf.read_config(folder)
    self.tokenizer = load_tokenizer(folder)
    stops = stop_tokens(folder, self.tokenizer)
    selection = Selection(data.keep, data.max_unsolved, config.train.seed)
    self._train = [prompt_set(config, *set_, scorer, self.tokenizer, selection) for set_ in train]
    heldout = [prompt_set(config, *set_, scorer, self.tokenizer, None) for set_ in held]
    self._set_of = {id_: set_ for set_ in self._train for id_ in set_}
    self.heldout = {set_name(set_.name): list(set_.values()) for set_ in heldout}
    check_vocabulary(folder, self.model_config, stops, (*self._train, *heldout))
    opened.enter_context(on_mesh(self._mesh))
    if self._mesh is None and jax.device_count() > 1:
      logging.warning("config.mesh names one device: the other %d are not used", jax.device_count() - 1)
    self._initial = None if config.init_from else self._load_params(folder)
    self.schedule = Schedule(config, by_domain(self._train))

    self.collector = self._make_collector(scorer, stops, self._train)
    longest = max((set_.longest for set_ in heldout), default=0)
    # Sums over a larger cache round otherwise: longer held-out prompts have a sampler of their own.
    fits = longest <= self.collector.engine.max_prompt
    self.evaluator = self.collector if fits else self._make_collector(scorer, stops, heldout)
    self.learner = make_learner(config, self.model_config)
    self.advantage = make_advantage(config)
    return facts(config, folder, (*self._train, *heldout)) if processes.count() > 1 else {}

  def _make_collector(self, scorer: Scorer, stops: tuple[int, ...], sets: Sequence[PromptSet]) -> Collector:
    """The sampler and rewards for the prompts of `sets`."""
    config, longest = self.config, max(set_.longest for set_ in sets)
    engine = make_engine(config, self.model_config, max_prompt=longest, stops=stops)
    bucket, seed = config.rollout.prompt_bucket, config.train.seed
    return Collector(engine, scorer, self.tokenizer, stops, bucket, seed, show=self.shows_progress, notice=self._notice)

  def _open_files(self, folder: Path, opened: contextlib.ExitStack) -> Workdir:
    if not processes.is_writer():
      return Bystander(self.path)
    files = Workdir(self.path, tensorboard=self.config.log.tensorboard)
    opened.callback(files.close)
    write_text(self.path / "config.json", to_json(self.config))
    self._keep_source(folder)
    return files

  def _check_shared(self) -> None:
    """Refuses a workdir that is another folder for the writer: checkpoints are written by all and read by all."""
    file, ends = self.path / "config.json", time.monotonic() + SEEN_WITHIN_S
    while not (file.is_file() and file.read_text() == to_json(self.config)):
      if time.monotonic() > ends:
        raise InputError(f"{file}: not what process 0 has just written; expected a workdir that all processes share")
      time.sleep(1)

  def _base(self, config: Config) -> Path:
    """The folder with the model's config and tokenizer, and with the weights where the run starts from a base."""
    if not config.init_from:
      return base_folder(config)
    other = as_path(config.init_from)
    for run in (other, self.path):  # begun already: the other run is not needed any more
      if any((run / "checkpoints").glob("[0-9]*")):
        return local_copy(str(run / "model"))
    raise InputError(f"config.init_from: {other} has no checkpoint, expected the workdir of a run, such as stage 1's")

  def _check_source(self, folder: Path) -> None:
    """Refuses a base whose config or tokenizer is not that which the run began from."""
    for kept in (self.path / "model").glob("*"):
      file = folder / kept.name
      if not file.is_file() or file.read_bytes() != kept.read_bytes():
        raise InputError(f"{file}: not the file that {self.path} was trained from ({kept})")

  def _keep_source(self, folder: Path) -> None:
    """Copies the base's config and tokenizer, so that an export needs the workdir alone."""
    (self.path / "model").mkdir(exist_ok=True)
    for name in (*hf.COMPANION_FILES, hf.INDEX_FILE):
      if (folder / name).is_file() and not (self.path / "model" / name).is_file():
        (self.path / "model" / name).write_bytes((folder / name).read_bytes())

  def _load_params(self, folder: Path) -> qwen2.Params:
    """A base's weights, each where the mesh wants it."""
    shardings = param_shardings(self._param_shapes(), self._mesh) if self._mesh else None
    return hf.load_params(folder, self.model_config, jnp.dtype(self.config.model.param_dtype), shardings=shardings)

  def start(self) -> tuple[TrainState, Position]:
    """The last checkpoint's state and position, or a new run's; the files are brought back to it."""
    own = processes.from_writer(self.checkpoints.latest)
    if own is not None:
      state, at = self._restore(self.checkpoints, own)
      logging.info("resuming %s at step %d", self.path, own)
    elif self._initial is None:
      state, inherited = self._inherit(as_path(self.config.init_from))
      at = self.schedule.begin(inherited)
    else:
      state, at = self.learner.init(self._initial), self.schedule.begin()
    del self._initial
    self.evaluated = processes.from_writer(lambda: self._rewind(at))
    return state, at

  def _rewind(self, at: Position) -> dict[tuple[int, str], dict[str, Any]]:
    """Brings the files back to a position; the rows of eval.jsonl up to it, by step and set."""
    self.files.rewind(at.step, {domain: pool.epoch for domain, pool in at.pools.items()})
    return {(row["step"], row["set"]): row for row in read_rows(self.path / "eval.jsonl")}

  def _inherit(self, folder: Path) -> tuple[TrainState, Position]:
    """Where the run in another workdir is, with its parameters, optimizer and history."""
    with Checkpoints(folder) as checkpoints:
      step = checkpoints.latest()
      if step is None:
        raise InputError(f"config.init_from: {checkpoints.folder} has no whole checkpoint")
      state, at = self._restore(checkpoints, step)
    logging.info("going on from step %d of %s", step, folder)
    return state, at

  def _restore(self, checkpoints: Checkpoints, step: int) -> tuple[TrainState, Position]:
    """A checkpoint, refused where its prompts are not those of this run's data."""
    state, host = checkpoints.restore(step, self._like())
    digests = self._digests()
    for domain, digest in host["data"].items():
      if domain in digests and digest != digests[domain]:
        raise InputError(
          f"{self.config.data.train}: not the {domain} rows that {checkpoints.folder.parent} was trained on (to go on "
          "with other rows, start from its exported policy, config.model.path)"
        )
    return state, Position.from_json(host["position"])

  def _param_shapes(self) -> qwen2.Params:
    return hf.param_shapes(self.model_config, jnp.dtype(self.config.model.param_dtype))

  def _like(self) -> TrainState:
    """The shapes of the training state, and where this run's mesh wants each array: whatever mesh it was saved on."""
    like = jax.eval_shape(self.learner.init, self._param_shapes())
    return jax.tree.map(
      lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
      like,
      param_shardings(like, self._mesh),
    )

  def prompt(self, prompt_id: str) -> Prompt:
    """A prompt of the train sets."""
    return self._set_of[prompt_id][prompt_id]

  def record_of(self, prompt_id: str) -> int:
    """The record index of a prompt in its data set."""
    return self._set_of[prompt_id].record[prompt_id]

  @property
  def check_notice(self) -> Callable[[], None] | None:
    """Raises PreemptedError where the run was told to end; None: nobody looks."""
    return None if self._notice is None else self._notice.check

  def save(self, state: TrainState, at: Position) -> None:
    """Raises TrainingError where another run has taken the workdir over."""
    processes.from_writer(self.files.check_owner)
    self.checkpoints.save(at.step, state, {"position": at.to_json(), "data": self._digests()})

  @contextlib.contextmanager
  def saving_when_told(self, reached: Callable[[], tuple[TrainState, Position]]) -> Iterator[None]:
    """Where the notice ends what is done here, saves what `reached` gives: the steps that are done.

    What was sampled of the next is dropped: started again, the run samples it anew, by the same keys.
    """
    if self._notice is None:
      yield
      return
    self._notice.defer()
    try:
      yield
    except PreemptedError as told:
      state, at = reached()
      if self.checkpoints.latest() != at.step:
        self.save(state, at)
      self.checkpoints.wait()
      raise told.saying(f"saved step {at.step}") from None

  def _digests(self) -> dict[str, str]:
    """domain -> hash of its prompts with what decides whether a response to them is correct."""
    digests: dict[str, list[str]] = {}
    for set_ in self._train:
      for domain, digest in set_.digests.items():
        digests.setdefault(domain, []).append(digest)
    return {domain: " ".join(parts) for domain, parts in digests.items()}

  def __enter__(self) -> "Run":
    return self

  def __exit__(self, *_: object) -> None:
    self._opened.close()
