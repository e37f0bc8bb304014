"""Builds the parts of a run from its config: config -> data, rewards, sampler, learner, schedule."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from srpo_jax.algorithm.advantages import group_advantages
from srpo_jax.config import Config, flatten
from srpo_jax.data.dataset import SetProblems, column, open_problem_sets, set_name
from srpo_jax.data.encoded import Prompt
from srpo_jax.data.prompt_examples import read_examples
from srpo_jax.data.prompt_form import check_form
from srpo_jax.data.prompt_renderer import PromptRenderer
from srpo_jax.data.prompt_set import PromptSet, PromptSets, Selection
from srpo_jax.data.prompts import read_template
from srpo_jax.model import hf
from srpo_jax.model.files import WEIGHTS, companion_names
from srpo_jax.model.folder import model_folder
from srpo_jax.model.sharding import make_mesh, on_mesh, param_shardings
from srpo_jax.model.transformer import Params, TransformerConfig
from srpo_jax.rewards.pool import default_workers
from srpo_jax.rewards.scorer import Scorer
from srpo_jax.rewards.user_judge import parse_judges
from srpo_jax.rollout.collector import RolloutSampler
from srpo_jax.rollout.engine import InProcessEngine
from srpo_jax.rollout.model_files import ModelFiles, read_model_files
from srpo_jax.rollout.policy import Policy, of_folder, of_run
from srpo_jax.sandbox.client import SandboxOptions
from srpo_jax.training.learner import Learner, LearnerOptions, make_optimizer
from srpo_jax.training.schedule import Schedule
from srpo_jax.training.user_loss import load_loss
from srpo_jax.types import Problem, ScoreRequest
from srpo_jax.utils import processes
from srpo_jax.utils.digests import files_digest
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.fields import names
from srpo_jax.utils.paths import as_path
from srpo_jax.utils.plugins import reads, resolve_callable
from srpo_jax.utils.preemption import PreemptionSignal
from srpo_jax.utils.rounding import round_up

LIBRARIES = ("jax", "jaxlib", "flax", "numpy", "optax", "orbax-checkpoint", "transformers", "math-verify", "mpmath")

Advantage = Callable[..., np.ndarray]  # (rewards, judged, truncated) -> advantages, all [prompt, sample]


@dataclasses.dataclass(frozen=True)
class Inputs:
  """The data sets and the mesh that a config names.

  Attributes:
    heldout: held-out sets. Empty if the run does not evaluate.
    mesh: device mesh. None for a single device.
  """

  train: Sequence[SetProblems]
  heldout: Sequence[SetProblems]
  mesh: Mesh | None


@dataclasses.dataclass(frozen=True)
class Parts:
  """The parts of a training run.

  Attributes:
    model: files of the base model.
    prompts: prompts of the training sets.
    heldout: name of a held-out set -> its prompts.
    evaluator: sampler for the held-out prompts. It is `sampler` itself if they fit into its cache.
  """

  mesh: Mesh | None
  model: ModelFiles
  renderer: PromptRenderer
  prompts: PromptSets
  heldout: Mapping[str, Sequence[Prompt]]
  schedule: Schedule
  sampler: RolloutSampler
  evaluator: RolloutSampler
  learner: Learner
  advantage: Advantage


def build(
  config: Config,
  find_base: Callable[[], Path],
  opened: contextlib.ExitStack,
  signal: PreemptionSignal | None = None,
) -> tuple[Parts, Params | None]:
  """Turns a config into the parts of a run, and loads the base's weights. All processes must call it together.

  Args:
    find_base: returns the base's folder. The writer calls it before the other processes do.
    opened: closes the parts that need closing, also if a later part fails. It enters the run's mesh.
    signal: preemption signal, checked while sampling. None: signals are not checked.

  Returns:
    the parts, and the base's parameters laid out over the mesh. Parameters are None for a run that continues another
    run (`init_from`).

  Raises:
    InputError: the config or its data cannot be used for a run. If one process raises it, all do.
  """
  inputs = processes.agreed(lambda: open_inputs(config, heldout=bool(config.eval.every)))
  scorer = processes.agreed(lambda: opened.enter_context(build_scorer(config)))
  folder = processes.writer_first(find_base)
  parts, params, facts = processes.agreed(lambda: _build_parts(config, inputs, scorer, folder, opened, signal))
  processes.check_same(facts)
  return parts, params


def _build_parts(
  config: Config,
  inputs: Inputs,
  scorer: Scorer,
  folder: Path,
  opened: contextlib.ExitStack,
  signal: PreemptionSignal | None,
) -> tuple[Parts, Params | None, dict[str, str]]:
  """Builds everything that depends on the base's folder; also returns the facts that all processes must share."""
  model = read_model_files(folder, config.prompt.eos)
  renderer = build_renderer(config, model.tokenizer)
  prompts, heldout = build_prompt_sets(config, inputs, scorer, renderer)
  sets = (*prompts.sets, *heldout)
  model.check_vocabulary(sets)
  opened.enter_context(on_mesh(inputs.mesh))
  if inputs.mesh is None and jax.device_count() > 1:
    logging.warning("config.mesh names one device: the other %d are not used", jax.device_count() - 1)
  params = None if config.init_from else load_params(config, model, inputs.mesh)
  schedule = Schedule(config, prompts.domains())
  sampler = build_sampler(config, model, scorer, prompts.sets, show=shows_progress(config), signal=signal)
  parts = Parts(
    mesh=inputs.mesh,
    model=model,
    renderer=renderer,
    prompts=prompts,
    heldout={set_name(set_.name): list(set_.values()) for set_ in heldout},
    schedule=schedule,
    sampler=sampler,
    evaluator=_build_evaluator(config, sampler, model, heldout),
    learner=build_learner(config, model.config),
    advantage=build_advantage(config),
  )
  return parts, params, facts(config, folder, sets) if processes.count() > 1 else {}


