"""Configuration of a run: frozen dataclasses, built from plain values and checked field by field.

Each field states its type, default, choices, range and meaning here. [S] marks a default that the summaries of SRPO
(arXiv 2504.14286) state. [I] marks a default that was inferred from them. `configs/` has recipes that start from these
defaults.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from srpo_jax.cli.config_flags import override
from srpo_jax.data.prompt_config import PromptConfig, gather_instructions
from srpo_jax.model.hub import COMMIT
from srpo_jax.rewards.user_judge import check_judges, parse_judges
from srpo_jax.types import BUILT_IN_DOMAINS
from srpo_jax.utils import fields
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.fields import field
from srpo_jax.utils.jsonl import read_json
from srpo_jax.utils.renamed import current_config

COLDEST, HOTTEST = 1e-3, 1e3  # outside this range, a logit divided by the temperature may exceed float32
TEMPERATURES = f"0 (greedy) or {COLDEST:g} to {HOTTEST:g}"

# Fields that may change when a run is resumed: its length, its devices, its records, and how an update is computed.
FREE_FIELDS = frozenset({"train.steps", "train.epochs", "train.rollouts", "train.share_prompts"})
FREE_SECTIONS = frozenset({"checkpoint", "log", "mesh"})


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Base model and precision."""

  path: str = field(
    "",
    "Base model: a Hugging Face folder, owner/name[@revision] on the hub, or gs://. A local folder of that name wins. "
    "Empty: the folder that `build` makes.",
  )
  revision: str = field("", "Commit of a base model on the hub. `launch` records it. Empty: found when the run starts.")
  build: str = field(
    "", "module:function(**build_args) -> folder of a base model. The function caches it itself.", plugin=True
  )
  build_args: dict[str, Any] = field({}, "Arguments of `build`.", at_least=0)
  param_dtype: str = field("float32", "Dtype of the master weights.", choices=("float32", "bfloat16"))
  dtype: str = field("bfloat16", "Dtype of the computation and of the rollouts.", choices=("float32", "bfloat16"))
  remat: str = field(
    "full",
    "Activations recomputed in the backward pass. none: no activations. dots: all but the projections' outputs. "
    "full: all but each layer's input.",
    choices=("none", "dots", "full"),
  )

  def check(self, config: "Config", where: str) -> None:
    if not self.path and not self.build and not config.init_from:
      raise InputError(f"{where}.path: expected a Hugging Face folder, or owner/name on the hub")
    if self.revision and not COMMIT.fullmatch(self.revision):
      raise InputError(
        f"{where}.revision: expected a commit of 40 hex digits, got {self.revision} (a branch or tag is named in "
        f"{where}.path, as owner/name@revision)"
      )


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices along each axis. Their product is the number of devices, or 1. A run can be resumed on another mesh."""

  data: int = field(1, "Copies of the model, each with its own rows.", above=0)
  fsdp: int = field(1, "Devices that split the rows, and each weight with its moments.", above=0)
  tensor: int = field(1, "Devices that split heads, MLP features and vocabulary.", above=0)


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Training and evaluation sets."""

  train: str = field("", ".jsonl or .parquet file, or module:function() -> rows. Several are separated by commas.")
  eval: str = field("", "Held-out sets, in the form of `train`. Empty: no evaluation.")
  format: str = field("auto", "Format of the train files: auto, or an adapter of data/sources.py.")
  limit: int = field(0, "Rows to use from the start of each train set. 0: all.", at_least=0)
  eval_limit: int = field(0, "Rows to use from the start of each evaluation set. 0: all.", at_least=0)
  max_prompt_tokens: int = field(1024, "Longest prompt. Longer ones are left out and counted in the log.", above=0)
  keep: dict[str, float] = field(
    {"unsolved": 1.0, "hard": 1.0, "medium": 1.0, "easy": 1.0, "solved": 1.0, "unlabelled": 1.0},
    "Share of the train rows to keep, by difficulty label (see python -m srpo_jax.curate label). 0: none.",
    at_least=0,
  )
  max_unsolved: float = field(1.0, "Largest share of unsolved rows among the kept ones.", at_least=0)
  unread_golds: str = field(
    "drop",
    "What to do with rows whose gold answer is not read as a value. Only training drops rows: with drop, evaluation "
    "and labelling keep them.",
    choices=("drop", "keep", "refuse"),
  )

  def check(self, config: "Config", where: str) -> None:
    if not self.train:
      raise InputError(f"{where}.train: expected a file or module:function")


