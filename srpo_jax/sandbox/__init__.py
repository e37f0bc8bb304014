"""Runs programs that nobody vouches for, and hands back plain data.

    Sandbox (in the trainer) -> supervisor (a fresh process) -> a warm zygote a core -> one confined child an execution

Standard library only: nothing of JAX, and no state of the trainer, is in a process that a candidate descends from.
"""
