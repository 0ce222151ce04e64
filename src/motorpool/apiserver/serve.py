"""Serves the application over TLS on the running event loop, with no thread or timer of its own.

uvicorn's own main loop wakes ten times a second; here the server's protocols are used and its loop
is not, so that an idle API server sleeps.
"""

import asyncio
import errno
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from motorpool.apiserver.app import App
from motorpool.apiserver.certificates import CertificateFiles

if TYPE_CHECKING:
    import uvicorn

KEEP_ALIVE_S = 75
DRAIN_S = 2.0
FLUSH_TRIES = 10
FLUSH_STEP_S = 0.02
BACKLOG = 512
STALL_S = 120.0  # who pages through a long log in a terminal may stand still for a while


class CannotListen(OSError):
    """The address cannot be had; *hint* is what to do about it."""

    hint = "choose another with --api-port; 0 picks a free one"

    @classmethod
    def explained(cls, error: OSError, host: str, port: int) -> "CannotListen":
        if error.errno == errno.EADDRINUSE:
            return cls(error.errno, f"port {port} on {host} is in use by another program")
        if error.errno in (errno.EACCES, errno.EPERM):
            found = cls(error.errno, f"port {port} on {host} is not for this user")
            found.hint = "choose one above 1023 with --api-port; 0 picks a free one"
            return found
        found = cls(error.errno, f"{host} cannot be listened at: {error.strerror}")
        found.hint = "--host is an address of this machine, or 0.0.0.0 for all of them"
        return found


class Serving:
    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


@asynccontextmanager
async def serve(
    app: App,
    host: str,
    port: int,
    certificates: CertificateFiles,
    *,
    stall_s: float = STALL_S,
) -> AsyncIterator[Serving]:
    """Serves while the context lasts. Port 0 picks a free one. Raises CannotListen.

    A client that takes nothing of its answer for *stall_s* is hung up on.
    """
    import uvicorn

    from motorpool.apiserver.streaming.upgrade import Protocol

    listening = _listen(host, port, stall_s)
    try:
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            ssl_certfile=str(certificates.certificate),
            ssl_keyfile=str(certificates.key),
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listening])
    except BaseException:
        listening.close()
        raise
    try:
        yield Serving(host, listening.getsockname()[1])
    finally:
        app.end_streams()
        await asyncio.shield(_stop(server))
        listening.close()


async def _stop(server: "uvicorn.Server") -> None:
    """Lets running requests finish for a moment, then hangs up on whoever is left."""
    for listener in server.servers:
        listener.close()
    state = server.server_state
    for connection in list(state.connections):
        connection.shutdown()
    if state.tasks:
        _, late = await asyncio.wait(state.tasks, timeout=DRAIN_S)
        for task in late:
            task.cancel()
    for _ in range(FLUSH_TRIES):
        if not state.connections:
            return
        await asyncio.sleep(FLUSH_STEP_S)
    for connection in list(state.connections):
        # A peer that does not read would keep TLS from closing.
        transport = getattr(connection, "transport", None)
        if transport is not None:
            transport.abort()


def _listen(host: str, port: int, stall_s: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":
            # The kernel keeps this time, for every connection that it accepts here: no timer of
            # ours, and it also counts while the answer waits in buffers only.
            timeout_ms = int(stall_s * 1000)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise CannotListen.explained(error, host, port) from error
    return listening
