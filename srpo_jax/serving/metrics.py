"""Metrics of a server for Prometheus. Two of them keep JetStream's names."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
  """Metrics of one server, in their own registry, so that two servers in one process stay separate."""

  def __init__(self) -> None:
    self.registry = registry = CollectorRegistry()
    self.requests = Counter("srpo_requests", "Requests by outcome", ["door", "outcome"], registry=registry)
    self.prompt_tokens = Counter("srpo_prompt_tokens", "Tokens of prefilled prompts", registry=registry)
    self.tokens = Counter("srpo_generated_tokens", "Tokens of responses, including stop tokens", registry=registry)
    self.first_token_s = Histogram(
      "srpo_time_to_first_token_seconds", "Time from admission to first tokens", registry=registry, buckets=_SECONDS
    )
    self.request_s = Histogram(
      "srpo_request_seconds", "Time from admission to the end", registry=registry, buckets=_SECONDS
    )
    self.open = Gauge("srpo_requests_open", "Admitted requests that have not ended", registry=registry)
    self.waiting = Gauge("jetstream_prefill_backlog_size", "Requests in the prefill queue", registry=registry)
    self.free = Gauge("jetstream_slots_available_percentage", "Share of free decode slots (0 to 1)", registry=registry)

  def text(self) -> bytes:
    """Returns all metrics in Prometheus' text format."""
    return generate_latest(self.registry)
