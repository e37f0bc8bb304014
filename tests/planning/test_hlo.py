"""Tests bytes and collectives of HLO text with numbers worked out by hand, and of programs compiled by XLA here."""

import jax
import jax.numpy as jnp
import pytest

from srpo_jax.planning import hlo
from srpo_jax.planning.loops import trips
from srpo_jax.planning.traffic import Counter, group_size

# A loop of six trips (0, 2, .. 10). Each trip slices a row off a stack, gathers it over four of eight devices and
# writes a row of the result in place. One fusion reads from on-chip memory.
TEXT = """HloModule jit_f, is_scheduled=true, num_partitions=8

%fused_slice (param_0.1: f32[12,100], param_1.1: s32[]) -> f32[1,100] {
  %param_0.1 = f32[12,100]{1,0} parameter(0)
  %param_1.1 = s32[] parameter(1)
  %constant.9 = s32[] constant(0)
  ROOT %dynamic-slice.1 = f32[1,100]{1,0} dynamic-slice(%param_0.1, %param_1.1, %constant.9), sizes={1,100}
}

%fused_write (param_0.2: f32[12,400], param_1.2: f32[1,400], param_2.2: s32[]) -> f32[12,400] {
  %param_0.2 = f32[12,400]{1,0} parameter(0)
  %param_1.2 = f32[1,400]{1,0} parameter(1)
  %param_2.2 = s32[] parameter(2)
  %constant.8 = s32[] constant(0)
  ROOT %dynamic-update-slice.1 = f32[12,400]{1,0} dynamic-update-slice(%param_0.2, %param_1.2, %param_2.2, %constant.8)
}

%body (p: (s32[], f32[12,100], f32[12,400])) -> (s32[], f32[12,100], f32[12,400]) {
  %p = (s32[], f32[12,100]{1,0}, f32[12,400]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %stack = f32[12,100]{1,0} get-tuple-element(%p), index=1
  %result = f32[12,400]{1,0} get-tuple-element(%p), index=2
  %two = s32[]{:S(6)} constant(2)
  %next = s32[]{:S(6)} add(%i, %two)
  %row = f32[1,100]{1,0} fusion(%stack, %i), kind=kLoop, calls=%fused_slice
  %all = f32[1,400]{1,0} all-gather(%row), channel_id=1, replica_groups=[2,4]<=[8], dimensions={1}
  %near = f32[1,400]{1,0:T(8,128)S(1)} copy(%all)
  %written = f32[12,400]{1,0} fusion(%result, %near, %i), kind=kLoop, calls=%fused_write, frontend_attributes={note={
"of":"two lines"
}}, metadata={op_name="jit(f)/write"}
  ROOT %t = (s32[], f32[12,100]{1,0}, f32[12,400]{1,0}) tuple(%next, %stack, %written)
}

%condition (p.1: (s32[], f32[12,100], f32[12,400])) -> pred[] {
  %p.1 = (s32[], f32[12,100]{1,0}, f32[12,400]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%p.1), index=0
  %limit = s32[]{:S(6)} constant(12)
  ROOT %lt = pred[]{:S(6)} compare(%i.1, %limit), direction=LT
}

ENTRY %main (a: f32[12,100], b: f32[12,400]) -> f32[12,400] {
  %a = f32[12,100]{1,0} parameter(0)
  %b = f32[12,400]{1,0} parameter(1)
  %zero = s32[] constant(0)
  %start = (s32[], f32[12,100]{1,0}, f32[12,400]{1,0}) tuple(%zero, %a, %b)
  %loop = (s32[], f32[12,100]{1,0}, f32[12,400]{1,0}) while(%start), condition=%condition, body=%body
  %out = f32[12,400]{1,0} get-tuple-element(%loop), index=2
  ROOT %sum = f32[12,400]{1,0} all-reduce(%out), channel_id=2, replica_groups={{0,1},{2,3},{4,5},{6,7}}, to_apply=%add
}
"""


def test_a_module_worked_out_by_hand():
  counter = Counter(hlo.parse(TEXT))
  module = counter.module
  loop = module.computations["main"]["loop"]
  assert module.devices == 8 and trips(module, loop, module.computations["main"]) == 6
  row, gathered = 100 * 4, 400 * 4
  # Traffic of one trip, in this order: the fusion reads the counter and the slice and writes the slice, the all-gather
  # reads and writes, the copy to on-chip memory reads, the fusion that writes the row reads the counter and writes, the
  # addition reads the counter, and the comparison reads the counter.
  trip = (4 + row + row) + (row + gathered) + gathered + (4 + gathered) + 4 + 4
  total = counter.total()
  assert total.hbm == 6 * trip + 2 * 12 * 400 * 4
  assert total.collectives == {
    "all-gather": (6, 6 * gathered * 3 / 4),
    "all-reduce": (1, 2 * 12 * 400 * 4 / 2),
  }
  assert hlo.largest(module, 1) == [(12 * 400 * 4, "fusion", "jit(f)/write")]


@pytest.mark.parametrize(
  ("text", "size"),
  [
    ("replica_groups=[4,16]<=[16,4]T(1,0)", 16),
    ("replica_groups={{0,1,2},{3,4,5}}", 3),
    ("replica_groups=mesh['axis_0'=16,'axis_1'=4] {'axis_0'}", 16),
    ("replica_groups={}", 64),
    ("channel_id=3", 64),
  ],
)
def test_sizes_of_groups(text, size):
  assert group_size(text, 64) == size


def test_a_loop_whose_end_depends_on_data_needs_while_trips():
  def f(x):
    return jax.lax.while_loop(lambda x: x.sum() > 0, lambda x: x @ x, x)

  text = jax.jit(f).lower(jnp.ones((64, 64))).compile().as_text()
  with pytest.raises(ValueError, match="depend on data"):
    Counter(hlo.parse(text)).total()
  once, thrice = (Counter(hlo.parse(text), while_trips=n).total().hbm for n in (1, 3))
  assert thrice > 2 * once


def test_a_scan_reads_each_layer_once_and_not_the_stack_at_each_trip():
  def f(x, stack):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, stack)[0]

  def traffic(layers):
    shapes = jax.ShapeDtypeStruct((16, 512), jnp.float32), jax.ShapeDtypeStruct((layers, 512, 512), jnp.float32)
    return Counter(hlo.parse(jax.jit(f).lower(*shapes).compile().as_text())).total().hbm

  one = 512 * 512 * 4
  per_layer = (traffic(40) - traffic(20)) / 20
  assert one < per_layer < 4 * one  # more than once, because XLA's CPU backend copies the slice before the product
