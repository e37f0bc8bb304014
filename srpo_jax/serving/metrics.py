"""Figures of a server for Prometheus. Two have the names that JetStream gives them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
  """In a registry of its own, so that two servers in one process keep apart."""

  def __init__(self) -> None:
    self.registry = registry = CollectorRegistry()
    self.requests = Counter("srpo_requests", "Requests by how they ended", ["door", "outcome"], registry=registry)
    self.prompt_tokens = Counter("srpo_prompt_tokens", "Tokens of prompts that were run", registry=registry)
    self.tokens = Counter("srpo_generated_tokens", "Tokens given to responses, stop tokens included", registry=registry)
    self.first_token_s = Histogram(
      "srpo_time_to_first_token_seconds", "From admission to the first tokens", registry=registry, buckets=_SECONDS
    )
    self.request_s = Histogram("srpo_request_seconds", "From admission to the end", registry=registry, buckets=_SECONDS)
    self.open = Gauge("srpo_requests_open", "Requests admitted and not ended", registry=registry)
    self.waiting = Gauge("jetstream_prefill_backlog_size", "Size of prefill queue", registry=registry)
    self.free = Gauge(
      "jetstream_slots_available_percentage", "Share of the decode slots that is free (0 to 1)", registry=registry
    )

  def text(self) -> bytes:
    """In Prometheus' text format."""
    return generate_latest(self.registry)