def _build_evaluator(
  config: Config, sampler: RolloutSampler, model: ModelFiles, heldout: Sequence[PromptSet]
) -> RolloutSampler:
  """Returns the training sampler, or a separate one if a held-out prompt is longer than all training prompts.

  The training sampler's cache does not grow for such prompts, because sums over a larger cache round differently.
  """
  if max((set_.longest for set_ in heldout), default=0) <= sampler.engine.max_prompt:
    return sampler
  return build_sampler(config, model, sampler.scorer, heldout, show=sampler.show, signal=sampler.signal)


def open_inputs(config: Config, *, heldout: bool) -> Inputs:
  """Opens the data sets and makes the mesh. It comes first, so that a user's mistakes are reported early.

  Args:
    heldout: also opens the held-out sets.

  Raises:
    InputError: the mesh does not fit the devices, a set or a file of the prompt cannot be read, two held-out sets have
      the same name, or a prompt asks for another form than the validator wants.
  """
  data = config.data
  mesh = make_mesh(**dataclasses.asdict(config.mesh))
  train = open_problem_sets(data.train, format=data.format, limit=data.limit)
  held = open_problem_sets(data.eval, limit=data.eval_limit) if heldout else []
  if len({set_name(spec) for spec, _ in held}) < len(held):
    raise InputError(f"config.data.eval: {data.eval}: two sets of one name, expected each name once")
  check_prompts(config, [problems for _, problems in (*train, *held)])
  return Inputs(train, held, mesh)


def check_prompts(config: Config, sets: Iterable[Sequence[Problem]]) -> None:
  """Checks the texts of the prompts of some sets, before a model is made or loaded.

  Raises:
    InputError: a file of the prompt cannot be read, or a prompt asks for another form than the validator wants.
  """
  domains = dict.fromkeys(domain for problems in sets for domain in column(problems, "domain"))
  check_form(config.prompt, prompt_files(config)["template"], config.reward.validator, domains)


