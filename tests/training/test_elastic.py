"""A run resumes on a mesh other than the one it was saved on, from the same values."""

import pytest

from srpo_jax.training.export import load_policy
from srpo_jax.training.run import Run
from srpo_jax.utils.errors import InputError
from tests.helpers.runs import launch, metrics, timeless, toy
from tests.helpers.sharded import digest, on_eight_devices


@pytest.mark.slow
def test_a_run_moves_between_meshes(talkative, tmp_path):
  meshes = [(1, 4, 2), (1, 2, 4), (1, 1, 1), (2, 2, 2)]
  found = on_eight_devices("elastic", checkpoint=str(talkative), folder=str(tmp_path / "r"), meshes=meshes)
  assert found["starts"] == [
    {"from": 2 * i, "equal": True, "devices": 1 if mesh == (1, 1, 1) else 8} for i, mesh in enumerate(meshes)
  ]
  # A process with one device reads the checkpoint of eight devices and resumes the run.
  params, _, step = load_policy(tmp_path / "r")
  assert (step, digest(params)) == (8, found["digest"])
  launch(toy(talkative, train__steps=9), tmp_path / "r")
  # The same run on one device has equal counts. Its floats differ only by the order of summation.
  single = metrics(launch(toy(talkative, train__steps=9), tmp_path / "single"))
  assert [row["step"] for row in metrics(tmp_path / "r")] == list(range(9))
  for got, expected in zip(timeless(metrics(tmp_path / "r")), timeless(single), strict=True):
    for name, value in got.items():
      if isinstance(value, float):
        assert value == pytest.approx(expected[name], rel=1e-4, abs=1e-5), (got["step"], name)
      else:
        assert value == expected[name], (got["step"], name)


def test_a_mesh_that_the_machine_does_not_have_is_refused(talkative, tmp_path):
  with pytest.raises(InputError, match=r"config\.mesh: .* = 2, expected the number of devices"):
    Run(toy(talkative, mesh__fsdp=2), tmp_path / "r")
  assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("field", "value"), [("train__micro_batch", 6), ("rollout__slots", 6)])
def test_rows_that_the_mesh_does_not_divide_are_refused(talkative, field, value):
  with pytest.raises(InputError, match=rf"config\.{field.replace('__', '.')}: .* mesh.data x mesh.fsdp, 4, got 6"):
    toy(talkative, mesh__data=2, mesh__fsdp=2, **{field: value})
