"""Models on the Hugging Face hub: their names, commits and files.

huggingface_hub does the work, with its cache, its progress bars, its token (HF_TOKEN or `hf auth login`), HF_ENDPOINT
and HF_HUB_OFFLINE. Only files that this package reads are fetched. None of them is a program or a pickle.
"""

import dataclasses
import errno
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from srpo_jax.model.files import COMPANION_FILES, INDEX_FILE, SINGLE_FILE, TEMPLATES, WEIGHTS
from srpo_jax.utils.errors import InputError, one_line
from srpo_jax.utils.jsonl import read_json

log = logging.getLogger(__name__)
COMMIT = re.compile(r"[0-9a-f]{40}")
OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".ckpt")
NOT_REACHED = "the hub cannot be reached and there is no complete cached copy: check the network or name a local folder"
INTERRUPTED = "the download was interrupted; complete files are kept, and the same command fetches the rest"
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([^\s@]+))?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class HubModel:
  """Name of a model on the hub.

  Attributes:
    repository: owner/name.
    revision: branch, tag or commit. Empty: the hub's default branch.
  """

  repository: str
  revision: str

  def __str__(self) -> str:
    return f"{self.repository}@{self.revision}" if self.revision else self.repository


def parse_name(text: str) -> HubModel | None:
  """Returns the model that `owner/name[@revision]` names. None: the text does not have this form."""
  found = _NAME.fullmatch(text)
  if found is None:
    return None
  from huggingface_hub.errors import HFValidationError  # imported late, because a local folder does not need it
  from huggingface_hub.utils import validate_repo_id

  try:
    validate_repo_id(found[1])
  except HFValidationError:
    return None
  return HubModel(found[1], found[2] or "")


def find_commit(model: HubModel) -> str:
  """Returns the commit of a model's revision, 40 hex digits.

  If the hub cannot be reached, it is the commit that the revision had when the hub was last asked.

  Raises:
    InputError: there is no such repository or revision, access is refused, or the hub cannot be reached and the cache
      does not know the revision.
  """
  if COMMIT.fullmatch(model.revision):
    return model.revision
  from huggingface_hub import HfApi

  _quieten()
  offline, revision = _is_offline(), model.revision or None
  try:
    if not offline:
      HfApi().model_info(model.repository, revision=revision)
    # Also records the commit in the cache, for a later start without a network.
    return HfApi().resolve_revision(model.repository, revision=revision, local_files_only=offline).resolved
  except Exception as error:  # huggingface_hub passes on the exceptions of its HTTP client
    cached = None if offline or not _is_down(error) else _cached_commit(model)
    if cached is None:
      raise _explained(model, error, NOT_REACHED) from error
    log.warning("the hub cannot be reached (%s): using the cached %s, commit %s", _words(error), model, cached)
    return cached


def download(model: HubModel, commit: str, *, weights: bool = True) -> Path:
  """Returns the folder in the cache with a model's files at a commit, and fetches those that are not there yet.

  Args:
    weights: False leaves out the weights.

  Raises:
    InputError: access is refused, the commit has no config.json or no safetensors, or the download was interrupted.
    OSError: the disk is full, or the cache cannot be written.
  """
  folder = _fetch(model, commit, [*COMPANION_FILES, INDEX_FILE, TEMPLATES], NOT_REACHED)
  if not (folder / "config.json").is_file():
    raise InputError(f"{model}: commit {commit} has no config.json, expected the repository of a language model")
  if weights:
    names = _weight_names(folder)
    _fetch(model, commit, names, INTERRUPTED)
    for name in names:
      if not (folder / name).is_file():
        raise InputError(_without(model, commit, name))
  if _is_offline():
    log.warning("HF_HUB_OFFLINE is set: using the cached %s, commit %s", model, commit)
  return folder


def _fetch(model: HubModel, commit: str, patterns: Sequence[str], failure: str) -> Path:
  from huggingface_hub import snapshot_download

  _quieten()
  try:
    return Path(
      snapshot_download(
        model.repository, revision=commit, allow_patterns=list(patterns), local_files_only=_is_offline()
      )
    )
  except Exception as error:  # huggingface_hub passes on the exceptions of its HTTP client and of hf_xet
    raise _explained(model, error, failure, commit) from error