def build_prompt_sets(
  config: Config, inputs: Inputs, scorer: Scorer, renderer: PromptRenderer
) -> tuple[PromptSets, list[PromptSet]]:
  """Returns the usable prompts of the training sets, selected by difficulty, and those of the held-out sets."""
  selection = Selection(config.data.keep, config.data.max_unsolved, config.train.seed)
  train = [build_prompt_set(config, *set_, scorer, renderer, selection) for set_ in inputs.train]
  heldout = [build_prompt_set(config, *set_, scorer, renderer, None) for set_ in inputs.heldout]
  return PromptSets(train), heldout


def build_prompt_set(
  config: Config,
  spec: str,
  problems: Sequence[Problem],
  scorer: Scorer,
  renderer: PromptRenderer,
  selection: Selection | None,
) -> PromptSet:
  """Returns the prompts of the usable problems.

  Args:
    selection: choice of training rows by difficulty. None: the rows are not for training.

  Raises:
    InputError: as `PromptSet` does.
  """

  def check(problem: Problem) -> None:
    scorer.check(ScoreRequest(problem.id, "", "", True, problem.domain, problem.answer, problem.tests, problem))

  return PromptSet(
    spec,
    problems,
    render=renderer,
    max_tokens=config.data.max_prompt_tokens,
    check=check,
    packages=names(config.sandbox.packages),
    selection=selection,
    unread_golds=unread_golds_rule(config.data.unread_golds, training=selection is not None),
  )


def unread_golds_rule(configured: str, *, training: bool) -> str:
  """Returns what to do with rows whose gold answer is not read. Only training drops rows, so that scores count all."""
  return "keep" if configured == "drop" and not training else configured


def build_renderer(config: Config, tokenizer: Any) -> PromptRenderer:
  """Returns the function that makes prompts.

  Raises:
    InputError: the template or the examples cannot be read, or the settings do not fit the tokenizer.
  """
  fields = vars(config.prompt) | prompt_files(config)
  return PromptRenderer(tokenizer, **fields)


def prompt_files(config: Config) -> dict[str, Any]:
  """Returns the user's template and the examples that the config names, with InputError if they cannot be used."""
  p = config.prompt
  template = read_template(p.template) if p.template else ""
  return {"template": template, "examples": read_examples(p.examples, config.reward.validator)}


def build_scorer(config: Config, *, by_benchmark: bool = False) -> Scorer:
  """Returns the rewards: a pool of worker processes, to be used as a context manager.

  Args:
    config: the config of the run.
    by_benchmark: judge the code of known benchmarks by their own rules instead of those of training.

  Raises:
    InputError: the reward function needs a `pass_fraction` that failed responses do not have.
  """
  function = resolve_callable(config.reward.function) if config.reward.function else None
  if config.sandbox.stop_at_failure and function is not None and reads(function, "pass_fraction"):
    raise InputError(
      f"config.sandbox.stop_at_failure: expected False, because reward.function {config.reward.function} reads "
      "pass_fraction"
    )
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
      response_timeout_s=config.sandbox.response_timeout_s,
      memory_mb=config.sandbox.memory_mb,
      packages=names(config.sandbox.packages),
    ),
    judges=parse_judges(config.reward.judges),
    function=function,
    by_benchmark=by_benchmark,
    stop_at_failure=config.sandbox.stop_at_failure,
  )


def build_engine(
  config: Config, model_config: TransformerConfig, *, max_prompt: int, stops: tuple[int, ...], top_p: float = 1.0
) -> InProcessEngine:
  """Returns the engine for the config's backend, for prompts of up to `max_prompt` tokens."""
  engine_type = InProcessEngine
  if config.rollout.backend == "jetstream":
    from srpo_jax.rollout.jetstream_engine import JetStreamEngine  # imported late because it imports TensorFlow

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


