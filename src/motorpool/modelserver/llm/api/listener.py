"""Granian on a socket that was bound long before it listens.

vLLM takes its port at once, and answers once its model is loaded: until then a connection is
refused, which is how a probe knows.
"""

import socket
from pathlib import Path
from typing import Any

from granian.constants import Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.net import SocketHolder
from granian.server.embed import Server as Granian

from motorpool.modelserver.llm.flags import Tls

BACKLOG = 2048
CONNECTIONS_MOST = 4096
HEAD_PATIENCE_MS = 30_000  # for a request's first line and headers; idle connections end by it too


class CannotListen(Exception):
    pass


def bound(host: str, port: int) -> socket.socket:
    """Raises CannotListen."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(f"{host}: {error.strerror}") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
    except OSError as error:
        made.close()
        raise CannotListen(f"{host or '*'}:{port}: {error.strerror}") from error
    return made


class Listener(Granian):  # type: ignore[misc]
    def __init__(self, app: Any, taken: socket.socket, tls: Tls) -> None:
        super().__init__(
            app,
            interface=Interfaces.RSGI,
            websockets=False,
            log_enabled=False,
            backlog=BACKLOG,
            backpressure=CONNECTIONS_MOST,
            http1_settings=HTTP1Settings(header_read_timeout=HEAD_PATIENCE_MS),
            ssl_cert=Path(tls.certificate_file) if tls.certificate_file else None,
            ssl_key=Path(tls.key_file) if tls.key_file else None,
            ssl_protocol_min=SSLProtocols.tls12,
        )
        self._bound = taken

    def _init_shared_socket(self) -> None:
        """Raises CannotListen."""
        try:
            self._bound.listen(BACKLOG)
        except OSError as error:
            raise CannotListen(str(error.strerror)) from error
        self._bound.setblocking(False)
        self._ssp = None
        self._shd = SocketHolder(self._bound.detach(), False, BACKLOG)
        self._sfd = self._shd.get_fd()
