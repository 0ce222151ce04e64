"""One process that serves one model: listens, loads, serves, stops.

Listens before it loads, so that a probe hears "alive, not ready" from the start. A first load that
fails ends the process with 1, as OpenVINO Model Server does when it is started for one model.
"""

import asyncio
import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
from granian.constants import Interfaces
from granian.net import SocketHolder
from granian.server.embed import Server as Granian

from motorpool import __version__
from motorpool.modelserver import loading
from motorpool.modelserver.flags import Settings
from motorpool.modelserver.http import App
from motorpool.modelserver.metrics import Registry
from motorpool.modelserver.model import LoadFailed, Model

log = structlog.get_logger("motorpool.modelserver")

BACKLOG = 1024
CONNECTIONS_MOST = 4096
# Kubernetes kills 30 s after SIGTERM; whoever is not done by then would be cut off anyway.
DRAIN_TIMEOUT_S = 25.0


class CannotListen(Exception):
    pass


async def serve(settings: Settings) -> int:
    """Until SIGTERM or SIGINT; the exit code."""
    try:
        await _serve(settings)
    except CannotListen as error:
        failure = f"Failed to start REST server: {error}"
    except LoadFailed as error:
        failure = f"Failed to load model {settings.model_name}: {error}"
    else:
        log.info("stopped")
        return 0
    log.error(failure)
    return 1


async def _serve(settings: Settings) -> None:
    """Raises CannotListen, LoadFailed."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    registry = Registry(settings.metrics_list)
    model = _model(settings, registry)
    decoders = ThreadPoolExecutor(settings.rest_workers or os.cpu_count() or 1, "images")
    app = App(
        model,
        version=__version__,
        decoders=decoders,
        registry=registry if settings.metrics_enable else None,
    )
    listeners = [
        _Listener(app, _bound(address, settings.rest_port))
        for address in settings.rest_bind_address
    ]
    serving = [asyncio.create_task(listener.serve()) for listener in listeners]
    log.info("listening", addresses=",".join(settings.rest_bind_address), port=settings.rest_port)
    if settings.port:
        log.info("gRPC is not served yet", port=settings.port)
    try:
        await _load_and_wait(settings, model, app, stopping)
    finally:
        for listener in listeners:
            listener.stop()
        await _drained(serving)
        model.close()
        decoders.shutdown(wait=False, cancel_futures=True)


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
        )
        self._bound = bound

    def _init_shared_socket(self) -> None:
        self._ssp = None
        self._shd = SocketHolder(self._bound.detach(), False, BACKLOG)
        self._sfd = self._shd.get_fd()


async def _load_and_wait(
    settings: Settings, model: Model, app: App, stopping: asyncio.Event
) -> None:
    stopped = asyncio.create_task(stopping.wait())
    first = asyncio.create_task(model.refresh())
    await asyncio.wait({stopped, first}, return_when=asyncio.FIRST_COMPLETED)
    if not first.done():
        first.cancel()
        return
    first.result()
    app.ready = True
    log.info("ready", model=settings.model_name)
    watching = None
    if settings.file_system_poll_wait_seconds:
        watching = asyncio.create_task(model.watch(settings.file_system_poll_wait_seconds))
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


def _model(settings: Settings, registry: Registry) -> Model:
    loader = loading.Loader(settings)
    return Model(
        settings.model_name,
        Path(settings.model_path),
        loader,
        registry,
        settings.batch_window_us / 1e6,
    )


def _bound(address: str, port: int) -> socket.socket:
    """Raises CannotListen."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(f"{address}: {error.strerror}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise CannotListen(f"{address}:{port}: {error.strerror}") from error
    return bound
