"""Labels the rows of a data set by how often a policy solves them.

    python -m srpo_jax.curate label --model DIR --input DATASET --output DATASET2

Samples some responses to every row with the sampler, the prompt and the rewards of training, and writes the rows with

    pass_rate   correct responses among those judged; also as pass@1, with pass@4 and pass@16 (unbiased)
    difficulty  unsolved (0), hard (up to 0.25), medium (up to 0.75), easy (below 1) or solved (1)
    rollouts    {n: judged, n_correct, n_truncated, n_unjudged}

and every field that they had. A difficulty of the set's own moves to `original_difficulty`. A row whose responses could
not be judged, whose prompt is too long or whose tests cannot be used stays without a label.

What is found is kept in OUTPUT.parts: started again it goes on where it was stopped, to the same bytes. On several
hosts, start it on each with --host I --hosts N; when all are done, once with --merge.

The settings of training come from --config (fields by --config.section.field=value).
"""

import argparse
import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from srpo_jax.config import Config
from srpo_jax.data.dataset import RecordProblems, column, open_rows
from srpo_jax.data.difficulty import LABELS, UNLABELLED, label, pass_at_k
from srpo_jax.data.labelling.parts import Parts, Tally, is_parts
from srpo_jax.data.record import as_json, example_of
from srpo_jax.data.records import Records
from srpo_jax.data.records_writer import check_target, check_version, write_records
from srpo_jax.launch import parse_flags
from srpo_jax.types import Problem
from srpo_jax.utils.errors import ArgumentParser, InputError, check_positive, run_cli
from srpo_jax.utils.jsonl import replaced
from srpo_jax.utils.logs import start_logging
from srpo_jax.utils.settings import JUDGED_BY, claim, of_config, read_settings

KS = (1, 4, 16)
# Fields of the config that the labels depend on.
SETTINGS = (
  "model.param_dtype",
  "model.dtype",
  "data.format",
  "data.limit",
  "data.max_prompt_tokens",
  "rollout.max_new_tokens",
  "rollout.temperature",
  "rollout.slots",
  "rollout.prompt_bucket",
  *JUDGED_BY,
  "train.seed",
)

Row = Mapping[str, Any]


