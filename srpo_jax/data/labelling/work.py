"""Runs `curate label`: samples and judges responses, stores the tallies, and writes the labelled rows."""

import argparse
import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from srpo_jax.config import Config
from srpo_jax.data.dataset import column, open_rows
from srpo_jax.data.digests import rows_digest
from srpo_jax.data.labelling.options import label_config
from srpo_jax.data.labelling.parts import Parts, is_parts
from srpo_jax.data.labelling.rollouts import Labeller
from srpo_jax.data.labelling.settings import JUDGED_BY, config_settings
from srpo_jax.data.labelling.writing import check_writable, label_counts, write_labelled
from srpo_jax.model.folder import model_folder
from srpo_jax.model.sharding import make_mesh, on_mesh
from srpo_jax.rollout.policy import of_folder
from srpo_jax.training.build import build_scorer, check_prompts
from srpo_jax.types import Problem
from srpo_jax.utils.cache import enable_compilation_cache
from srpo_jax.utils.errors import InputError
from srpo_jax.utils.logs import start_logging
from srpo_jax.utils.resumable import claim, read_settings

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


def label_rows(options: argparse.Namespace, overrides: Sequence[str]) -> None:
  """Labels a data set, or this host's part of it, or merges the parts of all hosts.

  Args:
    options: options as returned by `options.read_options`.
    overrides: `--config.section.field=value` arguments.

  Raises:
    InputError: the output cannot be written, the settings differ from those of an unfinished labelling, or a row is
      bad.
  """
  parts_folder = options.out.with_name(options.out.name + ".parts")
  _check_output(options.out, options.input, parts_folder)
  if options.merge:
    _merge_parts(options, parts_folder)
    return
  config = label_config(options, overrides)
  host, hosts = _place(options)
  start_logging()
  problems, rows = open_rows(str(options.input), format=config.data.format, limit=config.data.limit)
  check_prompts(config, [problems])
  check_writable(options, rows)
  batch_rows = options.batch_rows or -(-2 * config.rollout.slots // options.samples)
  parts = Parts(parts_folder, len(problems), batch_rows, hosts)
  settings = _settings(config, options, batch_rows, hosts) | {"--input": rows_digest(problems)}
  _label(config, problems, options.samples, parts, host, settings)
  if hosts == 1:
    write_labelled(options, problems, rows, parts.merged())
  else:
    print(f"the rows of host {host} of {hosts} are labelled; when all hosts are done, run once with --merge")


def _place(options: argparse.Namespace) -> tuple[int, int]:
  """Returns the index of this host and the number of hosts.

  Raises:
    InputError: the index is not in range.
  """
  pod = (jax.process_index(), jax.process_count()) if jax.distributed.is_initialized() else (0, 1)
  host, hosts = (a if a is not None else b for a, b in zip((options.host, options.hosts), pod, strict=True))
  if not 0 <= host < hosts:
    raise InputError(f"--host: expected 0 to {hosts - 1} of --hosts {hosts}, got {host}")
  return host, hosts


def _check_output(output: Path, source: Path, parts: Path) -> None:
  """Raises InputError if the output cannot be written, or if its place holds something else."""
  if output.resolve() == source.resolve():
    raise InputError(f"--out: expected a place other than --input, got {output}")
  if not output.parent.is_dir():
    raise InputError(f"--out: expected an existing folder, got {output.parent}")
  if output.exists() and not parts.is_dir():
    raise InputError(f"{output}: already exists, and {parts.name} of a labelling that wrote it is missing")
  if parts.exists() and not is_parts(parts):
    raise InputError(f"{parts}: expected the folder of a labelling or a new path, got something else")


def _settings(config: Config, options: argparse.Namespace, batch_rows: int, hosts: int) -> dict[str, Any]:
  """Returns the settings that must stay the same for a labelling to resume."""
  return config_settings(config, SETTINGS) | {
    "--samples": options.samples,
    "--batch-rows": batch_rows,
    "--hosts": hosts,
    "--model": of_folder(model_folder(options.model)).digest,
  }


def _label(
  config: Config, problems: Sequence[Problem], samples: int, parts: Parts, host: int, settings: dict[str, Any]
) -> None:
  """Samples and judges the unfinished batches of a host."""
  if parts.folder.is_dir():
    claim(parts.folder, settings)
    if not parts.left(host):
      return
  enable_compilation_cache()
  with on_mesh(make_mesh(**dataclasses.asdict(config.mesh))), build_scorer(config) as scorer:
    labeller = Labeller(config, scorer, problems, samples)
    claim(parts.folder, settings)  # only after Labeller has checked every row
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
          tallies = labeller.tallies([ids[index] for index in parts.batch(number)])
          part.add(number, tallies)
          counts += label_counts(tallies)
          bar.set_postfix(counts, refresh=False)
          bar.update(len(tallies))


def _merge_parts(options: argparse.Namespace, folder: Path) -> None:
  """Writes the data set from the results of all hosts."""
  settings = read_settings(folder)
  kinds = {"config.data.format": str, "config.data.limit": int, "--input": str, "--batch-rows": int, "--hosts": int}
  for name, kind in kinds.items():
    if type(settings.get(name)) is not kind:
      raise InputError(f"{folder / 'settings.json'}: field {name}: expected {kind.__name__}")
  problems, rows = open_rows(
    str(options.input), format=settings["config.data.format"], limit=settings["config.data.limit"]
  )
  if rows_digest(problems) != settings["--input"]:
    raise InputError(f"{options.input}: not the rows that {folder} was made from")
  parts = Parts(folder, len(problems), settings["--batch-rows"], settings["--hosts"])
  check_writable(options, rows)
  write_labelled(options, problems, rows, parts.merged())
