"""The REST face of the models, as a Granian RSGI application: the only file that knows a status.

The statuses are OpenVINO Model Server's, the odd ones included: 412 for what is no JSON, 406 for a
wrong verb, 400 for an unknown address, 500 for an image that cannot be read.
"""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Executor
from time import perf_counter
from typing import Any, NamedTuple

import structlog
from granian.rsgi import ProtocolClosed, ProtocolError

from motorpool.modelserver import errors, images, metrics, routes, waiting
from motorpool.modelserver.bodies import Bodies
from motorpool.modelserver.model import Model, Serving
from motorpool.modelserver.protocols import v1, v2
from motorpool.modelserver.routes import Endpoint, Route
from motorpool.modelserver.tensors import Array, Images, InferRequest, TensorSpec, prepared

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
    errors.Expired: 504,
    errors.ClientLeft: 499,  # in logs and counters only
    errors.ModelFault: 500,
}

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
        self._bodies = Bodies()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        try:
            reply = await self._reply(scope, protocol)
        except errors.InferError as error:
            reply = _error_reply(error)
        except (ProtocolClosed, ProtocolError):
            return  # The client left before its request was whole.
        except Exception:  # Our own mistake: its caller gets 500, the log the rest.
            log.exception("request failed", method=scope.method, path=scope.path)
            reply = Reply(v2.encode_error("Internal server error"), status=500)
        protocol.response_bytes(reply.status, reply.headers, reply.body)

    async def _reply(self, scope: Any, protocol: Any) -> Reply:
        route = routes.route(scope.method, scope.path)
        if route.endpoint in (Endpoint.MODEL_INFER, Endpoint.MODEL_PREDICT):
            return await self._infer(scope, protocol, route)
        if route.endpoint is Endpoint.MODEL_READY:
            return self._model_ready(route)
        if route.endpoint is Endpoint.MODEL_METADATA:
            return self._metadata(route)
        if route.endpoint is Endpoint.MODEL_STATUS:
            return self._status(route)
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

    def _status(self, route: Route) -> Reply:
        """V1, in the words of KServe's own servers for the models that they serve."""
        model = self._named(route)
        version = model.version(route.version)
        if version.serving is None:
            raise errors.NotLoaded
        if not version.serving.engine.spec.rows:
            raise errors.UnknownAddress
        return Reply(v1.encode_status(model.name))

    async def _infer(self, scope: Any, protocol: Any, route: Route) -> Reply:
        started = perf_counter()
        # The last place where OpenVINO Model Server looks for a name is among its graphs.
        model = self._named(route, "Mediapipe graph definition with requested name is not found")
        serving = await model.serving(route.version)
        series = serving.metrics
        series.current_requests.value += 1
        try:
            with self._bodies.open(scope) as body:
                content = await body.read(protocol)
                if route.endpoint is Endpoint.MODEL_PREDICT:
                    work = self._predicted(serving, content)
                else:
                    end = scope.headers.get(JSON_LENGTH)
                    work = self._answer(serving, model.name, content, end)
                reply = await _awaited(work, serving, scope, protocol)
        except errors.InferError:
            series.infer.failures.value += 1
            raise
        finally:
            series.current_requests.value -= 1
        series.infer.successes.value += 1
        series.request_time.observe((perf_counter() - started) * 1e6)
        return reply

    async def _answer(
        self, serving: Serving, name: str, body: bytes, json_length: str | None
    ) -> Reply:
        request = v2.decode_request(body, json_length)
        outputs = await self._outputs(serving, request)
        content, end = v2.encode_response(name, serving.number, request, outputs)
        if end is None:
            return Reply(content)
        return Reply(content, [*JSON_HEADERS, (JSON_LENGTH, str(end))])

    async def _predicted(self, serving: Serving, body: bytes) -> Reply:
        request, form = v1.decode_predict(body, serving.engine.spec)
        return Reply(v1.encode_predict(form, await self._outputs(serving, request)))

    async def _outputs(
        self, serving: Serving, request: InferRequest
    ) -> list[tuple[TensorSpec, Array]]:
        spec = serving.engine.spec
        arrays = [await self._array(each) for each in prepared(request, spec)]
        serving.metrics.queue_active.value = serving.workers.active
        answer = await serving.workers.infer(arrays)
        serving.metrics.wait_time.observe(answer.waited_s * 1e6)
        serving.metrics.inference_time.observe(answer.inferred_s * 1e6)
        return list(zip(spec.outputs, answer.outputs, strict=True))

    async def _array(self, given: Array | Images) -> Array:
        if isinstance(given, Images):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._decoders, images.tensor_of, given)
        return given


async def _awaited(
    work: Coroutine[Any, Any, Reply], serving: Serving, scope: Any, protocol: Any
) -> Reply:
    """The reply, as long as somebody waits for it."""
    wanted = waiting.within(waiting.timeout_s(scope.headers.get(waiting.TIMEOUT_MS)), work)
    if serving.workers.is_idle:
        return await wanted
    # Only what has to queue can be spared its work.
    return await waiting.while_connected(protocol.client_disconnect, wanted)


def _error_reply(error: errors.InferError) -> Reply:
    return Reply(v2.encode_error(str(error)), status=STATUS_OF[type(error)])
