"""Runs an evaluation: samples and judges the problems that are left, and writes the results."""

import contextlib
import dataclasses
import datetime
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from srpo_jax.config import Config
from srpo_jax.data.digests import rows_digest
from srpo_jax.data.labelling.settings import JUDGED_BY, config_settings
from srpo_jax.data.prompt_set import PromptSet
from srpo_jax.evaluation.results import figures, markdown
from srpo_jax.evaluation.samples import SetSamples, opened
from srpo_jax.evaluation.sets import EvalSet
from srpo_jax.evaluation.votes import Same, votes
from srpo_jax.model.sampling import Purpose
from srpo_jax.model.sharding import make_mesh, on_mesh
from srpo_jax.rewards.benchmark_rules import stated
from srpo_jax.rollout.collector import Group, RolloutSampler, response_rows
from srpo_jax.rollout.model_files import read_model_files
from srpo_jax.rollout.policy import Policy
from srpo_jax.training.build import build_prompt_set, build_renderer, build_sampler, build_scorer, check_prompts
from srpo_jax.types import Problem
from srpo_jax.utils.jsonl import read_json, replaced
from srpo_jax.utils.text import storable

# Config fields that the samples depend on.
SETTINGS = (
  "model.param_dtype",
  "model.dtype",
  "data.max_prompt_tokens",
  "rollout.max_new_tokens",
  "rollout.slots",
  "rollout.prompt_bucket",
  "reward.format_weight",
  "reward.language_penalty",
  *JUDGED_BY,
  "train.seed",
)
SLOTS_FULL = 4  # times that a batch fills the slots: a kill loses little, and the slots stay busy


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Sampling settings of an evaluation that are not in the config."""

  samples: int  # responses to each problem
  temperature: float  # 0 is greedy
  top_p: float
  batch_problems: int  # number of problems sampled together
  code_rules: str = "training"  # of programs: "benchmark" takes each benchmark's own where they are known


def batch_size(slots: int, samples: int) -> int:
  """Returns the default number of problems sampled together."""
  return -(-SLOTS_FULL * slots // samples)


def evaluate(config: Config, policy: Policy, sets: Sequence[EvalSet], sampling: Sampling, out: Path) -> dict[str, Any]:
  """Runs an evaluation, or resumes one that was stopped. Returns the content of OUT/results.json.

  Raises:
    InputError: a row, a tokenizer or a mesh that does not fit, or a folder with other settings.
  """
  mesh = make_mesh(**dataclasses.asdict(config.mesh))
  check_prompts(config, [set_.problems for set_ in sets])
  settings = _settings(config, policy, sampling)
  with contextlib.ExitStack() as stack:
    scorer = stack.enter_context(build_scorer(config, by_benchmark=sampling.code_rules == "benchmark"))
    stack.enter_context(on_mesh(mesh))
    model = read_model_files(policy.folder, config.prompt.eos)
    renderer = build_renderer(config, model.tokenizer)
    prompts = [build_prompt_set(config, s.name, s.problems, scorer, renderer, selection=None) for s in sets]
    sampler = build_sampler(config, model, scorer, prompts, top_p=sampling.top_p, show=config.log.progress)
    stack.enter_context(opened(out, settings))
    stores = [_store(out, set_, of_set, sampling) for set_, of_set in zip(sets, prompts, strict=True)]
    _sample(config, policy, sampler, prompts, stores, sampling)
    found = {}
    for set_, of_set, store in zip(sets, prompts, stores, strict=True):
      left_out = [{"row": row, "why": why} for row, why in sorted(of_set.refused.items())]
      origin = {"place": set_.place, "from": _iso(set_.window.first), "to": _iso(set_.window.last)}
      rules = code_rules(set_.problems, sampling)
      found[set_.name] = figures(store.finish(), sampling.samples) | origin | rules | {"left_out": left_out}
    return _write(out, _about(config, policy, sampling), found)


def code_rules(problems: Sequence[Problem], sampling: Sampling) -> dict[str, Any]:
  """Returns the rules for the programs of a set, as {"code_rules": benchmark -> rules in words}, or nothing.

  A set without code has none. Tests of no known benchmark are judged by the rules of training.
  """
  names = {str((problem.tests or {}).get("benchmark", "")) for problem in problems if problem.domain == "code"}
  if sampling.code_rules == "training":
    names = {""} if names else set()
  return {"code_rules": {name or "training": stated(name) for name in sorted(names)}} if names else {}


def _iso(day: datetime.date | None) -> str | None:
  return None if day is None else day.isoformat()


def _settings(config: Config, policy: Policy, sampling: Sampling) -> dict[str, Any]:
  """Returns the settings that every sample depends on."""
  values = {"model": policy.digest, "step": policy.step}
  shared = {name: value for name, value in dataclasses.asdict(sampling).items() if name != "code_rules"}
  values |= {f"--{name.replace('_', '-')}": value for name, value in shared.items()}
  return values | config_settings(config, SETTINGS)


def _store(out: Path, set_: EvalSet, prompts: PromptSet, sampling: Sampling) -> SetSamples:
  problems = [set_.problems[row] for row in prompts.record.values()]
  levels = hashlib.sha256(json.dumps([problem.difficulty for problem in problems]).encode()).hexdigest()
  settings = {"problems": len(problems), "rows": rows_digest(problems), "difficulties": levels}
  settings |= code_rules(problems, sampling)
  return SetSamples(
    out, set_.name, problems=len(problems), batch=sampling.batch_problems, samples=sampling.samples, settings=settings
  )


def _sample(
  config: Config,
  policy: Policy,
  sampler: RolloutSampler,
  prompts: Sequence[PromptSet],
  stores: Sequence[SetSamples],
  sampling: Sampling,
) -> None:
  """Samples the problems of every set that are left. Loads the weights only if there are any."""
  left = [store.left() for store in stores]
  todo = sum(len(problems) for of_set in left for problems in of_set)
  if not todo:
    return
  params = sampler.engine.load_params(policy.load(config))
  total = sum(map(len, prompts))
  with tqdm(
    total=total, initial=total - todo, unit="problem", dynamic_ncols=True, disable=not config.log.progress
  ) as bar:
    for of_set, store, batches in zip(prompts, stores, left, strict=True):
      ids, correct, seen = list(of_set), 0, 0
      for problems in batches:
        bar.set_description(of_set.name, refresh=True)
        groups, _ = sampler.collect(
          params,
          [of_set[ids[i]] for i in problems],
          step=policy.step,
          purpose=Purpose.EVAL,
          samples=sampling.samples,
          temperature=sampling.temperature,
          max_new_tokens=config.rollout.max_new_tokens,
        )
        same = sampler.scorer.same_answers
        rows = [row for group in groups for row in _rows(of_set.name, group, config.reward.validator, same)]
        store.add(problems, rows)
        correct, seen = correct + sum(row["correct"] == 1 for row in rows), seen + len(rows)
        bar.set_postfix({"pass@1": f"{correct / seen:.3f}"}, refresh=False)
        bar.update(len(problems))


def _rows(name: str, group: Group, validator: str, same: Same) -> Iterator[dict[str, Any]]:
  """Yields one row of samples.SCHEMA for each response of a group."""
  problem, silent = group.prompt.problem, [None] * len(group.rollouts)
  answers, cast = votes(group, validator, same) if problem.domain == "math" else (silent, silent)
  for response, answer, vote in zip(response_rows(group), answers, cast, strict=True):
    yield {
      "set": name,
      "prompt_id": problem.id,
      "domain": problem.domain,
      "difficulty": problem.difficulty,
      **response,
      "gold": problem.answer,
      "answer": None if answer is None else storable(answer),
      "vote": vote,
    }


def _about(config: Config, policy: Policy, sampling: Sampling) -> dict[str, Any]:
  return {
    "policy": str(policy.run or policy.folder),
    "step": policy.step if policy.run else None,
    "samples": sampling.samples,
    "temperature": sampling.temperature,
    "top_p": sampling.top_p,
    "max_new_tokens": config.rollout.max_new_tokens,
    "seed": config.train.seed,
  }


def _write(out: Path, about: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
  """Writes both files of results. They keep the sets that were evaluated earlier with the same settings."""
  file = out / "results.json"
  before = read_json(file).get("sets", {}) if file.is_file() else {}
  sets = found | {name: of_set for name, of_set in before.items() if name not in found}
  results = about | {"sets": sets}
  with replaced(file) as stream:
    stream.write(json.dumps(results, indent=2, allow_nan=False) + "\n")
  with replaced(out / "results.md") as stream:
    stream.write(markdown({name: value for name, value in about.items() if value is not None}, sets))
  return results
