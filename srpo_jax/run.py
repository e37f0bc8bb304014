"""What a training run is made of, built once from its config."""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from srpo_jax.algorithm.advantages import group_advantages
from srpo_jax.algorithm.history import Pool
from srpo_jax.checkpoint import Checkpoints
from srpo_jax.config import Config, check_same_run, to_json
from srpo_jax.data.dataset import load_problems
from srpo_jax.data.encoded import encode_prompts, load_tokenizer
from srpo_jax.errors import InputError
from srpo_jax.experience import Collector
from srpo_jax.jsonl import read_json
from srpo_jax.learner import Learner, LearnerOptions, TrainState, make_optimizer
from srpo_jax.model import hf
from srpo_jax.plugins import is_callable_spec, resolve_callable
from srpo_jax.rewards.code import runnable
from srpo_jax.rewards.pool import default_workers
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.sampler import round_up
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.types import Problem, ScoreRequest
from srpo_jax.workdir import Workdir, read_rows, write_text


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


def base_folder(config: Config) -> Path:
  """The base model's folder: `model.path`, or what `model.build` makes."""
  if config.model.path:
    return Path(config.model.path)
  build = resolve_callable(config.model.build)
  try:
    inspect.signature(build).bind(**config.model.build_args)
  except TypeError as error:
    raise InputError(f"config.model.build_args: do not fit {config.model.build}: {error}") from None
  return Path(build(**config.model.build_args))


def make_engine(config: Config, model_config: Any, *, max_prompt: int, stops: tuple[int, ...]) -> InProcessEngine:
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
  )


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
    mix_weight=config.reward.mix_weight,
    validator=config.reward.validator,
    limit_s=config.reward.limit_s,
    workers=config.reward.workers or default_workers(),
    sandbox=SandboxOptions(
      min_tier=config.sandbox.min_tier,
      slots=config.sandbox.slots,
      limit_s=config.sandbox.limit_s,
      memory_mb=config.sandbox.memory_mb,
      packages=tuple(filter(None, config.sandbox.packages.split(","))),
    ),
    function=resolve_callable(config.reward.function) if config.reward.function else None,
  )


def with_usable_tests(spec: str, problems: Sequence[Problem]) -> tuple[Problem, ...]:
  """The problems but for those whose tests cannot be turned into calls, which the log counts."""
  kept, refused = runnable(problems)
  if not kept:
    raise InputError(f"{spec}: no problem has tests that can be used (see python -m srpo_jax.score --explain)")
  if refused:
    first, reason = next(iter(refused.items()))
    logging.warning("%s: left out %d of %d problems, as %s: %s", spec, len(refused), len(problems), first, reason)
  return tuple(kept)


def load_data(config: Config, scorer: Scorer) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
  """The train and held-out problems (none where the run does not evaluate), each of a kind that the rewards judge."""
  train = with_usable_tests(
    config.data.train, load_problems(config.data.train, format=config.data.format, limit=config.data.limit)
  )
  held: tuple[Problem, ...] = ()
  if config.data.eval and config.eval.every:
    held = with_usable_tests(config.data.eval, load_problems(config.data.eval, limit=config.data.eval_limit))
  for problem in (*train, *held):
    scorer.check(ScoreRequest(problem.id, "", "", True, problem.domain, problem.answer, problem.tests))
  domains = sorted({problem.domain for problem in train})
  if len(domains) > 1:
    raise InputError(f"{config.data.train}: domains {', '.join(domains)}, expected one domain in a stage")
  return train, held


