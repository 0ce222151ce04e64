"""The gRPC face of the models: the only file that knows gRPC's status codes and its server.

The codes are OpenVINO Model Server's. `serve` starts grpcio's own threads, so only after a fork;
importing this file starts none.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple, TypeAlias

# It would otherwise write to stderr in a format of its own; what matters comes as an exception.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import structlog
from grpc import aio

from motorpool.modelserver import errors
from motorpool.modelserver.bodies import BODIES_MOST, Bodies
from motorpool.modelserver.catalog import NO_GRAPH, Catalog
from motorpool.modelserver.inference import counted, infer
from motorpool.modelserver.protocols import messages, reflection, v2_grpc
from motorpool.modelserver.rpc_tfs import TensorFlowServing

log = structlog.get_logger("motorpool.modelserver")

MESSAGE_MOST = 2**30  # as OpenVINO Model Server
RPCS_MOST = 4096  # at a time; those beyond are refused with RESOURCE_EXHAUSTED
TEXT_MOST = 1000  # characters of a status; a client takes no more than 8 KiB of headers
SERVER_NAME = "OpenVINO Model Server"

Code = grpc.StatusCode
CODE_OF: dict[type[errors.InferError], grpc.StatusCode] = {
    errors.InvalidInput: Code.INVALID_ARGUMENT,
    errors.UnusableContent: Code.UNKNOWN,
    errors.EmptyContent: Code.INVALID_ARGUMENT,
    errors.TooLarge: Code.RESOURCE_EXHAUSTED,
    errors.NotFound: Code.NOT_FOUND,
    errors.NotLoaded: Code.UNAVAILABLE,
    errors.NotReady: Code.UNAVAILABLE,
    errors.Overloaded: Code.RESOURCE_EXHAUSTED,
    errors.Expired: Code.DEADLINE_EXCEEDED,
    errors.ClientLeft: Code.CANCELLED,
    errors.ModelFault: Code.INTERNAL,
}

Unary: TypeAlias = Callable[[Any], Awaitable[Any]]
Stream: TypeAlias = Callable[[AsyncIterator[Any]], AsyncIterator[Any]]
Methods: TypeAlias = Mapping[str, Unary | Stream]


class CannotServe(Exception):
    pass


class Inference:
    """inference.GRPCInferenceService"""

    def __init__(self, catalog: Catalog, *, version: str, decoders: Executor) -> None:
        self._catalog = catalog
        self._version = version
        self._decoders = decoders

    def methods(self) -> Methods:
        return {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
            "ModelStreamInfer": self._model_stream_infer,
        }

    async def _server_live(self, _: Any) -> Any:
        return v2_grpc.ServerLiveResponse(live=True)

    async def _server_ready(self, _: Any) -> Any:
        return v2_grpc.ServerReadyResponse(ready=self._catalog.ready.is_set())

    async def _model_ready(self, request: Any) -> Any:
        number = v2_grpc.version_number(request.version)
        try:
            version = self._catalog.model(request.name).version(number)
        except errors.NotLoaded:
            return v2_grpc.ModelReadyResponse(ready=False)
        if version.serving is not None:
            version.serving.metrics.grpc.ready.successes.value += 1
        return v2_grpc.ModelReadyResponse(ready=version.serving is not None)

    async def _server_metadata(self, _: Any) -> Any:
        return v2_grpc.ServerMetadataResponse(name=SERVER_NAME, version=self._version)

    async def _model_metadata(self, request: Any) -> Any:
        model = self._catalog.model(request.name)
        serving = model.version(v2_grpc.version_number(request.version)).serving
        if serving is None:
            raise errors.NotLoaded
        serving.metrics.grpc.metadata.successes.value += 1
        return v2_grpc.encode_metadata(model.name, model.available, serving.engine.spec)

    async def _model_infer(self, request: Any) -> Any:
        number = v2_grpc.version_number(request.model_version)
        serving = await self._catalog.model(request.model_name, NO_GRAPH).serving(number)
        series = serving.metrics.grpc
        with counted(serving, series, series.infer):
            outputs = await infer(serving, v2_grpc.decode_request(request), self._decoders)
            return v2_grpc.encode_response(request.model_name, serving.number, request.id, outputs)

    async def _model_stream_infer(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """One answer for each request, in their order; a failure is an answer too."""
        async for request in requests:
            try:
                response = await self._model_infer(request)
            except errors.InferError as error:
                # With its id, for otherwise nobody could say which request it was.
                failed = v2_grpc.ModelInferResponse(id=request.id)
                yield v2_grpc.ModelStreamInferResponse(
                    error_message=str(error), infer_response=failed
                )
            else:
                yield v2_grpc.ModelStreamInferResponse(infer_response=response)


class Health:
    """grpc.health.v1.Health, of the server as a whole and of each of its services."""

    Response = messages.message("grpc.health.v1.HealthCheckResponse")

    def __init__(self, catalog: Catalog, services: Sequence[str]) -> None:
        self._catalog = catalog
        self._services = ("", *services)

    def methods(self) -> Methods:
        return {"Check": self._check, "Watch": self._watch}

    async def _check(self, request: Any) -> Any:
        if request.service not in self._services:
            raise errors.NotFound("unknown service")
        return self._status()

    async def _watch(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            if request.service not in self._services:
                yield self.Response(status="SERVICE_UNKNOWN")
                continue
            yield self._status()
            if not self._catalog.ready.is_set():
                await self._catalog.ready.wait()
                yield self._status()
            await self._catalog.stopping.wait()
            yield self._status()

    def _status(self) -> Any:
        serving = self._catalog.ready.is_set() and not self._catalog.stopping.is_set()
        return self.Response(status="SERVING" if serving else "NOT_SERVING")


class Server:
    """Listens on *addresses* from `start` to `stop`."""

    def __init__(
        self,
        catalog: Catalog,
        services: dict[str, Methods],
        options: Sequence[tuple[str, str | int]] = (),
        memory_quota: int = BODIES_MOST,
    ) -> None:
        self._catalog = catalog
        self._held = Bodies(together_most=memory_quota)
        self._server = aio.server(
            options=[
                ("grpc.max_receive_message_length", min(MESSAGE_MOST, memory_quota)),
                ("grpc.max_send_message_length", MESSAGE_MOST),
                # A port that somebody else has is an error, not something to share.
                ("grpc.so_reuseport", 0),
                *options,
            ],
            maximum_concurrent_rpcs=RPCS_MOST,
        )
        for name, methods in services.items():
            handlers = {each: self._handler(name, each, call) for each, call in methods.items()}
            generic = grpc.method_handlers_generic_handler(name, handlers)
            self._server.add_generic_rpc_handlers((generic,))

    async def start(self, addresses: Sequence[str], port: int) -> None:
        """Raises CannotServe."""
        for address in addresses:
            place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            try:
                self._server.add_insecure_port(place)
            except RuntimeError as error:
                raise CannotServe(f"{place}: the address is in use or not ours") from error
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Refuses what is new, and waits for what is under way."""
        await self._server.stop(grace_s)

    def _handler(self, service: str, method: str, call: Any) -> grpc.RpcMethodHandler:
        descriptor = messages.service(service).methods_by_name[method]
        codec = {
            "request_deserializer": _decoder(descriptor.input_type.full_name),
            "response_serializer": messages.message(
                descriptor.output_type.full_name
            ).SerializeToString,
        }
        if descriptor.client_streaming:
            return grpc.stream_stream_rpc_method_handler(self._stream(call, method), **codec)
        if descriptor.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(call, method), **codec)
        return grpc.unary_unary_rpc_method_handler(self._unary(call, method), **codec)

    def _unary(self, call: Unary, method: str) -> Callable[..., Awaitable[Any]]:
        async def handle(received: Received, context: Any) -> Any:
            try:
                self._held.hold(received.size)
                try:
                    return await call(received.message())
                finally:
                    self._held.release(received.size)
            except Exception as error:  # noqa: BLE001 - see `_abort`
                return await _abort(context, error, method)

        return handle

    def _stream(self, call: Stream, method: str) -> Callable[..., Awaitable[None]]:
        async def handle(given: Any, context: Any) -> None:
            requests = self._requests(context) if hasattr(given, "__aiter__") else _only(given)
            try:
                async for response in call(requests):
                    await context.write(response)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - see `_abort`
                await _abort(context, error, method)

        return handle

    async def _requests(self, context: Any) -> AsyncIterator[Any]:
        """Those of a client's stream, until it ends or, between two of them, the server stops."""
        stopping = asyncio.ensure_future(self._catalog.stopping.wait())
        try:
            while True:
                reading = asyncio.ensure_future(context.read())
                await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    return
                received = reading.result()
                if received is aio.EOF:
                    return
                self._held.hold(received.size)
                try:
                    yield received.message()
                finally:
                    self._held.release(received.size)
        finally:
            stopping.cancel()


