"""Resolution of `module:function` to a callable, and the one-line errors."""

import os.path

import pytest

from srpo_jax.utils.errors import InputError
from srpo_jax.utils.plugins import is_callable_spec, resolve_callable


def test_a_function_and_a_nested_name_are_found():
  assert resolve_callable("os.path:join") is os.path.join
  assert resolve_callable("collections:Counter.most_common").__name__ == "most_common"


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("os.path", "expected module:function"),
    ("os.path:", "expected module:function"),
    (":join", "expected module:function"),
    ("os path:join", "expected module:function"),
    ("no_such_module_here:f", "importing no_such_module_here failed: ModuleNotFoundError"),
    ("os.path:jion", "os.path has no jion"),
    ("os.path:sep", "expected a callable, got str"),
  ],
)
def test_a_wrong_name_is_refused_in_one_line(spec, message):
  with pytest.raises(InputError) as caught:
    resolve_callable(spec)
  assert message in str(caught.value) and repr(spec)[1:-1] in str(caught.value)
  assert "\n" not in str(caught.value)


def test_a_module_that_fails_to_import_says_why_in_one_line(tmp_path, monkeypatch):
  (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('first\\nsecond')")
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(InputError, match="broken_plugin failed: RuntimeError: first second") as caught:
    resolve_callable("broken_plugin:reward")
  assert "\n" not in str(caught.value)


def test_paths_are_not_callable_specs():
  assert is_callable_spec("my_package.rewards:brevity")
  for path in ("data/train.jsonl", "C:\\data\\train.jsonl", "train.parquet", "a:b:c", "https://x/y"):
    assert not is_callable_spec(path)
