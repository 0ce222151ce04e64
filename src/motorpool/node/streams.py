"""What clients may ask of the containers of this machine: `PodStreams` over the Pods' workers.

Rules: at most `SESSIONS_MAX` sessions per Pod. A command ends with its container; a connection to a
port goes to the Pod's own address, at the port that a Service without an address means by it where
nothing listens at that port itself.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

from motorpool.api.errors import InternalError, TooManyRequests
from motorpool.api.meta import Object, name_of, uid_of
from motorpool.api.streams import LogOptions, Pipe, Remote, Session, SessionOptions
from motorpool.base.clock import Clock, now
from motorpool.node.headless import target_port
from motorpool.node.logs import NodeLogs
from motorpool.node.seen import Run
from motorpool.node.worker import PodWorker

SESSIONS_MAX = 64
ENDED_BY_CONTAINER = 137


class NodeStreams:
    def __init__(
        self,
        data_dir: Path,
        worker: Callable[[str], PodWorker | None],
        clock: Clock = now,
        services: Callable[[], Iterable[Object]] = tuple,
    ) -> None:
        self._data_dir = data_dir
        self._worker = worker
        self._services = services
        self._logs = NodeLogs(data_dir, self._is_running, clock)
        self._sessions: dict[str, set[tuple[str, asyncio.Future[None]]]] = {}

    def logs(self, pod: Object, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        return self._logs.logs(pod, container, options)

    async def exec(self, pod: Object, container: str, options: SessionOptions) -> Session:
        worker = self._running(pod, container)
        run = await worker.exec(container, options)

        async def session(remote: Remote) -> int:
            with self._counted(worker.pod.uid, container) as container_ends:
                return await _first(asyncio.ensure_future(run(remote)), container_ends)

        return session

    async def attach(self, pod: Object, container: str, options: SessionOptions) -> Session:
        worker = self._running(pod, container)
        run = await worker.attach(container, options)

        async def session(remote: Remote) -> int:
            with self._counted(worker.pod.uid, container):
                return await run(remote)

        return session

    async def connect(self, pod: Object, port: int) -> Pipe:
        worker = self._worker(uid_of(pod))
        if worker is None:
            raise ConnectionRefusedError(f"pod {name_of(pod)} does not run")
        try:
            return await worker.connect(port)
        except ConnectionRefusedError:
            behind = target_port(pod, port, self._services())
            if behind in (None, port):
                raise
            return await worker.connect(behind)

    def container_ended(self, run: Run) -> None:
        """Ends the commands beside it."""
        for container, ends in self._sessions.get(run.pod_uid, ()):
            if container == run.container and not ends.done():
                ends.set_result(None)

    def _running(self, pod: Object, container: str) -> PodWorker:
        """Raises InternalError, as the kubelet does, where there is no such container now."""
        worker = self._worker(uid_of(pod))
        if worker is None or worker.run_number(container) is None:
            raise InternalError(f'container not found ("{container}")')
        if len(self._sessions.get(worker.pod.uid, ())) >= SESSIONS_MAX:
            raise TooManyRequests(f"pod {name_of(pod)} has {SESSIONS_MAX} sessions already")
        return worker

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
