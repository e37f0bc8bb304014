"""Evaluates a policy on sets of problems, with the sampler and the rewards of training.

    python -m srpo_jax.evaluate --model DIR --sets aime24,math500,gsm8k,humaneval,mbpp,lcb --samples 32
    python -m srpo_jax.evaluate --workdir DIR [--step N] --sets aime24,heldout.jsonl

A set is a short name (those above, and amc23), looked for as NAME.jsonl, .json, .parquet .. in --data and then on the
hub; or a file (.gz too), a folder of records or as downloaded from the hub (its split test), module:function, or
OWNER/NAME[:SUBSET[:SPLIT]] on the hub. --from and --to choose among
LiveCodeBench's rows by contest date, both days included; sets without dates are taken whole.

Temperature, top-p and the length limit are evaluation's own. By default tokens are drawn as in training (temperature 1,
from the whole distribution), so that pass@1, the mean over all samples, is that of the policy which is trained, and of
a run's held-out sets the figure in its eval.jsonl. DeepSeek-R1 reports --temperature 0.6 --top-p 0.95.

    OUT/results.json          for each set pass@k, majority@k (mathematics), format and truncation rates, mean length,
                              the same by level, each with a 95 % bootstrap interval over problems; where the set
                              was found, its window of dates, and the rows that were left out
    OUT/results.md            the same as tables
    OUT/samples/SET.parquet   every response with its tokens, verdict and the checker's reason

Started again it goes on where it was stopped, to the same bytes; other settings are refused. More sets may be added to
the same OUT. Prompt, types, rewards and sandbox are those of the run, or of --config; fields of either are set by
--config.section.field=value. It runs on the devices of one host, laid out by config.mesh.
"""

import argparse
import dataclasses
import datetime
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srpo_jax.cli.policy_flags import add_policy, check_policy, find_policy, policy_config
from srpo_jax.config import TEMPERATURES, Config, is_temperature
from srpo_jax.utils.errors import ArgumentParser, InputError, run_cli
from srpo_jax.utils.fields import names
from srpo_jax.utils.logs import start_logging
from srpo_jax.utils.paths import is_local


def main(args: Sequence[str]) -> None:
  """Evaluates as the command line says, and prints the tables."""
  options, overrides = _options(args)
  config = _config(options, overrides)
  # Imported late: a wrong option is told at once.
  from srpo_jax.evaluation.evaluation import Sampling, batch_size, evaluate
  from srpo_jax.evaluation.samples import check_folder
  from srpo_jax.evaluation.sets import Window, open_sets
  from srpo_jax.utils.cache import enable_compilation_cache

  start_logging()
  enable_compilation_cache()
  policy = find_policy(options)
  out = options.out or _default_out(options, policy.step)
  check_folder(out)
  window = Window(options.first, options.last)
  sets = open_sets(names(options.sets), options.data, limit=options.limit, window=window)
  batch = options.batch_problems or batch_size(config.rollout.slots, options.samples)
  evaluate(config, policy, sets, Sampling(options.samples, options.temperature, options.top_p, batch), out)
  print((out / "results.md").read_text() + f"\n{out / 'results.json'}")


def _options(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
  parser = ArgumentParser(
    prog="python -m srpo_jax.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )  # fmt: skip
  add_policy(parser)
  parser.add_argument("--sets", required=True, help="with commas between")
  parser.add_argument("--data", type=Path, default=os.environ.get("SRPO_DATA"), help="folder of sets; $SRPO_DATA")
  parser.add_argument("--samples", type=_whole(1), default=32, help="responses a problem (32, as the paper)")
  parser.add_argument("--temperature", type=_number(0, math.inf), default=1.0, help="0 is greedy")
  parser.add_argument("--top-p", type=_number(0, 1), default=1.0, help="the likeliest tokens that hold this share")
  parser.add_argument("--max-new-tokens", type=_whole(1), help="of a response; default the config's")
  parser.add_argument("--max-prompt-tokens", type=_whole(1), default=4096, help="longer problems are left out, by name")
  parser.add_argument("--limit", type=_whole(0), default=0, help="first problems of each set alone; 0: all")
  parser.add_argument("--from", dest="first", type=_day, help="first contest date, YYYY-MM-DD")
  parser.add_argument("--to", dest="last", type=_day, help="last contest date")
  parser.add_argument("--seed", type=_whole(0), help="default the config's")
  parser.add_argument("--out", type=Path, help="default WORKDIR/evaluations/step_N, or MODEL-evaluation")
  parser.add_argument("--batch-problems", type=_whole(0), default=0, help="sampled together; 0: four times the slots")
  options, overrides = parser.parse_known_args(args)
  check_policy(options, overrides)
  if options.workdir is not None and not is_local(options.workdir) and options.out is None:
    raise InputError(f"--out: expected a local folder here, {options.workdir} being in an object store")
  if not names(options.sets):
    raise InputError("--sets: expected at least one set")
  if options.top_p == 0:
    raise InputError("--top-p: expected a number above 0 (greedy is --temperature 0)")
  if not is_temperature(options.temperature):
    raise InputError(f"--temperature: expected {TEMPERATURES}, got {options.temperature:g}")
  if options.temperature == 0 and options.samples > 1:
    raise InputError("--samples: at --temperature 0 all samples are alike, expected --samples 1")
  if options.first and options.last and options.first > options.last:
    raise InputError(f"--from: {options.first} is after --to {options.last}")
  if options.data is not None and not options.data.is_dir():
    raise InputError(f"--data: {options.data}: expected a folder")
  return options, overrides


def _config(options: argparse.Namespace, overrides: Sequence[str]) -> Config:
  """The settings of training with evaluation's own in place."""
  config = policy_config(options, overrides)
  given = {"max_new_tokens": options.max_new_tokens}
  return dataclasses.replace(
    config,
    data=dataclasses.replace(config.data, max_prompt_tokens=options.max_prompt_tokens),
    rollout=dataclasses.replace(config.rollout, **{name: v for name, v in given.items() if v is not None}),
    train=config.train if options.seed is None else dataclasses.replace(config.train, seed=options.seed),
  )


def _default_out(options: argparse.Namespace, step: int) -> Path:
  if options.workdir:
    return options.workdir / "evaluations" / f"step_{step:06d}"
  model = options.model.resolve()
  return model.with_name(f"{model.name}-evaluation")


def _whole(least: int) -> Any:
  def convert(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
      raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
    return int(text)

  return convert


def _number(low: float, high: float) -> Any:
  def convert(text: str) -> float:
    try:
      value = float(text)
    except ValueError:
      value = math.nan
    if not low <= value <= high or math.isinf(value):
      most = "" if math.isinf(high) else f" to {high:g}"
      raise argparse.ArgumentTypeError(f"expected a number from {low:g}{most or ' on'}, got {text!r}")
    return value

  return convert


def _day(text: str) -> datetime.date:
  try:
    return datetime.datetime.strptime(text, "%Y-%m-%d").date()
  except ValueError:
    raise argparse.ArgumentTypeError(f"expected YYYY-MM-DD, got {text!r}") from None


if __name__ == "__main__":
  run_cli(main)
