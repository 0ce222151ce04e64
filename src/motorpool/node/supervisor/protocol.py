"""The supervisor's protocol: JSON lines over a unix socket, either side in UTF-8.

A request is ``{"seq": N, "do": VERB, ...}``; its answer ``{"seq": N, "ok": ...}`` or
``{"seq": N, "error": TEXT, "errno": N?}``. Verbs:

    list                        {"version", "pid", "processes": [record], "forkservers": [...]}
    start id argv env cwd       the record of the process; a known id answers with its record, so
          grace_s fork          a request may be repeated. With "fork" {"module", "argv"} it is
                                forked where possible, and else executed ("notice" says why)
          limits                {"cpu_milli", "cpu_request_milli", "memory_bytes"}: of its control
                                group; "unlimited" says what could not be limited, and why
          stdin tty             with "stdin" its input is held open, with "tty" it has a terminal
    attach id                   this connection gets {"output": id, "stream": "stdout"|"stderr",
                                "content": BASE64} for all that the process writes from now on
    input id content            BASE64 to its stdin; answered once it has been taken
    end_input id                its stdin ends
    resize id columns rows      of its terminal
    signal id signal            to the whole session of the process
    forget id                   drops the record of a process that has ended
    warm module                 starts the fork server, and answers without waiting for it
    stop                        SIGTERM to all, SIGKILL after each one's grace; then the supervisor
                                ends, which the closed connection shows

Every connection is told ``{"exited": record}`` for every process that ends. A connection that
sends a line of more than `LINE_BYTES_MAX`, or does not take its answers, is closed. Any number of
connections may be open, and all may do everything.
"""

import json
import os
import socket
from pathlib import Path
from typing import Any

VERSION = 1
LINE_BYTES_MAX = 4 * 1024 * 1024
UNSENT_BYTES_MAX = 16 * 1024 * 1024


def socket_path(data_dir: Path) -> Path:
    return data_dir / "run" / "supervisor.sock"


def connect(data_dir: Path) -> socket.socket:
    """A connection to the supervisor. Raises OSError where none listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _Directory(socket_path(data_dir).parent) as directory:
            connection.connect(f"{directory}/{socket_path(data_dir).name}")
    except OSError:
        connection.close()
        raise
    return connection


def listen(data_dir: Path) -> socket.socket:
    """The listening socket; replaces one that a dead supervisor left behind."""
    path = socket_path(data_dir)
    # Under its name it is found only once it listens: nobody is refused by a supervisor that comes.
    unready = path.with_suffix(".new")
    unready.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _Directory(path.parent) as directory:
        listener.bind(f"{directory}/{unready.name}")
    unready.chmod(0o600)
    listener.listen(16)
    listener.setblocking(False)
    unready.replace(path)
    return listener


class _Directory:
    """A short name for a directory: an address of a unix socket has at most 107 bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> str:
        self._descriptor = os.open(self._path, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._descriptor}"

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class Lines:
    """Cuts what arrives into lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, content: bytes) -> list[bytes]:
        """The lines that are complete. Raises ValueError where one is too long."""
        self._rest += content
        if b"\n" not in content:
            if len(self._rest) > LINE_BYTES_MAX:
                raise ValueError("line too long")
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return [line for line in lines if line.strip()]


def encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
