"""JetStream's gRPC service, served by our driver."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from srpo_jax.utils.quiet import quiet_imports

with quiet_imports():
  from jetstream.core import orchestrator
  from jetstream.core.proto import jetstream_pb2, jetstream_pb2_grpc

from srpo_jax.serving.active_request import Piece
from srpo_jax.serving.driver import ServingDriver
from srpo_jax.serving.requests import BadRequestError, UnavailableError


class Orchestrator(orchestrator.LLMOrchestrator):
  """JetStream's servicer, which reports errors as gRPC statuses and sends text without decoding it again."""

  _driver: ServingDriver

  async def Decode(self, request: Any, context: Any = None) -> AsyncIterator[Any]:
    """Streams a response.

    Statuses of errors: INVALID_ARGUMENT for a wrong request, RESOURCE_EXHAUSTED if too many requests are waiting,
    UNAVAILABLE if the server is ending or has failed.
    """
    metrics = self._driver.metrics
    try:
      if request.WhichOneof("content") is None:
        raise BadRequestError("content: missing, expected text_content or token_content")
      async for response in super().Decode(request, context):
        yield response
    except BadRequestError as error:
      metrics.requests.labels("grpc", "invalid").inc()
      await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except UnavailableError as error:
      await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

  async def HealthCheck(self, request: Any, context: Any = None) -> Any:
    return jetstream_pb2.HealthCheckResponse(is_live=self._driver.live and not self._driver.draining)

  def should_buffer_response(self, response: Sequence[Piece]) -> bool:
    return False  # the text has only whole characters, so a text "<0xE5>" is what the policy wrote

  def process_server_side_tokenization_response(self, response: Sequence[Piece], buffered_response_list: Any) -> Any:
    content = jetstream_pb2.DecodeResponse.StreamContent
    samples = [content.Sample(text="".join(piece.text), token_ids=piece.token_ids) for piece in response]
    return jetstream_pb2.DecodeResponse(stream_content=content(samples=samples))


def grpc_server(driver: ServingDriver) -> grpc.aio.Server:
  """Returns a server with JetStream's service, not started yet.

  JetStream's JetStreamServer does the same, but it listens on every interface and stops the driver before the requests
  in flight have ended.
  """
  server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])  # makes a port in use an error
  jetstream_pb2_grpc.add_OrchestratorServicer_to_server(Orchestrator(driver), server)
  return server
