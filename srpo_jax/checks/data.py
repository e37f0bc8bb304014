"""Checks of the data: unusable rows, prompt lengths, and evaluation items among the training rows."""

from collections.abc import Mapping, Sequence

from srpo_jax.checks.finding import FAIL, PASS, WARN, Finding
from srpo_jax.data.decontamination import GRAM, EvalItem, Index, Leak
from srpo_jax.data.prompt_set import PromptSet, unread_summary
from srpo_jax.types import Problem

BATCH = 1024
REFUSED_SHARE = 0.02  # share of refused rows above which the user should look at the data


def check_rows(set_: PromptSet, rows: int) -> list[Finding]:
  """Reports how many rows of a set are usable."""
  check = "rows"
  domains = ", ".join(f"{len(ids)} {domain}" for domain, ids in set_.domains.items())
  if not set_.refused:
    findings = [Finding(PASS, check, f"{set_.name}: {domains}; none refused")]
  else:
    index, reason = min(set_.refused.items())
    share = len(set_.refused) / rows
    level = WARN if share > REFUSED_SHARE else PASS
    found = f"{set_.name}: {domains}; {len(set_.refused)} of {rows} refused, as row {index}: {reason}"
    todo = "python -m srpo_jax.score --explain gives reasons for code; raise data.max_prompt_tokens for long prompts"
    findings = [Finding(level, check, found, todo if level == WARN else "")]
  if set_.unread:
    todo = "correct these answers, or see config.data.unread_golds"
    findings.append(Finding(WARN, "gold answers", f"{set_.name}: {unread_summary(set_.unread, rows)}", todo))
  return findings


def check_lengths(set_: PromptSet, max_prompt: int, max_new: int, pack_tokens: int, positions: int | None) -> Finding:
  """Checks that the longest prompt and response fit `pack_tokens` and the model's positions.

  Args:
    positions: number of positions that the model was made for (max_position_embeddings). None: not stated.
  """
  check, most = "lengths", set_.longest + max_new
  found = f"{set_.name}: the longest prompt has {set_.longest} of {max_prompt} tokens; with a response at most {most}"
  if pack_tokens and most > pack_tokens:
    return Finding(FAIL, check, f"{found}, over train.pack_tokens {pack_tokens}", "raise train.pack_tokens")
  if positions is not None and most > positions:
    todo = "lower config.rollout.max_new_tokens or data.max_prompt_tokens, or use a model with a longer context"
    return Finding(WARN, check, f"{found}, over the {positions} positions that the model was made for", todo)
  return Finding(PASS, check, found)


def check_leaks(train: Mapping[str, Sequence[Problem]], held: Mapping[str, Sequence[Problem]]) -> list[Finding]:
  """Looks for training rows that leak an item of a held-out set (8-gram containment, the rule of `curate`)."""
  items = [EvalItem(name, p.id, p.question) for name, problems in held.items() for p in problems]
  check = "held-out items in training rows"
  if not items:
    return [Finding(PASS, check, "no held-out set is named")]
  index, findings = Index(items), []
  for name, problems in train.items():
    leaks: dict[str, Leak] = {}
    for start in range(0, len(problems), BATCH):
      batch = problems[start : start + BATCH]
      leaks |= {batch[i].id: leak for i, leak in index.find([p.question for p in batch]).items()}
    if leaks:
      id_, leak = max(leaks.items(), key=lambda entry: entry[1].share)
      whole = sum(leak.share == 1 for leak in leaks.values())
      found = (
        f"{len(leaks)} rows of {name} share half or more of a held-out question's {GRAM}-word runs, {whole} of them all"
        f"; {id_} {leak.share:.0%} of those of {leak.item_id} of {leak.eval_set}"
      )
      todo = "copies make scores too high: srpo_jax.curate removes them (questions of one template share words too)"
      findings.append(Finding(WARN, check, found, todo))
    else:
      findings.append(Finding(PASS, check, f"none of {len(items)} items in {len(problems)} rows of {name}"))
  return findings
