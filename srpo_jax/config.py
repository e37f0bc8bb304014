"""The configuration of a run: frozen dataclasses, made once from a ConfigDict and checked field by field.

Defaults live in `configs/`, not here, so that a config file shows every number a run depends on. [S] stated by SRPO
(arXiv 2504.14286), [I] inferred.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from srpo_jax.cli.config_flags import override
from srpo_jax.model.qwen2 import REMAT_POLICIES
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.fields import build
from srpo_jax.utils.jsonl import read_json
from srpo_jax.utils.plugins import resolve_callable
from srpo_jax.utils.renamed import current_specs


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  path: str  # Hugging Face folder of the base model; empty: what `build` makes
  build: str  # module:function(**build_args) -> folder, cached by the function itself
  build_args: dict[str, Any]
  param_dtype: str  # of the master weights
  dtype: str  # of the computation, rollouts included
  remat: str  # none | dots | full: what the backward pass recomputes


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices along each axis; their product is the number of devices, or 1. A run may go on under another mesh."""

  data: int  # copies of the model, each working on its rows
  fsdp: int  # rows too are split over these, and each weight with its moments
  tensor: int  # heads, MLP features and vocabulary are split over these


@dataclasses.dataclass(frozen=True)
class DataConfig:
  train: str  # .jsonl or .parquet file, or module:function() -> rows; several with commas between
  eval: str  # the same, for the held-out sets; empty: no evaluation
  format: str  # of the train files: auto, or an adapter of data/sources.py
  limit: int  # first rows of each train set alone; 0: all
  eval_limit: int
  max_prompt_tokens: int  # longer prompts are left out, counted in the log
  keep: dict[str, float]  # difficulty label -> share of its train rows that stays; 0: none
  max_unsolved: float  # largest share of unsolved rows among those that stay


@dataclasses.dataclass(frozen=True)
class RolloutConfig:
  prompts: int  # a step [S: 256]
  group: int  # responses a prompt [S: 32]
  max_new_tokens: int  # length limit of a response [I: 10,240]
  temperature: float  # [I: 1.0; no top-k, no top-p]
  slots: int  # responses decoded side by side
  chunk: int  # tokens a compiled decode loop emits
  prompt_bucket: int  # prompts are padded to multiples of this many tokens
  backend: str  # jetstream | inprocess


@dataclasses.dataclass(frozen=True)
class RewardConfig:
  format_weight: float  # [I: 0.1]
  mix_weight: float  # [I: 0.1]
  validator: str  # tags | json
  limit_s: float  # seconds one response may take to judge
  workers: int  # judging processes; 0: half of the cores, from 2 to 8
  function: str  # module:function(request, verdict) -> Verdict, after the built-in reward; empty: none


@dataclasses.dataclass(frozen=True)
class SandboxConfig:
  min_tier: str  # namespaces | bubblewrap | landlock | unsafe: the weakest to accept
  slots: int  # programs side by side; 0: one a core
  limit_s: float  # wall clock of one execution
  memory_mb: int  # address space of one execution
  packages: str  # what programs may import beside the standard library, comma-separated; empty: none


@dataclasses.dataclass(frozen=True)
class AdvantageConfig:
  scale: str | float  # std | none | a floor of the std
  function: str  # module:function(rewards, judged, truncated) -> advantages instead; empty: none


@dataclasses.dataclass(frozen=True)
class LossConfig:
  clip_low: float
  clip_high: float
  importance_cap: float  # of trainer / sampler probability; 0: off
  updates: int  # optimizer steps a rollout batch [I: 1, strictly on policy]


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  learning_rate: float  # constant [S: 1e-6]
  b1: float  # [S: 0.9]
  b2: float  # [S: 0.95]
  eps: float
  weight_decay: float  # [I: 0]
  clip_norm: float  # of the gradient's global norm [I: 1.0]; 0: no clip


@dataclasses.dataclass(frozen=True)
class HistoryConfig:
  mode: str  # srpo: an epoch's end retires all-correct prompts | none: every epoch visits all
  dynamic_sampling: bool  # DAPO: sample on until the batch is full of mixed groups


