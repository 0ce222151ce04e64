"""What clients may ask of the containers of this machine: `PodStreams` over the Pods' workers.

Rules: at most `SESSIONS_MAX` sessions per Pod. A command ends with its container; a connection to a
port goes to the Pod's own address.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

from motorpool.api.errors import InternalError, TooManyRequests
from motorpool.api.meta import Object, name_of, uid_of
from motorpool.api.streams import LogOptions, Pipe, Remote, Session, SessionOptions
from motorpool.base.clock import Clock, now
from motorpool.node.attachments import attach
from motorpool.node.logs import NodeLogs
from motorpool.node.seen import Run, run_id
from motorpool.node.sessions import run_command
from motorpool.node.worker import PodWorker

SESSIONS_MAX = 64
CONNECT_TIMEOUT_S = 10.0
PIPE_READ_BYTES = 64 * 1024
ENDED_BY_CONTAINER = 137


class NodeStreams:
    def __init__(
        self, data_dir: Path, worker: Callable[[str], PodWorker | None], clock: Clock = now
    ) -> None:
        self._data_dir = data_dir
        self._worker = worker
        self._logs = NodeLogs(data_dir, self._is_running, clock)
        self._sessions: dict[str, set[tuple[str, asyncio.Future[None]]]] = {}

    def logs(self, pod: Object, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        return self._logs.logs(pod, container, options)

    async def exec(self, pod: Object, container: str, options: SessionOptions) -> Session:
        worker, _ = self._running(pod, container)
        try:
            program = await worker.program_beside(container, options.command)
        except OSError as error:
            raise InternalError(f"Internal error occurred: {error}") from error

        async def session(remote: Remote) -> int:
            with self._counted(worker.pod.uid, container) as container_ends:
                working = asyncio.ensure_future(run_command(program, options, remote))
                return await _first(working, container_ends)

        return session

    async def attach(self, pod: Object, container: str, options: SessionOptions) -> Session:
        worker, run = self._running(pod, container)
        spec = worker.pod.container(container).spec
        id_ = run_id(worker.pod.uid, container, run)
        options = replace(options, stdin=options.stdin and bool(spec.get("stdin")))
        once = bool(spec.get("stdinOnce"))

        async def session(remote: Remote) -> int:
            with self._counted(worker.pod.uid, container):
                await attach(self._data_dir, id_, options, remote, once=once)
            return 0

        return session

    async def connect(self, pod: Object, port: int) -> Pipe:
        worker = self._worker(uid_of(pod))
        if worker is None:
            raise ConnectionRefusedError(f"pod {name_of(pod)} does not run")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                streams = await asyncio.open_connection(worker.pod_ip, port)
        except TimeoutError:
            raise OSError(f"no answer within {CONNECT_TIMEOUT_S:g} s") from None
        return SocketPipe(*streams)

    def container_ended(self, run: Run) -> None:
        """Ends the commands beside it."""
        for container, ends in self._sessions.get(run.pod_uid, ()):
            if container == run.container and not ends.done():
                ends.set_result(None)

    def _running(self, pod: Object, container: str) -> tuple[PodWorker, int]:
        """Raises InternalError, as the kubelet does, where there is no such container now."""
        worker = self._worker(uid_of(pod))
        number = worker.run_number(container) if worker is not None else None
        if worker is None or number is None:
            raise InternalError(f'container not found ("{container}")')
        if len(self._sessions.get(worker.pod.uid, ())) >= SESSIONS_MAX:
            raise TooManyRequests(f"pod {name_of(pod)} has {SESSIONS_MAX} sessions already")
        return worker, number

    @contextlib.contextmanager
    def _counted(self, uid: str, container: str) -> Iterator[asyncio.Future[None]]:
        """A session among those of its Pod; the future is done once its container has ended."""
        entry = (container, asyncio.get_running_loop().create_future())
        sessions = self._sessions.setdefault(uid, set())
        sessions.add(entry)
        try:
            yield entry[1]
        finally:
            sessions.discard(entry)
            if not sessions:
                self._sessions.pop(uid, None)

    def _is_running(self, uid: str, container: str, run: int) -> bool:
        worker = self._worker(uid)
        return worker is not None and worker.is_running(container, run)


async def _first(working: "asyncio.Future[int]", container_ends: asyncio.Future[None]) -> int:
    """The command's exit code, or that of one which its container's end has ended."""
    try:
        await asyncio.wait((working, container_ends), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else ENDED_BY_CONTAINER
    finally:
        if not working.done():
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


class SocketPipe:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(PIPE_READ_BYTES)

    async def write(self, content: bytes) -> None:
        self._writer.write(content)
        await self._writer.drain()

    def end(self) -> None:
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()
