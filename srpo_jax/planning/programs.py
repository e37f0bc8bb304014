"""Programs of a training step, compiled ahead of time for devices that this machine need not have.

They are the programs of training itself, from `build_learner` and `build_engine` on the run's mesh, traced on shapes
with shardings. Nothing of the model's size is ever allocated.
"""

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from srpo_jax.config import Config
from srpo_jax.model import hf
from srpo_jax.model.sharding import param_shardings
from srpo_jax.model.transformer import TransformerConfig
from srpo_jax.planning import hlo
from srpo_jax.planning.flops import count_flops
from srpo_jax.planning.traffic import NOTHING, Counter, Traffic
from srpo_jax.training.batch import empty_micro_batch
from srpo_jax.training.build import build_engine, build_learner
from srpo_jax.training.learner import TrainState
from srpo_jax.utils.rounding import round_up

MEMORY = ("argument", "output", "alias", "temp", "generated_code", "peak_memory")


@dataclasses.dataclass(frozen=True)
class Program:
  """One compiled program. Sizes are bytes on one device."""

  name: str
  flops: float  # all devices together
  memory: Mapping[str, int]  # raw figures of `memory_analysis()`; empty if XLA refused the program
  traffic: Traffic  # of one device
  largest: tuple[tuple[float, str, str], ...]  # largest buffers as (bytes, kind, origin)
  seconds: float  # compile time
  refused: str = ""  # XLA's out-of-memory message if the program does not fit

  @property
  def total(self) -> int:
    """Bytes that a device holds while the program runs: arguments, results that alias no argument, temporaries."""
    m = self.memory
    return m["argument"] + m["output"] - m["alias"] + m["temp"] if m else 0

  @property
  def own(self) -> int:
    """Bytes that the program adds to its arguments while it runs."""
    return self.total - self.memory.get("argument", 0)


class Compiler:
  """Compiles programs one by one and reports each when it is done."""

  def __init__(self, tell: Callable[[str], None], fill: float):
    self.tell, self.fill = tell, fill
    self.done: dict[str, Program] = {}

  def __call__(self, name: str, jitted: Any, *args: Any, while_trips: int | None = None, **kwargs: Any) -> Any:
    """Compiles `jitted` for these arguments. Returns its results as shapes with shardings.

    Args:
      name: key of the program in `done`.
      while_trips: trip count of a loop whose end depends on data.

    Raises:
      Refused: XLA reports that the program does not fit.
    """
    started = time.perf_counter()
    traced = jitted.trace(*args, **kwargs)
    flops = count_flops(traced.jaxpr, while_trips, self.fill)
    try:
      compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
      if "RESOURCE_EXHAUSTED" not in str(error):
        raise
      arguments = tuple(sorted(_argument_sizes((args, kwargs)), key=lambda f: -f[0])[:3])
      largest = (*_largest_of_error(str(error)), *_largest_of_trace(traced.jaxpr, 5), *arguments)
      seconds = time.perf_counter() - started
      reason = " ".join(str(error).split())
      self.done[name] = Program(name, flops, {}, NOTHING, largest, seconds, reason[:600])
      raise Refused(name) from None
    module = hlo.parse(compiled.as_text())
    traffic = Counter(module, while_trips=while_trips, fill=self.fill).total()
    self.done[name] = Program(
      name=name,
      flops=flops,
      memory=memory_of(compiled),
      traffic=traffic,
      largest=tuple(hlo.largest(module, 5)),
      seconds=time.perf_counter() - started,
    )
    self.tell(f"{name}: compiled in {self.done[name].seconds:.1f} s")
    out = traced.out_info
    return jax.tree.map(
      lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
      out,
      compiled.output_shardings,
    )


class Refused(Exception):
  """XLA refused a program, so its results are unknown."""


def memory_of(compiled: Any) -> dict[str, int]:
  """Returns the figures of `memory_analysis()` in bytes on one device, by the names of MEMORY."""
  analysis = compiled.memory_analysis()
  return {
    name: int(getattr(analysis, f"{name}_in_bytes" if name == "peak_memory" else f"{name}_size_in_bytes"))
    for name in MEMORY
  }


def _argument_sizes(tree: Any) -> list[tuple[float, str, str]]:
  found = []
  for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype") and not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended):
      sharding = getattr(leaf, "sharding", None)
      shape = sharding.shard_shape(leaf.shape) if sharding is not None else leaf.shape
      size = float(np.prod(shape, dtype=np.float64)) * np.dtype(leaf.dtype).itemsize
      found.append((size, "argument", jax.tree_util.keystr(path)))
  return found


def _largest_of_error(message: str) -> list[tuple[float, str, str]]:
  """Returns the allocations that XLA lists when buffers do not fit."""
  units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
  found = []
  for size, unit, body in re.findall(r"Size: ([\d.]+)([KMG]?)\s(.*?)(?======|\Z)", message, flags=re.S):
    name = re.search(r'op_name="([^"]*)"', body) or re.search(r"Operator: (\S+)", body)
    shape = re.search(r"Shape: (\S+)", body)
    found.append((float(size) * units[unit], shape.group(1) if shape else "", name.group(1) if name else ""))
  return found[:5]