def main(args: Sequence[str]) -> None:
  """Labels as the command line says."""
  options, overrides = _options(args)
  parts_folder = options.output.with_name(options.output.name + ".parts")
  _check_output(options.output, options.input, parts_folder)
  if options.merge:
    _merge_parts(options, parts_folder)
    return
  config = _config(options, overrides)
  host, hosts = _place(options)
  start_logging()
  problems, rows = open_rows(str(options.input), format=config.data.format, limit=config.data.limit)
  _check_writable(options, rows)
  batch_rows = options.batch_rows or -(-2 * config.rollout.slots // options.samples)
  parts = Parts(parts_folder, len(problems), batch_rows, hosts)
  settings = _settings(config, options, batch_rows, hosts) | {"--input": rows_digest(problems)}
  _label(config, problems, options.samples, parts, host, settings)
  if hosts == 1:
    _write(options, problems, rows, parts.merged())
  else:
    print(f"the rows of host {host} of {hosts} are labelled; when all are: --merge")


def labelled(row: Row, tally: Tally) -> dict[str, Any]:
  """A row with what was found on it."""
  new = dict(row) | {"rollouts": dataclasses.asdict(tally)}
  if row.get("difficulty") is not None and "rollouts" not in row:
    new["original_difficulty"] = row["difficulty"]
  rate = pass_at_k(tally.n, tally.n_correct, 1)
  new |= {"pass_rate": rate, "difficulty": None if rate is None else label(rate)}
  return new | {f"pass@{k}": pass_at_k(tally.n, tally.n_correct, k) for k in KS}


def rows_digest(problems: Sequence[Problem]) -> str:
  """Names the rows that were labelled, by what their rollouts depend on."""
  digest = hashlib.sha256()
  for problem in problems:
    tests = None if problem.tests is None else dict(problem.tests)
    digest.update(json.dumps([problem.id, problem.domain, problem.question, problem.answer, tests]).encode())
  return digest.hexdigest()


def _options(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
  parser = ArgumentParser(
    prog="python -m srpo_jax.curate label", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--input", type=Path, required=True, help="records folder, .jsonl, .parquet or module:function")
  parser.add_argument("--output", type=Path, required=True, help="data set to write")
  parser.add_argument("--model", type=Path, help="Hugging Face folder of the policy")
  parser.add_argument("--samples", type=int, default=16, help="responses a row")
  parser.add_argument("--temperature", type=float, help="default the config's")
  parser.add_argument("--max-new-tokens", type=int, help="of a response; default the config's")
  parser.add_argument("--seed", type=int, help="default the config's")
  parser.add_argument("--config", default="configs/base.py", help="where the settings of training come from")
  parser.add_argument("--format", choices=("auto", "records", "jsonl"), default="auto", help="default the input's")
  parser.add_argument("--version", help="of a records folder; default the input's, or 1.0.0")
  parser.add_argument("--batch-rows", type=int, default=0, help="rows sampled together; 0: twice what the slots hold")
  parser.add_argument("--host", type=int, help="number of this host; default jax.process_index() of a pod, else 0")
  parser.add_argument("--hosts", type=int, help="default jax.process_count() of a pod, else 1")
  parser.add_argument("--merge", action="store_true", help="write the output of what all hosts have found")
  options, overrides = parser.parse_known_args(args)
  if options.model is None and not options.merge:
    raise InputError("--model: missing, expected a Hugging Face folder")
  check_positive(options, "samples")
  if options.batch_rows < 0:
    raise InputError(f"--batch-rows: expected 0 or more, got {options.batch_rows}")
  for override in overrides:
    if override.startswith("-") and not override.startswith("--config."):
      raise InputError(f"{override}: unknown option (see --help)")
  return options, overrides


def _config(options: argparse.Namespace, overrides: Sequence[str]) -> Config:
  """The config of training with the command line's own values in place."""
  own = {
    "model.path": options.model,
    "train.steps": 1,  # nothing is trained, but a config must have an end
    "data.train": options.input,
    "rollout.temperature": options.temperature,
    "rollout.max_new_tokens": options.max_new_tokens,
    "train.seed": options.seed,
  }
  given = [f"--config.{name}={value}" for name, value in own.items() if value is not None]
  return parse_flags([f"--config={options.config}", *overrides, *given])[0]


def _place(options: argparse.Namespace) -> tuple[int, int]:
  """(this host, hosts)"""
  import jax  # imported late: a wrong option is told at once

  pod = (jax.process_index(), jax.process_count()) if jax.distributed.is_initialized() else (0, 1)
  host, hosts = (a if a is not None else b for a, b in zip((options.host, options.hosts), pod, strict=True))
  if not 0 <= host < hosts:
    raise InputError(f"--host: expected 0 to {hosts - 1} of --hosts {hosts}, got {host}")
  return host, hosts


def _check_output(output: Path, source: Path, parts: Path) -> None:
  if output.resolve() == source.resolve():
    raise InputError(f"--output: expected another place than --input, found {output}")
  if not output.parent.is_dir():
    raise InputError(f"--output: expected an existing folder, found {output.parent}")
  if output.exists() and not parts.is_dir():
    raise InputError(f"{output}: is there already, and no {parts.name} of a labelling that wrote it")
  if parts.exists() and not is_parts(parts):
    raise InputError(f"{parts}: expected the folder of a labelling, or nothing")


def _check_writable(options: argparse.Namespace, rows: Sequence[Row]) -> None:
  """Raises InputError for what would stop the writing, before hours of sampling."""
  records = _to_records(options, rows)
  if records:
    check_target(options.output)
    check_version(options.output, options.version or "1.0.0")
  elif options.output.is_dir():
    raise InputError(f"{options.output}: expected a file, or nothing, where the JSON Lines are to be written")
  if isinstance(rows, Records):
    return
  for index, row in enumerate(rows):
    try:
      for field, value in row.items():
        as_json(field, value)
      if records:
        example_of(labelled(row, Tally()), "row")
    except InputError as error:
      raise InputError(f"{options.input}: row {index}: {error}") from None


def _to_records(options: argparse.Namespace, rows: Sequence[Row]) -> bool:
  return options.format == "records" or (options.format == "auto" and isinstance(rows, Records))


def _settings(config: Config, options: argparse.Namespace, batch_rows: int, hosts: int) -> dict[str, Any]:
  from srpo_jax.rollout.policy import of_folder  # imported late: a wrong option is told at once

  return of_config(config, SETTINGS) | {
    "--samples": options.samples,
    "--batch-rows": batch_rows,
    "--hosts": hosts,
    "--model": of_folder(options.model).digest,
  }


def _label(
  config: Config, problems: Sequence[Problem], samples: int, parts: Parts, host: int, settings: dict[str, Any]
) -> None:
  """Samples and judges what is left of a host's batches."""
  # Imported late: a wrong option is told at once.
  from srpo_jax.data.labelling.rollouts import Roller
  from srpo_jax.model.sharding import make_mesh, on_mesh
  from srpo_jax.training.run import make_scorer
  from srpo_jax.utils.cache import enable_compilation_cache

  if parts.folder.is_dir():
    claim(parts.folder, settings)
    if not parts.left(host):
      return
  enable_compilation_cache()
  with on_mesh(make_mesh(**dataclasses.asdict(config.mesh))), make_scorer(config) as scorer:
    roller = Roller(config, scorer, problems, samples)
    claim(parts.folder, settings)  # not before every row was seen to be good
    ids = column(problems, "id")
    with parts.open(host) as part:
      left = parts.left(host)
      total = sum(len(parts.batch(number)) for number in parts.of_host(host))
      bar = tqdm(
        total=total,
        initial=total - sum(len(parts.batch(number)) for number in left),
        unit="row",
        dynamic_ncols=True,
        disable=not config.log.progress,
      )
      counts: Counter[str] = Counter()
      with bar:
        for number in left:
          tallies = roller.roll_out([ids[index] for index in parts.batch(number)])
          part.add(number, tallies)
          counts += _counts(tallies)
          bar.set_postfix(counts, refresh=False)
          bar.update(len(tallies))


def _counts(tallies: Sequence[Tally]) -> Counter[str]:
  names = Counter(label(t.n_correct / t.n) if t.n else UNLABELLED for t in tallies)
  return Counter({name: names[name] for name in (*LABELS, UNLABELLED) if names[name]})


def _merge_parts(options: argparse.Namespace, folder: Path) -> None:
  settings = read_settings(folder)
  kinds = {"config.data.format": str, "config.data.limit": int, "--input": str, "--batch-rows": int, "--hosts": int}
  for name, kind in kinds.items():
    if type(settings.get(name)) is not kind:
      raise InputError(f"{folder / 'settings.json'}: field {name}: expected {kind.__name__}")
  problems, rows = open_rows(
    str(options.input), format=settings["config.data.format"], limit=settings["config.data.limit"]
  )
  if rows_digest(problems) != settings["--input"]:
    raise InputError(f"{options.input}: not the rows that {folder} was made of")
  parts = Parts(folder, len(problems), settings["--batch-rows"], settings["--hosts"])
  _check_writable(options, rows)
  _write(options, problems, rows, parts.merged())


def _write(
  options: argparse.Namespace, problems: Sequence[Problem], rows: Sequence[Row], tallies: Sequence[Tally]
) -> None:
  """Writes the labelled rows in the form that was asked for."""

  def found() -> Iterator[dict[str, Any]]:
    return (labelled(row, tally) for row, tally in zip(rows, tallies, strict=False))

  source = problems.records if isinstance(problems, RecordProblems) else None
  if _to_records(options, rows):
    note = f"Labelled by {max(t.n + t.n_unjudged for t in tallies)} responses a row."
    name = source.name if source else re.sub(r"[^a-z0-9_]", "_", f"set_{options.output.stem}".lower())
    write_records(
      options.output,
      found(),
      name=name,
      version=options.version or (source.version if source else "1.0.0"),
      description=f"{source.description if source else name}\n{note}",
      licence=source.licence if source else "",
    )
  else:
    with replaced(options.output) as out:
      for row in found():
        out.write(json.dumps(row) + "\n")
  counts = ", ".join(f"{count} {name}" for name, count in _counts(tallies).items())
  print(f"{options.output}: {len(tallies)} rows: {counts}")


if __name__ == "__main__":
  run_cli(main)
