"""The question inside a recorded prompt."""

from srpo_jax.analysis.run_files import RunFiles
from srpo_jax.data.encoded import load_tokenizer
from srpo_jax.data.prompts import template_parts
from srpo_jax.training.build import build_renderer
from srpo_jax.training.kept_prompt import run_config
from srpo_jax.utils.paths import local_copy

MARK = "\ue000question\ue001"  # private characters, which no template changes


class QuestionReader:
  """Finds the question in the prompts of a run.

  The prompts of most runs have the fixed text of the style base. For the others, a prompt is rendered again with a mark
  in the place of the question. This reads the run's tokenizer and its examples.

  Raises:
    InputError: the tokenizer or the examples cannot be read.
  """

  def __init__(self, run: RunFiles):
    prompt = run.config.get("prompt", {})
    plain = prompt.get("style", "base") == "base" and not prompt.get("examples")
    self._renderer = None
    if not plain:
      config = run_config(run.path)
      self._renderer = build_renderer(config, load_tokenizer(local_copy(str(run.path / "model"))))

  def __call__(self, prompt: str, domain: str) -> str:
    """Returns the question, or the whole prompt if it has another form."""
    if self._renderer is None:
      return question_of(prompt)
    before, _, after = self._renderer.text(MARK, domain).partition(MARK)
    framed = prompt.startswith(before) and prompt.endswith(after) and len(prompt) >= len(before) + len(after)
    return prompt.removeprefix(before).removesuffix(after) if framed else prompt


def question_of(prompt: str) -> str:
  """Returns the question inside a prompt of the style base, or the whole prompt if it has another form."""
  _, between, after = template_parts()
  _, marker, rest = prompt.partition(between.lstrip())
  return rest.removesuffix(after) if marker and rest.endswith(after) else prompt