def services(catalog: Catalog, *, version: str, decoders: Executor) -> dict[str, Methods]:
    """Everything that is offered, by the full name of its service."""
    offered: dict[str, Methods] = {
        v2_grpc.SERVICE: Inference(catalog, version=version, decoders=decoders).methods(),
        **TensorFlowServing(catalog, decoders).services(),
    }
    names = [*offered, "grpc.health.v1.Health", *reflection.SERVICES]
    reflecting: dict[str, Methods] = {
        name: {"ServerReflectionInfo": reflection.Reflection(name, names).answers}
        for name in reflection.SERVICES
    }
    return {**offered, "grpc.health.v1.Health": Health(catalog, names).methods(), **reflecting}


class Malformed(Exception):
    """What came is no message of that kind."""


class Received(NamedTuple):
    """One message of a client and how many bytes it came in."""

    decoded: Any
    size: int

    def message(self) -> Any:
        """Raises Malformed."""
        if isinstance(self.decoded, Malformed):
            raise self.decoded
        return self.decoded


def _decoder(name: str) -> Callable[[bytes], Received]:
    decode = messages.message(name).FromString

    def decoded(content: bytes) -> Received:
        # Not raised here, where gRPC would write it to the log with its traceback.
        try:
            return Received(decode(content), len(content))
        except messages.DecodeError:
            failure = Malformed(f"Failed to parse the request as {name}")
            return Received(failure, len(content))

    return decoded


async def _only(received: Received) -> AsyncIterator[Any]:
    yield received.message()


async def _abort(context: Any, error: Exception, method: str) -> None:
    if isinstance(error, errors.InferError):
        await context.abort(CODE_OF[type(error)], str(error)[:TEXT_MOST])
    if isinstance(error, Malformed):
        await context.abort(Code.INTERNAL, str(error))
    # Our own mistake: its caller gets INTERNAL, the log the rest.
    log.error("request failed", method=method, exc_info=error)
    await context.abort(Code.INTERNAL, "Internal server error")