@dataclasses.dataclass(frozen=True)
class StageConfig:
  """A stage ends at the first of its ends that is given; `mix` of no domain is every domain, by its prompts."""

  mix: dict[str, float]  # domain -> its share of the batch, once the ramp is over
  start: dict[str, float]  # the same at the stage's first step; empty: no ramp
  ramp: int  # steps from start to mix
  max_new_tokens: int  # length limit of a response; 0: that of the rollout
  steps: int  # ends after this many of its own; 0: no limit
  epochs: int  # ends when each of its domains has finished this many epochs, of all; 0: no limit
  plateau: str  # ends when this stops rising: heldout | reward (retired prompts counted as solved); empty: never
  plateau_window: int  # epochs that are averaged
  plateau_gain: float  # of a window's mean over the best before it, below which it is no gain
  plateau_patience: int  # windows without gain
  restore_retired: bool  # prompts that earlier stages retired come back


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  seed: int
  stage: int  # number of the first stage in the files
  steps: int  # the run ends after this many; 0: no limit
  epochs: int  # ends when each domain of the stage has finished this many; 0: no limit
  rollouts: int  # ends once this many are spent; 0: no limit
  micro_batch: int  # rows whose activations exist at once
  length_bucket: int  # rows are padded to multiples of this many tokens
  pack_tokens: int  # rows instead hold several responses, up to this many tokens, all of one shape; 0: one a row
  head_chunk: int  # response tokens a row whose logits exist at once
  skip_zero_advantage: bool  # responses without gradient skip the update's forward pass, not the loss's denominator


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  every: int  # steps; 0: never
  samples: int  # responses a problem at temperature 1


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
  every: int  # steps; one is always saved at the end
  keep: int  # the newest this many
  keep_every: int  # and those at multiples of this; 0: none


@dataclasses.dataclass(frozen=True)
class LogConfig:
  every: int  # steps between lines of the log; the files get every step
  tensorboard: bool
  progress: bool  # a progress bar


@dataclasses.dataclass(frozen=True)
class Config:
  model: ModelConfig
  mesh: MeshConfig
  data: DataConfig
  prompt: dict[str, str]  # domain -> {instruction} of the prompt template
  rollout: RolloutConfig
  reward: RewardConfig
  sandbox: SandboxConfig
  advantage: AdvantageConfig
  loss: LossConfig
  optimizer: OptimizerConfig
  history: HistoryConfig
  train: TrainConfig
  eval: EvalConfig
  checkpoint: CheckpointConfig
  log: LogConfig
  stages: dict[str, StageConfig]  # run in the order of their names
  init_from: str  # workdir whose last checkpoint the run goes on from, with its history; empty: the base model


# What may change between a run and its continuation: how long it goes on, on what, and how it is watched.
FREE_FIELDS = frozenset({"train.steps", "train.epochs", "train.rollouts"})
FREE_SECTIONS = frozenset({"checkpoint", "log", "mesh"})

COLDEST, HOTTEST = 1e-3, 1e3  # beyond them a logit over the temperature may leave float32
TEMPERATURES = f"0 (greedy) or {COLDEST:g} to {HOTTEST:g}"
CHOICES: dict[str, tuple[str, ...]] = {
  "model.param_dtype": ("float32", "bfloat16"),
  "model.dtype": ("float32", "bfloat16"),
  "model.remat": tuple(REMAT_POLICIES),
  "rollout.backend": ("jetstream", "inprocess"),
  "reward.validator": ("tags", "json"),
  "sandbox.min_tier": ("namespaces", "bubblewrap", "landlock", "unsafe"),
  "history.mode": ("srpo", "none"),
}
POSITIVE = frozenset(
  {
    "mesh.data",
    "mesh.fsdp",
    "mesh.tensor",
    "data.max_prompt_tokens",
    "rollout.prompts",
    "rollout.group",
    "rollout.max_new_tokens",
    "rollout.slots",
    "rollout.chunk",
    "rollout.prompt_bucket",
    "reward.limit_s",
    "sandbox.limit_s",
    "sandbox.memory_mb",
    "loss.updates",
    "optimizer.learning_rate",
    "optimizer.eps",
    "train.micro_batch",
    "train.length_bucket",
    "train.head_chunk",
    "train.stage",
    "eval.samples",
    "checkpoint.every",
    "checkpoint.keep",
    "log.every",
  }
)


def make_config(raw: ConfigDict | dict[str, Any]) -> Config:
  """The checked configuration.

  Raises:
    InputError: a field that is unknown, missing, of another type, or out of range; each is named.
  """
  raw = raw.to_dict() if isinstance(raw, ConfigDict) else raw
  config = build(Config, current_specs(raw), "config")
  _check(config)
  return config


def is_temperature(value: float) -> bool:
  """Whether it is one of TEMPERATURES; NaN is not."""
  return value == 0 or COLDEST <= value <= HOTTEST


