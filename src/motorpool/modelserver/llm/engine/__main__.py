"""The engine's process: ``python -m motorpool.modelserver.llm.engine FD``.

FD is its end of a socket pair; what is said there is in wire.py. It ends when the other end is
closed, however that came about, and with an error when a step fails: what a pipeline is after that
nobody knows, and a new process is ready in a second.
"""

import ctypes
import faulthandler
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from motorpool.modelserver.llm.contract import CheckpointError
from motorpool.modelserver.llm.engine.reports import Reports
from motorpool.modelserver.llm.engine.wire import (
    Add,
    Cancel,
    Embed,
    FromProcess,
    Refused,
    Start,
    Step,
    ToProcess,
    Vectors,
    frame,
    to_process,
)

READ_BYTES = 1 << 20
SEND_BUFFER_BYTES = 1 << 22
PR_SET_PDEATHSIG = 1
EX_SOFTWARE = 70


class Closed(Exception):
    """The owner has hung up."""


class Channel:
    """This end of the socket pair: frames, with blocking writes."""

    def __init__(self, end: socket.socket) -> None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._end = end
        self._frames = to_process()
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)

    def receive(self, *, wait: bool) -> list[ToProcess]:
        """What has come; with *wait*, once something has. Raises Closed."""
        if not self._poll.poll(None if wait else 0):
            return []
        try:
            data = self._end.recv(READ_BYTES)
        except ConnectionError:
            raise Closed from None
        if not data:
            raise Closed
        return list(self._frames.feed(data))

    def send(self, message: FromProcess) -> None:
        """Raises Closed."""
        try:
            self._end.sendall(frame(message))
        except (BrokenPipeError, ConnectionError):
            raise Closed from None


def main() -> None:
    started = _started_at()
    faulthandler.enable()
    _prepare()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    code = 0
    kept: list[object] = []
    try:
        serve(channel, started, kept.append)
    except Closed:
        pass
    except Exception:  # noqa: BLE001 - the process's own boundary; its owner reads these words
        import traceback

        traceback.print_exc()
        code = EX_SOFTWARE
    sys.stderr.flush()
    # What is kept is never taken apart: that takes long, and the kernel has it back by itself.
    os._exit(code)


def serve(channel: Channel, started: float, keep: Callable[[object], None]) -> None:
    """Raises Closed, and RuntimeError where a step fails."""
    pending = channel.receive(wait=True)
    while not pending:
        pending = channel.receive(wait=True)
    first = pending.pop(0)
    if not isinstance(first, Start):
        raise TypeError(f"{type(first).__name__} before Start")
    from motorpool.modelserver.llm.engine.loading import load

    try:
        loaded = load(first.options, lambda: time.monotonic() - started)
    except CheckpointError as error:
        channel.send(Refused(str(error)))
        return
    keep(loaded)
    channel.send(loaded.ready)
    loop, reports = loaded.loop, Reports()
    embed = loaded.embed or _no_vectors
    while True:
        for message in pending or channel.receive(wait=loop.is_idle):
            match message:
                case Add():
                    loop.add(message)
                case Cancel():
                    loop.cancel(message.number)
                    reports.forget(message.number)
                case Embed():
                    channel.send(embed(message))
        pending = []
        reports.add(loop.turn())
        events = reports.due(time.monotonic())
        if events is not None:
            channel.send(Step(events, loop.state()))


def _no_vectors(message: Embed) -> Vectors:
    return Vectors(message.number, [], "this checkpoint gives no embeddings")


def _prepare() -> None:
    # Whoever signals the server's whole group means the server, which then ends this process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.argv[2:] == ["--die-with-parent"]:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # OpenVINO's import reports itself over the network, from a thread, where this module exists.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def _started_at() -> float:
    """On time.monotonic's clock, when this process was executed."""
    stat = Path("/proc/self/stat").read_text()
    ticks = int(stat[stat.rindex(")") + 2 :].split()[19])
    since_boot = ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot)


if __name__ == "__main__":
    main()
