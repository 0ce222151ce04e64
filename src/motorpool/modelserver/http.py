"""The REST face of the models, as a Granian RSGI application: the only file that knows a status.

The statuses are OpenVINO Model Server's, the odd ones included: 412 for what is no JSON, 406 for a
wrong verb, 400 for an unknown address, 500 for an image that cannot be read.
"""

from concurrent.futures import Executor
from typing import Any, NamedTuple

import structlog
from granian.rsgi import ProtocolClosed, ProtocolError

from motorpool.modelserver import errors, metrics, routes
from motorpool.modelserver.bodies import Bodies
from motorpool.modelserver.catalog import NO_GRAPH, Catalog
from motorpool.modelserver.inference import counted, infer
from motorpool.modelserver.model import Serving
from motorpool.modelserver.protocols import v2
from motorpool.modelserver.routes import Endpoint, Route

log = structlog.get_logger("motorpool.modelserver")

STATUS_OF: dict[type[errors.InferError], int] = {
    errors.InvalidInput: 400,
    errors.MalformedJson: 412,
    errors.UnusableContent: 500,
    errors.EmptyContent: 500,
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
    """Serves the models of *catalog*; /metrics where there is a *registry*."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        version: str,
        decoders: Executor,
        registry: metrics.Registry | None,
    ) -> None:
        self._catalog = catalog
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
        if endpoint is Endpoint.SERVER_READY and not self._catalog.ready.is_set():
            raise errors.NotReady
        if endpoint is Endpoint.METRICS:
            if self._registry is None:
                raise errors.UnknownAddress
            return Reply(self._registry.exposition().encode(), METRICS_HEADERS)
        return Reply()

    def _model_ready(self, route: Route) -> Reply:
        version = self._catalog.model(route.model).version(route.version)
        if version.serving is None:
            raise errors.NotLoaded
        version.serving.metrics.rest.ready.successes.value += 1
        return Reply()

    def _metadata(self, route: Route) -> Reply:
        model = self._catalog.model(route.model)
        version = model.version(route.version)
        if version.serving is None:
            raise errors.NotLoaded
        version.serving.metrics.rest.metadata.successes.value += 1
        return Reply(v2.encode_metadata(model.name, model.available, version.serving.engine.spec))

    async def _infer(self, scope: Any, protocol: Any, route: Route) -> Reply:
        serving = await self._catalog.model(route.model, NO_GRAPH).serving(route.version)
        series = serving.metrics.rest
        with counted(serving, series, series.infer), self._bodies.open(scope) as body:
            content = await body.read(protocol)
            end = scope.headers.get(JSON_LENGTH)
            return await self._answer(serving, route.model, content, end)

    async def _answer(
        self, serving: Serving, name: str, body: bytes, json_length: str | None
    ) -> Reply:
        request = v2.decode_request(body, json_length)
        outputs = await infer(serving, request, self._decoders)
        content, end = v2.encode_response(name, serving.number, request, outputs)
        if end is None:
            return Reply(content)
        return Reply(content, [*JSON_HEADERS, (JSON_LENGTH, str(end))])


def _error_reply(error: errors.InferError) -> Reply:
    return Reply(v2.encode_error(str(error)), status=STATUS_OF[type(error)])
