"""The fork server: has the heavy libraries loaded and forks one pod process per request.

``python -m motorpool.node.supervisor.forkserver MODULE FD`` imports MODULE, calls its ``warm()``
and then reads requests from the socket FD, one JSON document per packet. The child calls the
module's ``run(argv) -> int`` and exits with what it returns.

Rules:

- It is single-threaded when it forks, and refuses to serve where the warmed libraries left threads
  behind: a lock held by a thread that the child lacks is never released.
- It forks twice, so that the supervisor (a child subreaper) and not the fork server becomes the
  parent: exit codes reach the supervisor from the kernel, and the fork server may die at any time.
- It ends when the supervisor does: its socket says so.
"""

import gc
import importlib
import io
import json
import os
import socket
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from motorpool.node.supervisor.spawn import become, begin

PACKET_BYTES_MAX = 1024 * 1024


def main() -> int:
    module_name, descriptor = sys.argv[1], int(sys.argv[2])
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    try:
        module = importlib.import_module(module_name)
        module.warm()
        _refuse_threads()
    except Exception as error:  # noqa: BLE001 - reported, and the program is executed instead
        traceback.print_exc()
        _send(connection, {"failed": f"{type(error).__name__}: {error}"})
        return 1
    # The collector would write into every object that it visits, and so unshare the memory.
    gc.collect()
    gc.freeze()
    _send(connection, {"ready": True})
    _serve(connection, module)
    return 0


def _refuse_threads() -> None:
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - no need for Paths
    if threads > 1:
        raise RuntimeError(f"{threads - 1} threads are left after warming: forking is not safe")


def _serve(connection: socket.socket, module: ModuleType) -> None:
    while packet := connection.recv(PACKET_BYTES_MAX):
        request: dict[str, Any] = json.loads(packet)
        try:
            pid = _fork(connection, module, request)
        except OSError as error:
            _send(connection, {"id": request["id"], "error": str(error)})
        else:
            _send(connection, {"id": request["id"], "pid": pid})


def _fork(connection: socket.socket, module: ModuleType, request: dict[str, Any]) -> int:
    """The pid of the grandchild."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        os.close(reading)
        child = os.fork()
        if child == 0:
            connection.close()
            _begin(request, writing)
            _run(module, request)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:  # noqa: PTH123 - a descriptor
        said = answer.read().decode()
    os.waitpid(between, 0)
    if not said.isdigit():
        raise OSError(said or "fork failed")
    return int(said)


def _begin(request: dict[str, Any], report: int) -> None:
    """Reports the pid of the calling process once it can be signalled, or why it cannot be."""
    try:
        begin(request.get("groups") or ())
    except OSError as error:
        os.write(report, str(error).encode())
        os._exit(1)
    os.write(report, str(os.getpid()).encode())
    os.close(report)


def _run(module: ModuleType, request: dict[str, Any]) -> NoReturn:
    code = 1
    try:
        become(request["cwd"], Path(request["stdout"]), Path(request["stderr"]))
        os.environ.clear()
        os.environ.update(request["env"])
        sys.argv = [module.__name__, *request["argv"]]
        gc.enable()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True)
        code = int(module.run(request["argv"]) or 0)
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does at its top
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 120
        os._exit(code & 0xFF)


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.send(json.dumps(message).encode())


if __name__ == "__main__":
    sys.exit(main())
