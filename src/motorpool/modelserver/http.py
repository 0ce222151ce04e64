"""The REST face of the models, as a Granian RSGI application: the only file that knows a status.

The statuses are OpenVINO Model Server's, the odd ones included: 412 for what is no JSON, 406 for a
wrong verb, 400 for an unknown address, 500 for an image that cannot be read.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog
from granian.rsgi import ProtocolClosed, ProtocolError

from motorpool.modelserver import errors, metrics, routes, waiting
from motorpool.modelserver.bodies import Bodies
from motorpool.modelserver.catalog import NO_GRAPH, Catalog
from motorpool.modelserver.inference import counted, infer
from motorpool.modelserver.model import Serving
from motorpool.modelserver.protocols import tfs, v1, v2
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
    errors.Expired: 504,
    errors.ClientLeft: 499,  # in logs and counters only
    errors.ModelFault: 500,
    errors.ReloadFailed: 500,
    errors.NoConfig: 500,
    errors.InvalidConfig: 412,
}
RELOAD_FAILED = "Reloading config file failed. Check server logs for more info."

JSON_TYPE = "application/json"
JSON_LENGTH = "inference-header-content-length"
QUIET_S = 0.05
QUIET_MOST_S = 1.0


class Reply(NamedTuple):
    body: bytes = b""
    status: int = 200
    content_type: str = JSON_TYPE
    json_length: int | None = None


class Cors(msgspec.Struct, frozen=True):
    """What browsers are told of who may read the answers."""

    origins: str = "*"
    methods: str = "*"
    headers: str = "*"
    credentials: bool = False

    def lines(self) -> list[tuple[str, str]]:
        given = [
            ("access-control-allow-origin", self.origins),
            ("access-control-allow-methods", self.methods),
            ("access-control-allow-headers", self.headers),
        ]
        return [*given, ("access-control-allow-credentials", "true")] if self.credentials else given


class Reload(Protocol):
    async def __call__(self) -> bool:
        """Whether anything changed. Raises ReloadFailed."""
        ...


class App:
    """Serves the models of *catalog*; /metrics where there is a *registry*."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        version: str,
        decoders: Executor,
        registry: metrics.Registry | None,
        reload: Reload,
        cors: Cors,
    ) -> None:
        self._catalog = catalog
        self._reload = reload
        self._cors = cors.lines()
        self._json_headers = [("content-type", JSON_TYPE), *self._cors]
        self._decoders = decoders
        self._registry = registry
        self._server_metadata = v2.encode_server_metadata(version)
        self._bodies = Bodies()
        self._asked = 0
        self._answered = 0

    def ask_to_leave(self) -> None:
        """Asks every client to close its connection with the next answer."""
        self._cors = [*self._cors, ("connection", "close")]
        self._json_headers = [("content-type", JSON_TYPE), *self._cors]

    async def quiet(
        self, most_s: float = QUIET_MOST_S, is_awaited: Callable[[], bool] = lambda: False
    ) -> None:
        """Waits until nobody asks any more and nobody *is_awaited*, *most_s* at the most.

        A connection that the server closes may just have been used for another request.
        """
        for _ in range(round(most_s / QUIET_S)):
            before = self._asked, self._answered
            came = is_awaited()
            await asyncio.sleep(QUIET_S)
            busy = before != (self._asked, self._answered) or self._asked != self._answered
            if not (busy or came or is_awaited()):
                return

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        self._asked += 1
        try:
            await self._serve(scope, protocol)
        finally:
            self._answered += 1

    async def _serve(self, scope: Any, protocol: Any) -> None:
        try:
            reply = await self._reply(scope, protocol)
        except errors.InferError as error:
            reply = _error_reply(error)
        except (ProtocolClosed, ProtocolError):
            return  # The client left before its request was whole.
        except Exception:  # Our own mistake: its caller gets 500, the log the rest.
            log.exception("request failed", method=scope.method, path=scope.path)
            reply = Reply(v2.encode_error("Internal server error"), status=500)
        protocol.response_bytes(reply.status, self._headers(reply), reply.body)

    def _headers(self, reply: Reply) -> list[tuple[str, str]]:
        if reply.json_length is not None:
            return [*self._json_headers, (JSON_LENGTH, str(reply.json_length))]
        if reply.content_type == JSON_TYPE:
            return self._json_headers
        return [("content-type", reply.content_type), *self._cors]

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
        if route.endpoint is Endpoint.MODEL_SIGNATURE:
            return self._signature(route)
        if route.endpoint is Endpoint.CONFIG_RELOAD:
            return await self._reloaded()
        return self._server_reply(route.endpoint)

    def _server_reply(self, endpoint: Endpoint) -> Reply:
        if endpoint is Endpoint.SERVER_METADATA:
            return Reply(self._server_metadata)
        if endpoint is Endpoint.SERVER_READY and not self._catalog.ready.is_set():
            raise errors.NotReady
        if endpoint in (Endpoint.SERVER_LIVE, Endpoint.SERVER_READY):
            return Reply(self._health(endpoint))
        if endpoint in (Endpoint.ALIVE, Endpoint.MODELS):
            return Reply(self._as_kserve(endpoint))
        if endpoint is Endpoint.CONFIG:
            return Reply(self._config())
        if endpoint is Endpoint.METRICS:
            if self._registry is None:
                raise errors.UnknownAddress
            return Reply(self._registry.exposition().encode(), content_type=metrics.CONTENT_TYPE)
        return Reply()

    def _health(self, endpoint: Endpoint) -> bytes:
        """Nothing, as OpenVINO Model Server; of tables, what clients of KServe's servers read."""
        if not self._serves_tables():
            return b""
        return v2.encode_health("live" if endpoint is Endpoint.SERVER_LIVE else "ready")

    def _serves_tables(self) -> bool:
        return any(each.serves_tables for each in self._catalog.models)

    def _as_kserve(self, endpoint: Endpoint) -> bytes:
        """What OpenVINO Model Server does not have, and KServe's clients and probes ask for."""
        if not self._serves_tables():
            raise errors.UnknownAddress
        if endpoint is Endpoint.ALIVE:
            return v1.encode_alive()
        return v1.encode_models([each.name for each in self._catalog.models])

    def _model_ready(self, route: Route) -> Reply:
        model = self._catalog.model(route.model)
        version = model.version(route.version)
        if version.serving is None:
            raise errors.NotLoaded
        version.serving.metrics.rest.ready.successes.value += 1
        return Reply(v1.encode_status(model.name) if model.serves_tables else b"")

    def _metadata(self, route: Route) -> Reply:
        model = self._catalog.model(route.model)
        version = model.version(route.version)
        if version.serving is None:
            raise errors.NotLoaded
        version.serving.metrics.rest.metadata.successes.value += 1
        return Reply(v2.encode_metadata(model.name, model.available, version.serving.engine.spec))

    def _status(self, route: Route) -> Reply:
        """V1, of a table in the words of KServe's own servers, which it is served in place of."""
        model = self._catalog.model(route.model)
        if model.serves_tables:
            return Reply(v1.encode_status(model.name))
        status = model.status(route.version)
        model.count_status("REST")
        return Reply(tfs.encode_status(status))

    def _signature(self, route: Route) -> Reply:
        model = self._catalog.model(route.model)
        version = model.version(route.version)
        if version.serving is None:
            raise errors.NotLoaded
        version.serving.metrics.rest.model_metadata.successes.value += 1
        return Reply(tfs.encode_metadata(model.name, version.number, version.serving.engine.spec))

    def _config(self) -> bytes:
        return tfs.encode_config({each.name: each.status(None) for each in self._catalog.models})

    async def _reloaded(self) -> Reply:
        try:
            changed = await self._reload()
        except errors.ReloadFailed as error:
            log.warning("reload failed", cause=str(error))
            text = str(error) if isinstance(error, errors.NoConfig) else RELOAD_FAILED
            return Reply(tfs.encode_config_error(text), STATUS_OF[type(error)])
        return Reply(self._config(), 201 if changed else 200)

    async def _infer(self, scope: Any, protocol: Any, route: Route) -> Reply:
        serving = await self._catalog.model(route.model, NO_GRAPH).serving(route.version)
        series = serving.metrics.rest
        call = series.predict if route.endpoint is Endpoint.MODEL_PREDICT else series.infer
        with counted(serving, series, call), self._bodies.open(scope) as body:
            content = await body.read_unpacked(protocol, scope.headers.get("content-encoding"))
            if route.endpoint is Endpoint.MODEL_PREDICT:
                work = self._predicted(serving, content)
            else:
                end = scope.headers.get(JSON_LENGTH)
                work = self._answer(serving, route.model, content, end)
            return await _awaited(work, serving, scope, protocol)

    async def _answer(
        self, serving: Serving, name: str, body: bytes, json_length: str | None
    ) -> Reply:
        request = v2.decode_request(body, json_length)
        outputs = await infer(serving, request, self._decoders)
        content, end = v2.encode_response(name, serving.number, request, outputs)
        return Reply(content, json_length=end)

    async def _predicted(self, serving: Serving, body: bytes) -> Reply:
        spec = serving.engine.spec
        request, form = v1.decode_predict(body, spec)
        outputs = await infer(serving, request, self._decoders)
        return Reply(v1.encode_predict(form, outputs, named=spec.named))


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