def _largest_of_trace(jaxpr: Any, n: int) -> list[tuple[float, str, str]]:
  """Returns the largest arrays of the traced program, with their size over all devices together."""
  found: dict[str, tuple[float, str, str]] = {}

  def visit(jaxpr: Any) -> None:
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    for eqn in jaxpr.eqns:
      for var in eqn.outvars:
        aval = var.aval
        if hasattr(aval, "shape") and not jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended):
          size = float(np.prod(aval.shape, dtype=np.float64)) * np.dtype(aval.dtype).itemsize
          found[str(aval)] = size, f"{aval.str_short()} over all devices", eqn.primitive.name
      for inner in jaxprs_in_params(eqn.params):
        visit(inner)

  visit(jaxpr)
  return sorted(found.values(), key=lambda f: -f[0])[:n]


def compile_step(
  config: Config,
  shape: TransformerConfig,
  mesh: Mesh | None,
  *,
  micro_batch: tuple[int, int],
  prompt: int,
  fill: float = 1.0,
  tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Program]:
  """Compiles every program of a step. If XLA refuses one, leaves out the programs that need its results.

  Args:
    mesh: mesh of the run, with this machine's devices or those of a topology. None is one device of this machine.
    micro_batch: (tokens, targets) of a row.
    prompt: tokens of a prompt, padded to `rollout.prompt_bucket` for the prefill whose time is estimated. The engine
      and the prefill whose memory counts use `data.max_prompt_tokens`.
    fill: fraction of the cache's positions in use at a decode step, for kernels that read only those.
    tell: receives a line of progress after each program.
  """
  config = dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, backend="inprocess"))
  compile_ = Compiler(tell, fill)
  place = _placement(mesh)

  def compile_all() -> None:
    learner = build_learner(config, shape)
    params = place(hf.param_shapes(shape, jnp.dtype(config.model.param_dtype)), params=True)
    for part in (
      lambda: _update(compile_, learner, params, config, micro_batch, place),
      lambda: _rollout(compile_, config, shape, params, prompt, place),
    ):
      try:
        part()
      except Refused:
        continue

  if mesh is None:
    compile_all()
  else:
    with jax.set_mesh(mesh):
      compile_all()
  return compile_.done


def _placement(mesh: Mesh | None) -> Callable[..., Any]:
  """Returns a function that adds shardings to shapes: the rules' for parameters, whole on every device for others."""

  def place(tree: Any, params: bool = False) -> Any:
    if mesh is None:
      return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    whole = NamedSharding(mesh, PartitionSpec())
    shardings = param_shardings(tree, mesh) if params else jax.tree.map(lambda leaf: whole, tree)
    return jax.tree.map(
      lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree, shardings
    )

  return place


def _update(
  compile_: Compiler, learner: Any, params: Any, config: Config, micro_batch: tuple[int, int], place: Callable[..., Any]
) -> None:
  batch = place(empty_micro_batch(config.train.micro_batch, *micro_batch))
  opt_state = compile_("moments", learner._init, params)
  gradients = compile_("zeros", learner._zeros, params)
  if learner.needs_reference:
    compile_("reference", learner._zeros, params)  # the reference has the layout of the gradients
  if config.loss.updates > 1 or learner.needs_reference:
    compile_("log-probs", learner.logprobs, params, batch)
  with contextlib.suppress(Refused):
    compile_("accumulate", learner.accumulate, params, gradients, batch, *[place(np.float32(1))] * 2)
  compile_("apply", learner._apply, TrainState(params, opt_state), gradients)


def _rollout(
  compile_: Compiler, config: Config, shape: TransformerConfig, params: Any, prompt: int, place: Callable[..., Any]
) -> None:
  # A stop token decides when a response ends, not what is compiled, so any id will do.
  engine = build_engine(config, shape, max_prompt=config.data.max_prompt_tokens, stops=(0,))
  same = all(leaf.dtype == engine.dtype for leaf in jax.tree.leaves(params))
  one_device = jax.sharding.get_abstract_mesh().empty
  # On one device and in the same dtype, load_params copies nothing.
  serving = params if same and one_device else compile_("reshard", engine._reshard, params)
  *smaller, positions = engine.cache_sizes()
  state = compile_("cache", engine._init, positions=positions)
  if smaller:
    compile_("grow", engine._resize, compile_("small cache", engine._init, positions=smaller[-1]), positions=positions)
  request = {
    "length": place(np.int32(1)),
    "key": place(jax.eval_shape(lambda: jax.random.key(0))),
    "max_new_tokens": place(np.int32(1)),
    "temperature": place(np.float32(1)),
  }
  padded = min(round_up(prompt, config.rollout.prompt_bucket), engine.max_prompt)
  prefix = None
  for name, length in (("prefill", padded), ("prefill longest", engine.max_prompt)):
    tokens = place(jax.ShapeDtypeStruct((length,), jnp.int32))
    prefix = compile_(name, engine._prefill, serving, tokens=tokens, **request)
  indices = place(jax.ShapeDtypeStruct((engine.group,), jnp.int32))
  compile_("insert", engine._insert, prefix, state, indices, indices)
  compile_("generate", engine._generate, serving, state=state, while_trips=engine.chunk)
