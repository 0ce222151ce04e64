"""The REST face of the models, as a Granian RSGI application: the only file that knows a status.

The statuses are OpenVINO Model Server's, the odd ones included: 412 for what is no JSON, 406 for a
wrong verb, 400 for an unknown address, 500 for an image that cannot be read.
"""

import asyncio
from concurrent.futures import Executor
from time import perf_counter
from typing import Any, NamedTuple

import structlog

from motorpool.modelserver import errors, images, metrics, routes
from motorpool.modelserver.model import Model, Serving
from motorpool.modelserver.protocols import v2
from motorpool.modelserver.routes import Endpoint, Route
from motorpool.modelserver.tensors import Array, Images, prepared

log = structlog.get_logger("motorpool.modelserver")

STATUS_OF: dict[type[errors.InferError], int] = {
    errors.InvalidInput: 400,
    errors.MalformedJson: 412,
    errors.UnusableContent: 500,
    errors.TooLarge: 413,
    errors.TooSlow: 408,
    errors.UnknownAddress: 400,
    errors.UnsupportedMethod: 406,
    errors.NotFound: 404,
    errors.NotLoaded: 404,
    errors.NotReady: 503,
    errors.Overloaded: 503,
    errors.ModelFault: 500,
}

BODY_MOST = 2**30  # as OpenVINO Model Server
BODIES_MOST = 2 * BODY_MOST  # all bodies that are held at a time
SMALL_BODY = 2**16  # comes in one piece, or nearly; not worth a clock
BODY_PATIENCE_S = 30.0
BODY_SLOWEST_BYTES_S = 2**18

CORS = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "*"),
    ("access-control-allow-headers", "*"),
]
JSON_HEADERS = [("content-type", "application/json"), *CORS]
METRICS_HEADERS = [("content-type", metrics.CONTENT_TYPE), *CORS]
JSON_LENGTH = "inference-header-content-length"


class Reply(NamedTuple):
    body: bytes = b""
    headers: list[tuple[str, str]] = JSON_HEADERS
    status: int = 200


class App:
    """Serves *model*. `ready` turns true when all models have been loaded for the first time."""

    def __init__(
        self, model: Model, *, version: str, decoders: Executor, registry: metrics.Registry | None
    ) -> None:
        self.ready = False
        self._model = model
        self._decoders = decoders
        self._registry = registry
        self._server_metadata = v2.encode_server_metadata(version)
        self._body_bytes = 0

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        try:
            reply = await self._reply(scope, protocol)
        except errors.InferError as error:
            reply = _error_reply(error)
        except Exception:  # Our own mistake: its caller gets 500, the log the rest.
            log.exception("request failed", method=scope.method, path=scope.path)
            reply = Reply(v2.encode_error("Internal server error"), status=500)
        protocol.response_bytes(reply.status, reply.headers, reply.body)

    async def _reply(self, scope: Any, protocol: Any) -> Reply:
        route = routes.route(scope.method, scope.path)
        if route.endpoint is Endpoint.MODEL_INFER:
            return await self._infer(scope, protocol, route)
        if route.endpoint is Endpoint.MODEL_READY:
            return self._model_ready(route)
        if route.endpoint is Endpoint.MODEL_METADATA:
            return self._metadata(route)
        return self._server_reply(route.endpoint)

    def _server_reply(self, endpoint: Endpoint) -> Reply:
        if endpoint is Endpoint.SERVER_METADATA:
            return Reply(self._server_metadata)
        if endpoint is Endpoint.SERVER_READY and not self.ready:
            raise errors.NotReady
        if endpoint is Endpoint.METRICS:
            if self._registry is None:
                raise errors.UnknownAddress
            return Reply(self._registry.exposition().encode(), METRICS_HEADERS)
        return Reply()

    def _named(self, route: Route, text: str = "Model with requested name is not found") -> Model:
        if route.model != self._model.name:
            raise errors.NotFound(text)
        return self._model

    def _model_ready(self, route: Route) -> Reply:
        version = self._named(route).version(route.version)
        if version.serving is None:
            raise errors.NotLoaded
        version.serving.metrics.ready.successes.value += 1
        return Reply()

    def _metadata(self, route: Route) -> Reply:
        model = self._named(route)
        version = model.version(route.version)
        if version.serving is None:
            raise errors.NotLoaded
        version.serving.metrics.metadata.successes.value += 1
        return Reply(v2.encode_metadata(model.name, model.available, version.serving.engine.spec))

    async def _infer(self, scope: Any, protocol: Any, route: Route) -> Reply:
        started = perf_counter()
        # The last place where OpenVINO Model Server looks for a name is among its graphs.
        model = self._named(route, "Mediapipe graph definition with requested name is not found")
        serving = await model.serving(route.version)
        size = _declared_size(scope)
        self._hold(size)
        series = serving.metrics
        series.current_requests.value += 1
        try:
            body = await _body(protocol, size)
            reply = await self._answer(serving, model.name, body, scope.headers.get(JSON_LENGTH))
        except errors.InferError:
            series.infer.failures.value += 1
            raise
        finally:
            series.current_requests.value -= 1
            self._body_bytes -= size
        series.infer.successes.value += 1
        series.request_time.observe((perf_counter() - started) * 1e6)
        return reply

    async def _answer(
        self, serving: Serving, name: str, body: bytes, json_length: str | None
    ) -> Reply:
        spec = serving.engine.spec
        request = v2.decode_request(body, json_length)
        arrays = [await self._array(each) for each in prepared(request, spec)]
        serving.metrics.queue_active.value = serving.workers.active
        answer = await serving.workers.infer(arrays)
        serving.metrics.wait_time.observe(answer.waited_s * 1e6)
        serving.metrics.inference_time.observe(answer.inferred_s * 1e6)
        outputs = list(zip(spec.outputs, answer.outputs, strict=True))
        content, end = v2.encode_response(name, serving.number, request, outputs)
        if end is None:
            return Reply(content)
        return Reply(content, [*JSON_HEADERS, (JSON_LENGTH, str(end))])

    async def _array(self, given: Array | Images) -> Array:
        if isinstance(given, Images):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._decoders, images.tensor_of, given)
        return given

    def _hold(self, size: int) -> None:
        if self._body_bytes + size > BODIES_MOST:
            raise errors.Overloaded("Too many large requests at a time")
        self._body_bytes += size


def _declared_size(scope: Any) -> int:
    """What the body may take of our memory: a body of unknown length may take all it can."""
    text = scope.headers.get("content-length")
    if text is None:
        return BODY_MOST if scope.headers.get("transfer-encoding") else 0
    if int(text) > BODY_MOST:
        raise errors.TooLarge("Request body is too large", f"at most {BODY_MOST} bytes are taken")
    return int(text)


async def _body(protocol: Any, size: int) -> bytes:
    body: bytes
    if size <= SMALL_BODY:
        body = await protocol()
        return body
    try:
        async with asyncio.timeout(BODY_PATIENCE_S + size / BODY_SLOWEST_BYTES_S):
            if size < BODY_MOST:
                body = await protocol()
            else:
                body = await _streamed(protocol)
    except TimeoutError:
        raise errors.TooSlow("Request body did not come in time") from None
    return body


async def _streamed(protocol: Any) -> bytes:
    chunks = bytearray()
    async for chunk in protocol:
        chunks += chunk
        if len(chunks) > BODY_MOST:
            raise errors.TooLarge(
                "Request body is too large", f"at most {BODY_MOST} bytes are taken"
            )
    return bytes(chunks)


def _error_reply(error: errors.InferError) -> Reply:
    return Reply(v2.encode_error(str(error)), status=STATUS_OF[type(error)])