def build_sampler(
  config: Config,
  model: ModelFiles,
  scorer: Scorer,
  sets: Sequence[PromptSet],
  *,
  top_p: float = 1.0,
  show: bool = False,
  signal: PreemptionSignal | None = None,
) -> RolloutSampler:
  """Returns the sampler with rewards for the prompts of `sets`. Training, evaluation and labelling use it.

  Raises:
    InputError: the tokenizer does not fit the model.
  """
  model.check_vocabulary(sets)
  longest = max(set_.longest for set_ in sets)
  return RolloutSampler(
    build_engine(config, model.config, max_prompt=longest, stops=model.stop_tokens, top_p=top_p),
    scorer,
    model.tokenizer,
    model.stop_tokens,
    config.rollout.prompt_bucket,
    config.train.seed,
    show=show,
    signal=signal,
  )


def build_learner(config: Config, model_config: TransformerConfig) -> Learner:
  """Returns the compiled programs of the update for a model."""
  optimizer = make_optimizer(**dataclasses.asdict(config.optimizer))
  options = LearnerOptions(
    dtype=jnp.dtype(config.model.dtype),
    remat=config.model.remat,
    head_chunk=config.train.head_chunk,
    temperature=config.rollout.temperature,
    clip_low=config.loss.clip_low,
    clip_high=config.loss.clip_high,
    importance_cap=config.loss.importance_cap,
    on_policy=config.loss.updates == 1,
    loss=load_loss(config.loss.function, skip_zero_advantage=config.train.skip_zero_advantage)
    if config.loss.function
    else None,
  )
  return Learner(model_config, optimizer, options)


def build_advantage(config: Config) -> Advantage:
  """Returns the paper's advantage function, or the user's. Raises InputError if the user's cannot be imported."""
  a = config.advantage
  return resolve_callable(a.function) if a.function else functools.partial(group_advantages, scale=a.scale)


def base_folder(config: Config) -> Path:
  """Returns the base model's folder: `model.path`, or the one that `model.build` makes.

  Raises:
    InputError: there is no such model, `model.build` cannot be imported, or `model.build_args` do not fit it.
  """
  if config.model.path:
    return model_folder(config.model.path, config.model.revision)
  make = resolve_callable(config.model.build)
  try:
    inspect.signature(make).bind(**config.model.build_args)
  except TypeError as error:
    raise InputError(f"config.model.build_args: do not fit {config.model.build}: {error}") from None
  return Path(make(**config.model.build_args))


def starting_policy(config: Config) -> Policy:
  """Returns the policy that a run starts from: a base model, or the last checkpoint of another run."""
  return of_run(as_path(config.init_from), None) if config.init_from else of_folder(base_folder(config))


def load_params(config: Config, model: ModelFiles, mesh: Mesh | None) -> Params:
  """Loads a base model's weights, laid out over the mesh."""
  shardings = param_shardings(param_shapes(config, model), mesh) if mesh else None
  return hf.load_params(model.folder, model.config, jnp.dtype(config.model.param_dtype), shardings=shardings)


def param_shapes(config: Config, model: ModelFiles) -> Params:
  """Returns the shapes of the trained parameters."""
  return hf.param_shapes(model.config, jnp.dtype(config.model.param_dtype))


def shows_progress(config: Config) -> bool:
  """Returns True if this process draws progress bars."""
  return config.log.progress and processes.is_writer()


def facts(config: Config, folder: Path, sets: Sequence[PromptSet]) -> dict[str, str]:
  """Returns facts that must be equal on all processes, by name: config, data, base model and library versions."""
  found = {f"config.{name}": repr(value) for name, value in flatten(config).items()}
  for set_ in sets:
    found |= {f"{set_.name}: digest of its {domain} rows": digest for domain, digest in set_.digests.items()}
  for name in sorted([*companion_names(folder), *(file.name for file in folder.glob(f"*{WEIGHTS}"))]):
    found[f"{name} of the base: digest"] = files_digest([folder / name])  # the folder may differ between hosts
  sources = Path(__file__).parents[1]
  digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(sources.rglob("*.py"))))
  found["srpo_jax: digest of its sources"] = digest.hexdigest()[:16]
  return found | {f"version of {name}": importlib.metadata.version(name) for name in LIBRARIES}
