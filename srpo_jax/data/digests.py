"""Digests of rows by their content."""

import hashlib
import json
from collections.abc import Sequence

from srpo_jax.data.sources import own_fields
from srpo_jax.types import Problem


def rows_digest(problems: Sequence[Problem]) -> str:
  """Returns a SHA-256 digest of the fields on which the rollouts of the rows depend."""
  digest = hashlib.sha256()
  for problem in problems:
    tests = None if problem.tests is None else dict(problem.tests)
    judged_by = [problem.answer, tests, *own_fields(problem)]
    digest.update(json.dumps([problem.id, problem.domain, problem.question, *judged_by]).encode())
  return digest.hexdigest()
