"""The SRPO prompt template, which makes the text given to a base model from one question."""

PROMPT_TEMPLATE = (
  "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
  "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
  "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
  "i.e., <think> reasoning process here </think> <answer> answer here </answer>. "
  "{instruction} User: {question}\nAssistant: <think>"
)

DEFAULT_INSTRUCTIONS = {
  "math": "Put the final answer in \\boxed{} inside the answer tags.",
  "code": "Put the whole program in one ```python block inside the answer tags.",
}


def template_parts() -> tuple[str, str, str]:
  """Returns the fixed text of the template before the instruction, between it and the question, and after both."""
  before, rest = PROMPT_TEMPLATE.split("{instruction}")
  between, after = rest.split("{question}")
  return before, between, after


def format_prompt(question: str, instruction: str) -> str:
  """Puts a question and an instruction into the template. The template ends in `<think>`, where the completion starts.

  Both texts are inserted unchanged, including any braces. An empty instruction leaves no extra blank.
  """
  before, between, after = template_parts()
  # str.format would read the braces of LaTeX as fields, and str.replace could find "{question}" in an instruction.
  return before + (instruction + between if instruction else between.lstrip()) + question + after
