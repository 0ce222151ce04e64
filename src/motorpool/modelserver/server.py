"""One process that serves models: listens, loads, serves, stops.

Listens before it loads, so that a probe hears "alive, not ready" from the start. A first load that
fails ends the process with 1, as OpenVINO Model Server does when it is started for one model; of
those in a config.json each may fail for itself.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import structlog
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder
from granian.server.embed import Server as Granian

from motorpool import __version__
from motorpool.modelserver import loading
from motorpool.modelserver.catalog import Catalog
from motorpool.modelserver.configfile import ConfigError, NotJson, monitoring
from motorpool.modelserver.contract import Load
from motorpool.modelserver.early import Early
from motorpool.modelserver.flags import Settings
from motorpool.modelserver.http import App, Cors
from motorpool.modelserver.manager import Manager
from motorpool.modelserver.metrics import Registry
from motorpool.modelserver.model import LoadFailed, Model

log = structlog.get_logger("motorpool.modelserver")

BACKLOG = 1024
CONNECTIONS_MOST = 4096
HEAD_PATIENCE_MS = 30_000  # for a request's first line and headers; idle connections end by it too
# Kubernetes kills 30 s after SIGTERM; whoever is not done by then would be cut off anyway.
DRAIN_TIMEOUT_S = 25.0
LAST_ONES_S = 5.0  # for those who have connected to ask, once nobody else can

# A packet filter of Linux; elsewhere an OSError. It drops what asks for a connection and lets all
# else through, so that one whose handshake is under way is made: of the flags (byte 13 of the TCP
# header), SYN without ACK.
_SO_ATTACH_FILTER = 26
_DROP_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte
        (0x54, 0, 0, 0x12),  # and SYN | ACK
        (0x15, 0, 1, 0x02),  # SYN alone?
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # keep
    )
)
# Of a socket that listens, what `tcp_info` calls unacknowledged is who waits to be let in.
_TCP_INFO_BYTES, _UNACKED_AT = 104, 24


class CannotListen(Exception):
    pass


async def serve(settings: Settings, begun: Early | None = None) -> int:
    """Until SIGTERM or SIGINT; the exit code. *begun* is the first load, under way already."""
    try:
        await _serve(settings, begun)
    except CannotListen as error:
        failure = f"Failed to start {error}"
    except LoadFailed as error:
        failure = f"Failed to load {_what(settings)}: {error}"
    else:
        log.info("stopped")
        return 0
    log.error(failure)
    return 1


async def _serve(settings: Settings, begun: Early | None) -> None:
    """Raises CannotListen, LoadFailed."""
    catalog = Catalog()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, catalog.stopping.set)
    settings = _with_monitoring(settings)
    if settings.without_effect:
        log.warning("flags without effect", flags=",".join(settings.without_effect))
    registry = Registry(settings.metrics_list)
    manager = Manager(settings, catalog, partial(_model, registry=registry, begun=begun))
    decoders = ThreadPoolExecutor(settings.rest_workers or os.cpu_count() or 1, "images")
    drains: list[Drain] = []
    try:
        if settings.rest_port:
            app = App(
                catalog,
                version=__version__,
                decoders=decoders,
                registry=registry if settings.metrics_enable else None,
                reload=manager.reload,
                cors=_cors(settings),
            )
            drains.append(_start_rest(settings, app))
        if settings.port:
            drains.append(await _start_grpc(settings, catalog, decoders))
        await _load_and_wait(settings, manager, catalog)
    finally:
        catalog.stopping.set()
        await asyncio.gather(*(drain() for drain in drains))
        catalog.close()
        decoders.shutdown(wait=False, cancel_futures=True)


Drain: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Takes nothing new, and finishes what is under way."""


def _start_rest(settings: Settings, app: App) -> Drain:
    """Raises CannotListen."""
    listeners = [
        _Listener(app, _bound(address, settings.rest_port))
        for address in settings.rest_bind_address
    ]
    serving = [asyncio.create_task(listener.serve()) for listener in listeners]
    log.info("listening", addresses=",".join(settings.rest_bind_address), port=settings.rest_port)

    async def drain() -> None:
        app.ask_to_leave()
        await app.quiet()
        # Who has connected by now is answered; who comes later finds nobody.
        for listener in listeners:
            listener.refuse()
        await app.quiet(LAST_ONES_S, lambda: any(each.waiting() for each in listeners))
        for listener in listeners:
            listener.stop()
        await _drained(serving)

    return drain