@dataclasses.dataclass(frozen=True)
class RolloutConfig:
  """Sampling of responses. There is no top-k and no top-p [I]."""

  prompts: int = field(256, "Prompts per step.", source="S", above=0)
  group: int = field(
    32, "Responses per prompt.", source="S", at_least=2, because="an advantage is relative to its group"
  )
  max_new_tokens: int = field(10_240, "Length limit of a response, in tokens.", source="I", above=0)
  temperature: float = field(1.0, f"Temperature, from {COLDEST:g} to {HOTTEST:g}.", source="I")
  slots: int = field(256, "Responses decoded in parallel. A multiple of mesh.data x mesh.fsdp.", above=0)
  chunk: int = field(32, "Tokens per compiled decode loop.", above=0)
  prompt_bucket: int = field(128, "Prompts are padded to multiples of this many tokens.", above=0)
  backend: str = field("jetstream", "Sampling engine.", choices=("jetstream", "inprocess"))

  def check(self, config: "Config", where: str) -> None:
    if self.temperature == 0:
      raise InputError(f"{where}.temperature: expected a positive number: a greedy policy explores nothing")
    if not is_temperature(self.temperature):
      raise InputError(f"{where}.temperature: expected {COLDEST:g} to {HOTTEST:g}, got {self.temperature:g}")
    _check_rows(self.slots, config.mesh, f"{where}.slots")


@dataclasses.dataclass(frozen=True)
class RewardConfig:
  """Reward of a response: correctness, format and language."""

  format_weight: float = field(0.1, "Weight of the format reward.", source="I", at_least=0)
  language_penalty: float = field(0.1, "Penalty for mixed languages.", source="I", at_least=0)
  validator: str = field("tags", "Required form of an answer.", choices=("tags", "json"))
  timeout_s: float = field(4.0, "Time limit for judging one response, in seconds.", above=0)
  workers: int = field(0, "Judging processes. 0: half of the cores, from 2 to 8.", at_least=0)
  judges: str = field(
    "",
    "DOMAIN=module:function(problem, response) -> Judgement, the judges of your own domains. Several are separated by "
    "commas.",
  )
  function: str = field(
    "", "module:function(request, verdict) -> Verdict, applied after the built-in reward. Empty: none.", plugin=True
  )

  def check(self, config: "Config", where: str) -> None:
    if self.format_weight + self.language_penalty >= 1:
      raise InputError(
        f"{where}.format_weight: expected format_weight + language_penalty below 1, so that a correct response "
        f"outranks any wrong one, got {self.format_weight:g} + {self.language_penalty:g}"
      )
    try:
      check_judges(self.judges)
    except InputError as error:
      raise InputError(f"{where}.judges: {error}") from None


@dataclasses.dataclass(frozen=True)
class SandboxConfig:
  """Sandbox for programs that the policy writes."""

  min_tier: str = field(
    "bubblewrap", "Weakest acceptable isolation.", choices=("namespaces", "bubblewrap", "landlock", "unsafe")
  )
  slots: int = field(0, "Programs run in parallel. 0: one per core.", at_least=0)
  timeout_s: float = field(
    8.0, "Limit of one test in seconds of processor time, and five times as much by the clock.", above=0
  )
  response_timeout_s: float = field(
    60.0, "Limit of all tests of a response, in the same seconds as timeout_s.", above=0
  )
  stop_at_failure: bool = field(False, "End at the first failed test. A failed response then has no pass_fraction.")
  memory_mb: int = field(1024, "Address-space limit of one execution, in MiB.", above=0)
  packages: str = field(
    "", "Packages that programs may import besides the standard library, comma-separated. Empty: none."
  )


@dataclasses.dataclass(frozen=True)
class AdvantageConfig:
  """Advantage of a response within its group."""

  scale: str | float = field(
    "std", "Divisor of the advantage. A number is a lower bound of the std.", choices=("std", "none"), at_least=0
  )
  function: str = field(
    "", "module:function(rewards, judged, truncated) -> advantages, used instead. Empty: none.", plugin=True
  )


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """Policy loss."""

  clip_low: float = field(0.2, "Lower clip range of the ratio.", at_least=0, below=1)
  clip_high: float = field(0.2, "Upper clip range of the ratio.", at_least=0)
  importance_cap: float = field(
    0.0, "Cap of the ratio of the trainer's to the sampler's probability. 0: off.", at_least=0
  )
  updates: int = field(1, "Optimizer steps per rollout batch. 1 is strictly on policy.", source="I", above=0)
  function: str = field(
    "",
    "module:function(LossInputs) -> LossOutputs, used instead. It ignores the clip ranges. Empty: none.",
    plugin=True,
  )

  def check(self, config: "Config", where: str) -> None:
    if self.function and self.importance_cap:
      raise InputError(
        f"{where}.importance_cap: expected 0 with loss.function, which has its own weights, got {self.importance_cap}"
      )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """AdamW."""

  learning_rate: float = field(1e-6, "Learning rate, constant.", source="S", above=0)
  b1: float = field(0.9, "Decay of the first moment.", source="S", at_least=0, below=1)
  b2: float = field(0.95, "Decay of the second moment.", source="S", at_least=0, below=1)
  eps: float = field(1e-8, "Constant added to the denominator.", above=0)
  weight_decay: float = field(0.0, "Weight decay.", source="I", at_least=0)
  clip_norm: float = field(1.0, "Limit of the gradient's global norm. 0: no clipping.", source="I", at_least=0)


