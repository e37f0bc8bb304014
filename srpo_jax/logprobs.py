"""Writes token ids and log-probabilities of texts, for a comparison with another implementation of the model.

    python -m srpo_jax.logprobs --model DIR --input texts.jsonl --out out.jsonl

An input row has `text`, or `prompt` and `response`. For a prompt and response, only the response's tokens are reported.
An output row has `token_ids` and `logprobs` of equal length, and the `id` of the input row if it has one. The first
token of a text has no context, so its log-probability is null.
"""

from collections.abc import Sequence

from srpo_jax.cli import flags
from srpo_jax.cli.parser import ArgumentParser
from srpo_jax.utils.errors import InputError, run_cli


def main(args: Sequence[str]) -> None:
  """Writes the log-probabilities."""
  parser = ArgumentParser("logprobs", __doc__)
  flags.add(parser, "--model", required=True)
  flags.add(parser, "--input", required=True, help="Texts (JSON Lines).")
  flags.add(parser, "--out", required=True, help="File to write (JSON Lines). It is replaced after all rows succeed.")
  options = parser.parse_args(args)
  if options.input.resolve() == options.out.resolve():
    raise InputError(f"--out: expected another file than --input, found {options.out}")
  # Imported late, so that --help does not wait for JAX.
  from srpo_jax.evaluation.logprobs import write_logprobs
  from srpo_jax.model.folder import model_folder
  from srpo_jax.utils.cache import enable_compilation_cache

  enable_compilation_cache()
  write_logprobs(model_folder(options.model), options.input, options.out)


if __name__ == "__main__":
  run_cli(main)