class Run:
  """An open run: its parts, and how it starts and saves. Use as a context manager."""

  def __init__(self, config: Config, workdir: str | Path):
    self.config = config
    self.path = Path(workdir)
    if (self.path / "config.json").exists():
      check_same_run(config, self.path / "config.json")
    elif self.path.is_dir() and any(file.name != ".lock" for file in self.path.iterdir()):
      raise InputError(f"{self.path}: not empty and not the workdir of a run (no config.json), nothing was written")
    with contextlib.ExitStack() as opened:  # whatever fails below, what is open by then is closed
      self._open(config, opened)
      self._opened = opened.pop_all()

  def _open(self, config: Config, opened: contextlib.ExitStack) -> None:
    scorer = opened.enter_context(make_scorer(config))
    train, held = load_data(config, scorer)
    self.domain = train[0].domain
    name = config.data.eval
    self.heldout_name = name.rpartition(":")[2] if is_callable_spec(name) else Path(name).stem

    folder = base_folder(config)
    self._check_source(folder)
    self.model_config = hf.read_config(folder)
    self.tokenizer = load_tokenizer(folder)
    stops = stop_tokens(folder, self.tokenizer)
    longest = config.data.max_prompt_tokens
    self.prompts = encode_prompts(train, config.prompt, self.tokenizer, longest)
    self.heldout = encode_prompts(held, config.prompt, self.tokenizer, longest) if held else {}
    prompts = [prompt.tokens for prompt in (*self.prompts.values(), *self.heldout.values())]
    if max(*stops, *(int(tokens.max()) for tokens in prompts)) >= self.model_config.vocab_size:
      raise InputError(f"{folder}: the tokenizer has ids beyond the model's vocab_size {self.model_config.vocab_size}")
    self._initial = hf.load_params(folder, self.model_config, jnp.dtype(config.model.param_dtype))

    engine = make_engine(config, self.model_config, max_prompt=max(map(len, prompts)), stops=stops)
    self.collector = Collector(engine, scorer, self.tokenizer, stops, config.rollout.prompt_bucket, config.train.seed)
    self.learner = make_learner(config, self.model_config)
    self.advantage: Callable[..., np.ndarray] = (
      resolve_callable(config.advantage.function)
      if config.advantage.function
      else functools.partial(group_advantages, scale=config.advantage.scale)
    )

    self.files = Workdir(self.path, tensorboard=config.log.tensorboard)
    opened.callback(self.files.close)
    write_text(self.path / "config.json", to_json(config))
    self._keep_source(folder)
    self.checkpoints = Checkpoints(self.path, keep=config.checkpoint.keep, keep_every=config.checkpoint.keep_every)
    opened.callback(self.checkpoints.close)
    self.evaluated: set[int] = set()  # steps that eval.jsonl has

  def _check_source(self, folder: Path) -> None:
    """Refuses a base whose config or tokenizer is not that which the run began from."""
    for kept in (self.path / "model").glob("*"):
      file = folder / kept.name
      if not file.is_file() or file.read_bytes() != kept.read_bytes():
        raise InputError(f"{file}: not the file that {self.path} was trained from ({kept})")

  def _keep_source(self, folder: Path) -> None:
    """Copies the base's config and tokenizer, so that an export needs the workdir alone."""
    (self.path / "model").mkdir(exist_ok=True)
    for name in hf.COMPANION_FILES:
      if (folder / name).is_file() and not (self.path / "model" / name).is_file():
        shutil.copyfile(folder / name, self.path / "model" / name)

  def start(self) -> tuple[TrainState, Pool, int, int]:
    """(state, pool, step, rollouts spent) of the last checkpoint, or of the base; the files are brought back to it."""
    step = self.checkpoints.latest()
    state = self.learner.init(self._initial)
    del self._initial
    if step is None:
      step, pool, spent = 0, Pool(self.domain, tuple(self.prompts)), 0
    else:
      state, host = self.checkpoints.restore(step, state)
      if host["data"] != self._data_digest():
        raise InputError(f"{self.config.data.train}: not the rows that {self.path} was trained on")
      pool, spent = Pool.from_json(host["pools"][self.domain]), host["spent"]
      logging.info("resuming %s at step %d", self.path, step)
    self.files.rewind(step, {self.domain: pool.epoch})
    self.evaluated = {row["step"] for row in read_rows(self.path / "eval.jsonl")}
    return state, pool, step, spent

  def save(self, step: int, state: TrainState, pool: Pool, spent: int) -> None:
    host = {
      "step": step,
      "stage": self.config.train.stage,
      "spent": spent,
      "pools": {pool.domain: pool.to_json()},
      "data": self._data_digest(),
    }
    self.checkpoints.save(step, state, host)

  @functools.cache  # noqa: B019 (one Run a process)
  def _data_digest(self) -> str:
    digest = hashlib.sha256()
    for id_, prompt in self.prompts.items():
      digest.update(json.dumps([id_, prompt.text, prompt.problem.answer, prompt.problem.tests]).encode())
    return digest.hexdigest()

  def __enter__(self) -> "Run":
    return self

  def __exit__(self, *_: object) -> None:
    self._opened.close()