def _weight_names(folder: Path) -> list[str]:
  """Returns the names of the safetensors files that hold the model's weights."""
  index = folder / INDEX_FILE
  if not index.is_file():
    return [SINGLE_FILE]
  weight_map = read_json(index).get("weight_map")
  names = sorted(set(weight_map.values())) if isinstance(weight_map, dict) and weight_map else []
  if not names or not all(re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
    raise InputError(f"{index}: expected a weight_map of tensor names to {WEIGHTS} files")
  return names


def _without(model: HubModel, commit: str, name: str) -> str:
  """Returns the message for a commit without one of its weight files."""
  from huggingface_hub import get_cached_repo_tree
  from huggingface_hub.errors import CachedRepoTreeNotFoundError

  try:
    there = [file.path for file in get_cached_repo_tree(model.repository, revision=commit)]
  except CachedRepoTreeNotFoundError:
    there = []
  if name in there or (_is_offline() and not there):
    return f"{model}: {name} of commit {commit} is not in the cache: unset HF_HUB_OFFLINE to fetch it"
  other = next((path for path in there if path.endswith(OTHER_WEIGHTS)), None)
  only = f" (only {other})" if other else ""
  return f"{model}: commit {commit} has no {name}{only}, expected a model in safetensors form"


def _explained(model: HubModel, error: Exception, failure: str, commit: str = "") -> Exception:
  """Returns the error to raise for one of huggingface_hub's.

  Args:
    failure: what to say of an error that has no message of its own.
    commit: commit that was asked for. Empty: the model's revision was.
  """
  from huggingface_hub import constants, errors

  own = error.errno if isinstance(error, OSError) else None  # None for HTTP errors, which are OSErrors too
  if own in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
    return OSError(own, str(error.strerror), error.filename or constants.HF_HUB_CACHE)  # type: ignore[attr-defined]
  cause, hub = _cause(error), constants.ENDPOINT
  status = _status(cause)
  if _is_offline():
    at = constants.HF_HUB_CACHE
    text = f"HF_HUB_OFFLINE is set and {at} has no complete copy: unset it to fetch the model, or name a local folder"
  elif isinstance(cause, errors.GatedRepoError) or status == 403:
    text = f"access is refused ({status}): accept the licence at {hub}/{model.repository} and set HF_TOKEN"
  elif isinstance(cause, errors.RevisionNotFoundError):
    text = (
      f"no revision {commit or model.revision or 'main'} at {hub}/{model.repository}, expected a branch, tag or commit"
    )
  elif isinstance(cause, errors.RepositoryNotFoundError):
    text = f"no such folder, and no such repository at {hub} (a private one needs a token in HF_TOKEN)"
  elif status == 401:
    text = f"{hub} refuses the token: expected a valid one in HF_TOKEN or from `hf auth login`"
  else:
    text = f"{failure} ({_words(error)})"
  return InputError(f"{model}: {text}")


def _cause(error: BaseException) -> BaseException:
  """Returns the HTTP error that an error comes from, or else its first cause."""
  while not hasattr(error, "response") and error.__cause__ is not None:
    error = error.__cause__
  return error


def _status(cause: BaseException) -> int | None:
  return getattr(getattr(cause, "response", None), "status_code", None)


def _words(error: Exception) -> str:
  from huggingface_hub import constants

  cause = _cause(error)
  said = one_line(cause) if isinstance(cause, Exception) else str(cause)
  return f"{constants.ENDPOINT}: {f'HTTP status {_status(cause)}' if _status(cause) else said}"


def _is_down(error: Exception) -> bool:
  """Returns True if an error does not come from the hub's answer, or if the answer is that the hub is out of order."""
  status = _status(_cause(error))
  return status is None or status == 429 or status >= 500


def _cached_commit(model: HubModel) -> str | None:
  """Returns the commit that a model's revision had when the hub was last asked. None: it was never asked."""
  from huggingface_hub import HfApi
  from huggingface_hub.errors import RevisionResolutionError

  try:
    return HfApi().resolve_revision(model.repository, revision=model.revision or None, local_files_only=True).resolved
  except RevisionResolutionError:
    return None


def _is_offline() -> bool:
  from huggingface_hub import is_offline_mode

  return is_offline_mode()


def _quieten() -> None:
  """Hides huggingface_hub's warnings of its retries, and a log line for each request. A last error is raised."""
  from huggingface_hub.utils import logging as hub_logging

  hub_logging.set_verbosity_error()
  for client in ("httpx", "httpx2"):
    logging.getLogger(client).setLevel(logging.WARNING)