@dataclasses.dataclass(frozen=True)
class HistoryConfig:
  """Use of earlier outcomes."""

  mode: str = field(
    "srpo",
    "srpo: all-correct prompts are retired at the end of an epoch. none: every epoch visits all prompts.",
    choices=("srpo", "none"),
  )
  dynamic_sampling: bool = field(False, "DAPO: sampling continues until the batch is full of mixed groups.")


@dataclasses.dataclass(frozen=True)
class StageConfig:
  """A stage ends at the first of its end conditions. An empty `mix` means all domains, by number of prompts."""

  mix: dict[str, float] = field({}, "Share of the batch by domain, after the ramp.", at_least=0)
  start: dict[str, float] = field({}, "Share by domain at the stage's first step. Empty: no ramp.", at_least=0)
  ramp: int = field(0, "Steps from `start` to `mix`.", at_least=0)
  max_new_tokens: int = field(0, "Length limit of a response. 0: rollout.max_new_tokens.", at_least=0)
  steps: int = field(0, "End after this many steps of the stage. 0: no limit.", at_least=0)
  epochs: int = field(0, "End after each domain has finished this many epochs in total. 0: no limit.", at_least=0)
  plateau: str = field(
    "",
    "End when this measure stops rising. `reward` counts retired prompts as solved. Empty: never.",
    choices=("heldout", "reward", ""),
  )
  plateau_window: int = field(1, "Epochs per averaged window.", at_least=0)
  plateau_gain: float = field(
    0.01, "Smallest gain over the best earlier window that counts as progress.", source="I", at_least=0
  )
  plateau_patience: int = field(2, "Windows without progress before the stage ends.", source="I", at_least=0)
  restore_retired: bool = field(False, "Restoration of the prompts that earlier stages retired.")

  def check(self, config: "Config", where: str) -> None:
    for name, parts in (("mix", self.mix), ("start", self.start)):
      if parts and abs(sum(parts.values()) - 1) > 1e-6:
        raise InputError(f"{where}.{name}: expected shares that sum to 1, got {parts}")
    if bool(self.start) != bool(self.ramp) or (self.start and not self.mix):
      raise InputError(f"{where}.ramp: expected start, ramp and mix together, or neither start nor ramp")
    most = config.rollout.max_new_tokens
    if self.max_new_tokens > most:
      raise InputError(f"{where}.max_new_tokens: {self.max_new_tokens}, above config.rollout.max_new_tokens, {most}")
    if self.plateau and not (self.plateau_window and self.plateau_patience):
      raise InputError(f"{where}.plateau_window: expected this and plateau_patience to be positive numbers")
    if self.plateau == "heldout" and not (config.data.eval and config.eval.every):
      raise InputError(f"{where}.plateau: heldout needs config.data.eval and config.eval.every")
    last = list(config.stages)[-1] == where.rpartition(".")[2]
    run_ends = config.train.steps or config.train.epochs or config.train.rollouts
    if not (self.steps or self.epochs or self.plateau) and not (last and run_ends):
      raise InputError(f"{where}.steps: no end: expected steps, epochs or a plateau here, or, for the last stage, an "
                       "end of the run in config.train.steps, epochs or rollouts")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """Length of the run, and batch shapes of the update."""

  seed: int = field(0, "Seed of all random numbers.", at_least=0)
  stage: int = field(1, "Number of the first stage in the files.", above=0)
  steps: int = field(0, "Steps of the run. 0: no limit.", at_least=0)
  epochs: int = field(0, "Epochs of each domain of the stage before the run ends. 0: no limit.", at_least=0)
  rollouts: int = field(0, "Rollouts of the run. 0: no limit.", at_least=0)
  micro_batch: int = field(
    64,
    "Responses, or packed rows, whose activations exist at once. A multiple of mesh.data x mesh.fsdp.",
    above=0,
  )
  length_bucket: int = field(512, "Rows are padded to multiples of this many tokens.", above=0)
  pack_tokens: int = field(
    0, "Tokens of a row that holds several responses. All rows have one shape. 0: one response per row.", at_least=0
  )
  head_chunk: int = field(64, "Response tokens of a row whose logits exist at once.", above=0)
  share_prompts: bool = field(
    True,
    "The update computes a prompt once for the responses of a row. TPU and GPU kernels repeat it for each response.",
  )
  skip_zero_advantage: bool = field(
    False, "Responses with zero advantage skip the update's forward pass, but count in the loss's denominator."
  )

  def check(self, config: "Config", where: str) -> None:
    _check_rows(self.micro_batch, config.mesh, f"{where}.micro_batch")
    longest = config.data.max_prompt_tokens + config.rollout.max_new_tokens
    if self.pack_tokens and self.pack_tokens < longest:
      raise InputError(
        f"{where}.pack_tokens: expected 0, or at least data.max_prompt_tokens + rollout.max_new_tokens, {longest}, "
        f"got {self.pack_tokens}"
      )


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """Evaluation during training."""

  every: int = field(0, "Steps between evaluations. 0: never.", at_least=0)
  samples: int = field(1, "Responses per problem, at temperature 1.", above=0)
  greedy: bool = field(True, "Greedy accuracy beside pass@1. It takes as long as one more sample.")


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
  """Checkpoints. One is always saved at the end."""

  every: int = field(10, "Steps between checkpoints.", above=0)
  keep: int = field(2, "Newest checkpoints to keep.", above=0)
  keep_every: int = field(0, "Interval in steps of checkpoints to keep besides the newest. 0: none.", at_least=0)


