"""The JSON form of a run's position, as stored in old checkpoints."""

import json

from srpo_jax.algorithm.history import Pool
from srpo_jax.algorithm.stages import Plateau, Position

OLD = {
  "pools": {"math": Pool("math", ("a", "b")).to_json()},
  "step": 7,
  "spent": 96,
  "stage": 1,
  "begun": 5,
  "origin": 3,
  "plateau": {"means": [0.5], "values": [], "opened": {"math": 2}},
}


def test_an_old_checkpoint_is_read_and_written_alike():
  position = Position.from_json(json.loads(json.dumps(OLD)))
  pools, plateau = {"math": Pool("math", ("a", "b"))}, Plateau((0.5,), (), {"math": 2})
  expected = Position(pools, step=7, n_rollouts=96, stage=1, stage_start=5, run_start=3, plateau=plateau)
  assert position == expected
  assert json.loads(json.dumps(position.to_json())) == json.loads(json.dumps(OLD))
  assert list(position.to_json()) == list(OLD)
