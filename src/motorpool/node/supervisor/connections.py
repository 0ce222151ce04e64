"""One client of the supervisor: what it has sent of a line, and what it has not taken yet."""

import json
import selectors
import socket
from collections.abc import Callable
from typing import Any, Protocol

from motorpool.node.supervisor import protocol

Answer = Callable[[dict[str, Any]], None]


class Server(Protocol):
    """Who carries requests out and knows its connections."""

    selector: selectors.BaseSelector
    connections: "set[Connection]"

    def carry_out(self, verb: str, request: dict[str, Any], answer: Answer) -> None: ...

    def attach(self, connection: "Connection", id_: str) -> None:
        """Raises ValueError."""
        ...

    def detach(self, connection: "Connection") -> None: ...


class Connection:
    def __init__(self, supervisor: Server, connection: socket.socket) -> None:
        self._supervisor = supervisor
        self._socket = connection
        self._lines = protocol.Lines()
        self._unsent = bytearray()
        connection.setblocking(False)
        supervisor.selector.register(connection, selectors.EVENT_READ, self._turn)

    def send(self, message: dict[str, Any]) -> None:
        if self not in self._supervisor.connections:
            return
        self._unsent += protocol.encoded(message)
        if len(self._unsent) > protocol.UNSENT_BYTES_MAX:
            self.close()
        else:
            self._flush()

    def close(self) -> None:
        if self in self._supervisor.connections:
            self._supervisor.connections.discard(self)
            self._supervisor.detach(self)
            self._supervisor.selector.unregister(self._socket)
            self._socket.close()

    def _turn(self) -> None:
        if self._unsent:
            self._flush()
        if self not in self._supervisor.connections:
            return
        try:
            content = self._socket.recv(65536)
            lines = self._lines.feed(content)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self.close()
            return
        if not content:
            self.close()
            return
        for line in lines:
            self._request(line)

    def _request(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            seq = request["seq"]
            verb = str(request["do"])
        except (ValueError, KeyError, TypeError):
            self.close()
            return

        def answer(message: dict[str, Any]) -> None:
            self.send({"seq": seq, **message})

        try:
            if verb == "attach":
                self._supervisor.attach(self, str(request["id"]))
                answer({"ok": {}})
                return
            self._supervisor.carry_out(verb, request, answer)
        except OSError as error:
            answer({"error": str(error), "errno": error.errno})
        except (KeyError, TypeError, ValueError) as error:
            answer({"error": f"bad request: {type(error).__name__}: {error}"})

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._unsent[:sent]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        self._supervisor.selector.modify(self._socket, events, self._turn)