@dataclasses.dataclass(frozen=True)
class LogConfig:
  """Log and progress."""

  every: int = field(1, "Steps between log lines. The files record every step.", above=0)
  tensorboard: bool = field(True, "TensorBoard files.")
  progress: bool = field(True, "Progress bar.")


@dataclasses.dataclass(frozen=True)
class Config:
  """Configuration of a run."""

  model: ModelConfig = ModelConfig()
  mesh: MeshConfig = MeshConfig()
  data: DataConfig = DataConfig()
  prompt: PromptConfig = dataclasses.field(default_factory=PromptConfig)
  rollout: RolloutConfig = RolloutConfig()
  reward: RewardConfig = RewardConfig()
  sandbox: SandboxConfig = SandboxConfig()
  advantage: AdvantageConfig = AdvantageConfig()
  loss: LossConfig = LossConfig()
  optimizer: OptimizerConfig = OptimizerConfig()
  history: HistoryConfig = HistoryConfig()
  train: TrainConfig = TrainConfig()
  eval: EvalConfig = EvalConfig()
  checkpoint: CheckpointConfig = CheckpointConfig()
  log: LogConfig = LogConfig()
  stages: dict[str, StageConfig] = field({"stage1": StageConfig()}, "Stages, run in the order of their names.")
  init_from: str = field(
    "", "Workdir whose last checkpoint the run continues from, with its history. Empty: the base model."
  )

  def check(self, config: "Config", where: str) -> None:
    if not self.stages:
      raise InputError(f"{where}.stages: expected at least one stage")
    self.prompt.check_domains((*BUILT_IN_DOMAINS, *parse_judges(self.reward.judges)), f"{where}.prompt")


def make_config(raw: ConfigDict | dict[str, Any]) -> Config:
  """Returns the checked configuration.

  Raises:
    InputError: a field is unknown, missing, of the wrong type, or out of range. The message names it.
  """
  raw = raw.to_dict() if isinstance(raw, ConfigDict) else raw
  return fields.make(Config, gather_instructions(current_config(raw)), "config")


def is_temperature(value: float) -> bool:
  """Returns True if a value is one of TEMPERATURES. NaN is not."""
  return value == 0 or COLDEST <= value <= HOTTEST


def flatten(config: Config | dict[str, Any]) -> dict[str, Any]:
  """Returns 'section.field' -> value."""
  flat: dict[str, Any] = {}
  for name, value in (dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config).items():
    below = flatten(value) if isinstance(value, dict) else None
    flat |= {name: value} if below is None else {f"{name}.{inner}": item for inner, item in below.items()}
  return flat


def to_json(config: Config) -> str:
  """Returns the text of a run's config.json."""
  return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def read_config(file: Path, overrides: Sequence[str] = ()) -> Config:
  """Returns the config in a workdir's config.json, with `--config.section.field=value` overrides applied.

  An older config.json may lack fields and use old names. A missing field keeps its old behaviour.

  Raises:
    InputError: there is no such file, `make_config` refuses the config, or an override names an unknown field.
  """
  if not file.is_file():
    raise InputError(f"{file}: no such file, expected the config.json of a run")
  values = gather_instructions(current_config(read_json(file)))
  config = make_config(fields.complete(Config, values))
  return make_config(override(dataclasses.asdict(config), overrides)) if overrides else config


def check_same_run(config: Config, file: Path) -> None:
  """Checks that a run can be resumed under a config.

  Args:
    file: config.json of the run.

  Raises:
    InputError: fields that must not change differ. The message names each of them with both values.
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


def _check_rows(value: int, mesh: MeshConfig, where: str) -> None:
  ways = mesh.data * mesh.fsdp
  if value % ways:
    raise InputError(f"{where}: expected a multiple of mesh.data x mesh.fsdp, {ways}, got {value}")