async def _start_grpc(settings: Settings, catalog: Catalog, decoders: Executor) -> Drain:
    """Raises CannotListen."""
    from motorpool.modelserver import rpc

    services = rpc.services(catalog, version=__version__, decoders=decoders)
    server = rpc.Server(
        catalog, services, settings.grpc_channel_arguments, settings.grpc_memory_quota
    )
    try:
        await server.start(settings.grpc_bind_address, settings.port)
    except rpc.CannotServe as error:
        raise CannotListen(f"gRPC server: {error}") from error
    log.info("listening for gRPC", port=settings.port)
    return partial(server.stop, DRAIN_TIMEOUT_S)


class _Listener(Granian):  # type: ignore[misc]
    """Granian on a socket of ours.

    Granian's own would share the port with whoever has it, and never report that it is taken.
    """

    def __init__(self, app: App, bound: socket.socket) -> None:
        super().__init__(
            app,
            interface=Interfaces.RSGI,
            websockets=False,
            log_enabled=False,
            backlog=BACKLOG,
            backpressure=CONNECTIONS_MOST,
            http1_settings=HTTP1Settings(header_read_timeout=HEAD_PATIENCE_MS),
        )
        self._bound = bound
        self._door = bound.dup()

    def refuse(self) -> None:
        """Lets nobody connect any more, while those who have are still let in.

        A socket that is closed instead hangs up on all who wait in its backlog.
        """
        with contextlib.suppress(OSError):
            program = ctypes.create_string_buffer(_DROP_SYN)
            asked = struct.pack("HP", len(_DROP_SYN) // 8, ctypes.addressof(program))
            self._door.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, asked)

    def waiting(self) -> int:
        """How many have connected and are not let in yet."""
        try:
            found = self._door.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        except OSError:
            return 0
        return int.from_bytes(found[_UNACKED_AT : _UNACKED_AT + 4], sys.byteorder)

    def stop(self) -> None:
        self._door.close()
        super().stop()

    def _init_shared_socket(self) -> None:
        self._ssp = None
        self._shd = SocketHolder(self._bound.detach(), False, BACKLOG)
        self._sfd = self._shd.get_fd()


async def _load_and_wait(settings: Settings, manager: Manager, catalog: Catalog) -> None:
    stopped = asyncio.create_task(catalog.stopping.wait())
    first = asyncio.create_task(manager.load())
    await asyncio.wait({stopped, first}, return_when=asyncio.FIRST_COMPLETED)
    if not first.done():
        first.cancel()
        return
    first.result()
    catalog.ready.set()
    log.info("ready", models=",".join(model.name for model in catalog.models))
    watching = None
    if settings.file_system_poll_wait_seconds:
        watching = asyncio.create_task(manager.watch(settings.file_system_poll_wait_seconds))
    await stopped
    log.info("stopping")
    if watching is not None:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _drained(serving: list[asyncio.Task[None]]) -> None:
    _, late = await asyncio.wait(serving, timeout=DRAIN_TIMEOUT_S)
    if late:
        log.warning("stopped with requests in flight", waited_s=DRAIN_TIMEOUT_S)


def _model(settings: Settings, registry: Registry, begun: Early | None) -> Model:
    load: Load = loading.Loader(settings)
    return Model(
        settings.model_name,
        Path(settings.model_path),
        load if begun is None else begun.loading_by(load),
        registry,
        settings.model_version_policy,
        settings.batch_window_us / 1e6,
    )


def _with_monitoring(settings: Settings) -> Settings:
    """With what config.json says of metrics, at the start only. Raises LoadFailed."""
    if not settings.config_path:
        return settings
    try:
        enabled, families = monitoring(Path(settings.config_path).read_bytes())
    except (OSError, NotJson):
        return settings  # Told when the models are read.
    except ConfigError as error:
        raise LoadFailed(f"{settings.config_path}: {error}") from error
    if not enabled:
        return settings
    wanted = settings.metrics_list if settings.metrics_list is not None else families
    return msgspec.structs.replace(settings, metrics_enable=True, metrics_list=wanted)


def _what(settings: Settings) -> str:
    return "the configuration" if settings.config_path else f"model {settings.model_name}"


def _cors(settings: Settings) -> Cors:
    return Cors(
        settings.allowed_origins,
        settings.allowed_methods,
        settings.allowed_headers,
        settings.allow_credentials,
    )


def _bound(address: str, port: int) -> socket.socket:
    """Raises CannotListen."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(f"REST server: {address}: {error.strerror}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise CannotListen(f"REST server: {address}:{port}: {error.strerror}") from error
    return bound
