"""Command line of commands that start from a config file: launch, doctor, plan and curate."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srpo_jax.cli import config_flags, flags
from srpo_jax.cli.parser import ArgumentParser, asks_for_help
from srpo_jax.utils.paths import as_path

if TYPE_CHECKING:
  from srpo_jax.config import Config

PROCESS_FLAGS = {  # one process per host
  "coordinator": "HOST:PORT of process 0. Default: JAX_COORDINATOR_ADDRESS, or the cluster's own.",
  "num_processes": "Number of processes. Default: JAX_NUM_PROCESSES, or the cluster's own.",
  "process_id": "Number of this process, from 0. Default: JAX_PROCESS_ID, or the cluster's own.",
}


def config_parser(command: str, doc: str, args: Sequence[str]) -> ArgumentParser:
  """Returns a parser with --config, whose help ends with the fields of the config file that `args` names."""
  parser = ArgumentParser(command, doc, epilog=_fields_help(command, args) if asks_for_help(args) else None)
  flags.add(parser, "--config", help="Config file (FILE or FILE:VARIANT). Required.")
  return parser


def _fields_help(command: str, args: Sequence[str]) -> str:
  """Returns the help text of the config's fields by section."""
  from srpo_jax.config import Config
  from srpo_jax.data.curation.config import CurateConfig

  rule = "Every field of the config file is also a flag: --config.SECTION.FIELD=VALUE."
  kind: type[Any] = CurateConfig if command == "curate" else Config
  return f"{rule}\n\n{config_flags.fields_help(kind, args)}"


def read_config_file(command: str, options: argparse.Namespace, overrides: Sequence[str]) -> tuple[dict[str, Any], str]:
  """Returns the values of --config with its overrides, and the config's name: tiny-staged for configs/tiny.py:staged.

  Raises:
    InputError: there is no such file, a field is unknown, or a value has the wrong type.
  """
  file = [] if options.config is None else [f"--config={options.config}"]
  return config_flags.parse_config(command, [*file, *overrides])


def read_options(command: str, doc: str, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
  """Returns the flags of launch and doctor, and the remaining arguments for the config. It does not import JAX."""
  parser = config_parser(command, doc, args)
  flags.add(parser, "--workdir", help="Run directory (local or gs://). Default: runs/NAME of the config file.")
  for name, text in PROCESS_FLAGS.items():
    ignored = "Ignored: doctor runs in one process. It takes the command line of launch. Default: none."
    parser.add_argument(f"--{name}", help=ignored if command == "doctor" else text)
  return parser.parse_known_args(args)


def resolve(
  command: str, options: argparse.Namespace, overrides: Sequence[str]
) -> tuple["Config", Path, dict[str, str | None]]:
  """Returns the checked config, the workdir, and the arguments of `processes.joined`.

  Raises:
    InputError: a wrong flag or config field.
  """
  from srpo_jax.config import make_config  # imported late, so that --help does not wait for JAX

  raw, name = read_config_file(command, options, overrides)
  workdir = options.workdir or as_path(Path("runs") / name)
  return make_config(raw), workdir, {name: getattr(options, name) for name in PROCESS_FLAGS}


def parse_flags(
  args: Sequence[str], command: str = "launch", doc: str = ""
) -> tuple["Config", Path, dict[str, str | None]]:
  """Returns the checked config, the workdir, and the arguments of `processes.joined`, from a command line.

  Raises:
    InputError: a wrong flag or config field.
  """
  return resolve(command, *read_options(command, doc, args))
