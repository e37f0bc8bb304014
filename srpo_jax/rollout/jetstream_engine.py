"""JetStream's `Engine` API for the decode programs of `engine.py`. Only this file and serving/ import jetstream."""

from typing import Any

import jax

from srpo_jax.utils.quiet import quiet_imports

with quiet_imports():
  from jetstream.engine import engine_api, tokenizer_pb2

from srpo_jax.rollout.engine import InProcessEngine


class JetStreamEngine(InProcessEngine, engine_api.Engine):
  """Engine for JetStream's orchestrator. Its `generate` returns `ResultTokens`."""

  result_type = engine_api.ResultTokens

  def get_prefix_destination_sharding(self) -> Any:
    if jax.sharding.get_abstract_mesh().empty:
      return jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec())

  def get_tokenizer(self) -> tokenizer_pb2.TokenizerParameters:
    raise NotImplementedError("prompts reach this engine as tokens")

  @property
  def max_concurrent_decodes(self) -> int:
    return self.slots

  @property
  def samples_per_slot(self) -> int:
    return 1

  @property
  def max_prefill_length(self) -> int:
    return self.max_prompt

  @property
  def mesh(self) -> jax.sharding.Mesh:
    ambient = jax.sharding.get_mesh()
    if not ambient.empty:
      return ambient
    return jax.make_mesh((1,), ("data",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])

  @property
  def colocated_cpus(self) -> None:
    return None
