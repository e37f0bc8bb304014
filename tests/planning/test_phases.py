"""Compares lifetimes of arrays and the roofline with numbers worked out by hand."""

import pytest

from srpo_jax.planning import memory
from srpo_jax.planning.chips import TPUS
from srpo_jax.planning.phases import roofline
from srpo_jax.planning.programs import Program
from srpo_jax.planning.traffic import NOTHING, Traffic


def program(name, *, argument=0, output=0, alias=0, temp=0, flops=0.0, traffic=NOTHING):
  figures = {"argument": argument, "output": output, "alias": alias, "temp": temp, "generated_code": 1}
  return Program(name, flops, figures | {"peak_memory": 0}, traffic, (), 0.0)


PROGRAMS = {
  p.name: p
  for p in [
    program("zeros", output=100),  # gradients are 100, like the weights
    program("moments", output=200),
    program("reshard", argument=100, output=400, temp=50),
    program("cache", output=1000),
    program("prefill longest", argument=401, output=20, temp=30),
    program("insert", argument=1020, output=1000, alias=1000, temp=5),
    program("generate", argument=1400, output=1000, alias=1000, temp=70),
    program("accumulate", argument=210, output=101, alias=100, temp=900),
    program("apply", argument=400, output=300, alias=300, temp=2),
  ]
}


def test_memory_of_each_phase():
  phases = {phase.program: phase for phase in memory.phases(PROGRAMS)}
  code = len(PROGRAMS)
  always = 100 + 200 + code
  assert phases["reshard"].total == always + 400 + 50
  assert phases["prefill longest"].total == always + 400 + 1000 + 1 + 20 + 30
  assert phases["insert"].total == always + 400 + 1000 + 20 + 5
  assert phases["generate"].total == always + 400 + 1000 + 70
  assert phases["accumulate"].total == always + 100 + 10 + 1 + 900  # the serving weights and the cache are gone
  assert phases["apply"].total == always + 100 + 2
  assert memory.peak(PROGRAMS) == phases["generate"]


def test_without_a_copy_rollouts_read_the_trainers_weights():
  programs = {name: p for name, p in PROGRAMS.items() if name != "reshard"}
  programs["generate"] = program("generate", argument=1100, output=1000, alias=1000, temp=70)
  phases = {phase.program: phase for phase in memory.phases(programs)}
  assert phases["generate"].total == 100 + 200 + 1000 + 70 + len(programs)


def test_the_largest_of_three_bounds_a_phase():
  chip = TPUS["v5p"]
  busy = program("x", flops=459e12 * 4 * 3, traffic=Traffic(2765e9 * 2, {"all-gather": (1, 600e9 * 5)}))
  found = roofline("x", busy, chip, 4, runs=10)
  assert (found.flops_s, found.hbm_s, found.ici_s) == pytest.approx((30, 20, 50))
  assert found.seconds == pytest.approx(50) and found.bound_by == "ICI"
