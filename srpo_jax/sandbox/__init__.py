"""Runs untrusted programs in confined processes and returns their results as plain data.

    Sandbox (in the trainer) -> supervisor (a fresh process) -> one warm zygote per slot -> one confined child per run

This package imports only the standard library. The processes that an untrusted program (the candidate) descends from
therefore hold neither JAX nor any state of the trainer.
"""
