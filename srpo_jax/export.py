"""Writes a run's policy as a Hugging Face folder.

    python -m srpo_jax.export --workdir DIR [--step N] --out DIR

Export needs no accelerator and less memory than the model, because it reads, casts and writes one tensor at a time. The
run may be on gs://. The folder appears only when it is complete. A killed export leaves a hidden folder next to it.
"""

from collections.abc import Sequence

from srpo_jax.cli import flags
from srpo_jax.cli.argument_types import positive
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.utils.errors import run_cli


def main(args: Sequence[str]) -> None:
  """Exports the policy, and prints what was read and written."""
  parser = ArgumentParser("export", __doc__)
  flags.add(parser, "--workdir", required=True)
  flags.add(parser, "--step")
  flags.add(parser, "--out", required=True, help="New folder to write.")
  parser.add_argument(
    "--dtype", choices=("float32", "bfloat16"), help="Dtype of the written weights. Default: the base's."
  )
  parser.add_argument(
    "--max-shard-gb",
    type=positive,
    help="Size of a weight file in GB, above which the weights are split. Default: as the base is split, or 5.",
  )
  options = parser.parse_args(args)
  # Imported late, so that --help does not wait for JAX.
  from srpo_jax.training.export import export_policy

  max_shard_bytes = options.max_shard_gb and int(options.max_shard_gb * 1e9)
  done = export_policy(options.workdir, options.step, options.out, dtype=options.dtype, max_shard_bytes=max_shard_bytes)
  if done.dtype != done.kept:
    print(f"rounded from {done.kept} to {done.dtype}, as the base is stored; --dtype float32 keeps every bit")
  print(f"read {done.bytes_read:,} bytes of the checkpoint, for {done.size:,} bytes of parameters")
  print(f"wrote step {done.step} of {options.workdir} to {options.out}")


if __name__ == "__main__":
  run_cli(main)
