"""A connection inside a Pod's own network, where servers may listen on 127.0.0.1 alone."""

import asyncio
import ctypes
import os
import socket
import threading

CLONE_NEWNET = 0x40000000
CONNECT_TIMEOUT_S = 10.0


async def connect_inside(
    pid: int, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:  # fmt: skip
    """To a port of the network that process *pid* is in. Raises OSError."""
    connection = await asyncio.to_thread(_connected, pid, port)
    return await asyncio.open_connection(sock=connection)


def _connected(pid: int, port: int) -> socket.socket:
    """A thread of its own goes in and never comes out: it ends there."""
    outcome: list[socket.socket | OSError] = []

    def work() -> None:
        try:
            outcome.append(_connect(pid, port))
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name="into the pod's network", daemon=True)
    thread.start()
    thread.join()
    [result] = outcome
    if isinstance(result, OSError):
        raise result
    return result


def _connect(pid: int, port: int) -> socket.socket:
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
    connection = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_TIMEOUT_S)
    connection.setblocking(False)
    return connection