def _check(config: Config) -> None:
  flat = flatten(config)
  for name, value in flat.items():
    if name in CHOICES and value not in CHOICES[name]:
      raise InputError(f"config.{name}: expected one of {', '.join(CHOICES[name])}, got {value!r}")
    if name in POSITIVE and value <= 0:
      raise InputError(f"config.{name}: expected a positive number, got {value!r}")
    if isinstance(value, (int, float)) and value < 0:
      raise InputError(f"config.{name}: expected a number of at least 0, got {value!r}")
  if not config.model.path and not config.model.build and not config.init_from:
    raise InputError("config.model.path: expected a Hugging Face folder")
  if not config.data.train:
    raise InputError("config.data.train: expected a file or module:function")
  scale = config.advantage.scale
  if isinstance(scale, str) and scale not in ("std", "none"):
    raise InputError(f"config.advantage.scale: expected std, none or a number, got {scale!r}")
  if config.rollout.temperature == 0:
    raise InputError("config.rollout.temperature: expected a positive number: a greedy policy explores nothing")
  if not is_temperature(temperature := config.rollout.temperature):
    raise InputError(f"config.rollout.temperature: expected {COLDEST:g} to {HOTTEST:g}, got {temperature:g}")
  for name in ("loss.clip_low", "optimizer.b1", "optimizer.b2"):
    if flat[name] >= 1:
      raise InputError(f"config.{name}: expected less than 1, got {flat[name]}")
  ways = config.mesh.data * config.mesh.fsdp
  for name in ("train.micro_batch", "rollout.slots"):
    if flat[name] % ways:
      raise InputError(f"config.{name}: expected a multiple of mesh.data x mesh.fsdp, {ways}, got {flat[name]}")
  longest = config.data.max_prompt_tokens + config.rollout.max_new_tokens
  if config.train.pack_tokens and config.train.pack_tokens < longest:
    raise InputError(
      f"config.train.pack_tokens: expected 0, or at least data.max_prompt_tokens + rollout.max_new_tokens, {longest}, "
      f"got {config.train.pack_tokens}"
    )
  _check_stages(config)
  if config.rollout.group < 2:
    raise InputError("config.rollout.group: expected at least 2, an advantage is relative to its group")
  if config.reward.format_weight + config.reward.mix_weight >= 1:
    raise InputError(
      "config.reward.format_weight: expected format_weight + mix_weight below 1, so that a correct response outranks "
      "any wrong one"
    )
  for name in ("model.build", "reward.function", "advantage.function"):
    if flat[name]:
      try:
        resolve_callable(flat[name])
      except InputError as error:
        raise InputError(f"config.{name}: {error}") from None


def _check_stages(config: Config) -> None:
  if not config.stages:
    raise InputError("config.stages: expected at least one stage")
  for place, (name, stage) in enumerate(config.stages.items(), 1):
    where = f"config.stages.{name}"
    for field, parts in (("mix", stage.mix), ("start", stage.start)):
      if parts and abs(sum(parts.values()) - 1) > 1e-6:
        raise InputError(f"{where}.{field}: expected shares that sum to 1, got {parts}")
    if bool(stage.start) != bool(stage.ramp) or (stage.start and not stage.mix):
      raise InputError(f"{where}.ramp: expected start, ramp and mix together, or neither start nor ramp")
    if stage.max_new_tokens > config.rollout.max_new_tokens:
      most = config.rollout.max_new_tokens
      raise InputError(f"{where}.max_new_tokens: {stage.max_new_tokens}, above config.rollout.max_new_tokens, {most}")
    if stage.plateau not in ("", "heldout", "reward"):
      raise InputError(f"{where}.plateau: expected heldout, reward or nothing, got {stage.plateau!r}")
    if stage.plateau and not (stage.plateau_window and stage.plateau_patience):
      raise InputError(f"{where}.plateau_window: expected this and plateau_patience to be positive numbers")
    if stage.plateau == "heldout" and not (config.data.eval and config.eval.every):
      raise InputError(f"{where}.plateau: heldout needs config.data.eval and config.eval.every")
    ends = stage.steps or stage.epochs or stage.plateau
    limits = config.train
    if not ends and (place < len(config.stages) or not (limits.steps or limits.epochs or limits.rollouts)):
      raise InputError(f"{where}.steps: no end: expected steps, epochs or a plateau here, or, for the last stage, an "
                       "end of the run in config.train.steps, epochs or rollouts")  # fmt: skip


def flatten(config: Config | dict[str, Any]) -> dict[str, Any]:
  """'section.field' -> value."""
  flat: dict[str, Any] = {}
  for name, value in (dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config).items():
    below = flatten(value) if isinstance(value, dict) else None
    flat |= {name: value} if below is None else {f"{name}.{inner}": item for inner, item in below.items()}
  return flat


def to_json(config: Config) -> str:
  return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def read_config(file: Path, overrides: Sequence[str] = ()) -> Config:
  """The config that a workdir's config.json holds, with `--config.section.field=value` overrides in place."""
  if not file.is_file():
    raise InputError(f"{file}: no such file, expected the config.json of a run")
  config = make_config(read_json(file))
  return make_config(override(dataclasses.asdict(config), overrides)) if overrides else config


def check_same_run(config: Config, file: Path) -> None:
  """Refuses to continue the run that `file` describes under a config that means something else.

  Raises:
    InputError: naming each differing field with both values.
  """
  old, new = flatten(read_config(file)), flatten(config)
  last = list(config.stages)[-1]
  free = FREE_FIELDS | {f"stages.{last}.steps", f"stages.{last}.epochs"}
  changed = [
    f"{name} ({old.get(name)!r} there, {new.get(name)!r} here)"
    for name in {**old, **new}
    if old.get(name) != new.get(name) and name not in free and name.split(".")[0] not in FREE_SECTIONS
  ]
  if changed:
    raise InputError(f"{file}: this workdir belongs to another config: {', '.join(changed)}")
