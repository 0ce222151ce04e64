"""The process engine: the agent's end of the connection to the pod supervisor.

Rules: the connection is kept up, by a new supervisor if need be; a request that met a broken
connection is sent again, which the protocol allows for every verb; after each reconnect every
process that is known to have ended is reported again, so no exit is missed and the receiver must
not mind a repetition.
"""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from motorpool.base.backoff import Backoff
from motorpool.node.command import Program
from motorpool.node.seen import Run
from motorpool.node.supervisor import protocol
from motorpool.node.supervisor.cgroups import NO_LIMITS
from motorpool.node.supervisor.records import boot_id, load

log = structlog.get_logger(__name__)

RETRY = Backoff(first_s=0.05, most_s=5.0)
REQUEST_TIMEOUT_S = 60.0
START_TIMEOUT_S = 20.0


class ProcessError(OSError):
    """The supervisor refused: a program that cannot be executed, a bad request."""


def run_of(record: Mapping[str, Any]) -> Run:
    return Run(
        id=record["id"],
        pid=record["pid"],
        started_at=record["started_at"],
        finished_at=record["finished_at"],
        exit_code=record["exit_code"],
        signal=record["signal"],
        forked=record["forked"],
        oom_killed=bool(record.get("oom_killed")),
        groups=tuple(record.get("groups") or ()),
    )


class ProcessEngine:
    def __init__(self, data_dir: Path, ended: Callable[[Run], None]) -> None:
        self._data_dir = data_dir
        self._ended = ended
        self.unlimited: Callable[[str], None] = lambda _: None
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()

    async def run(self) -> None:
        """Keeps the connection until cancelled."""
        failures = 0
        while True:
            try:
                reader = await self._connect()
            except OSError as error:
                failures += 1
                log.warning("no pod supervisor", error=str(error))
                await asyncio.sleep(RETRY.delay_s(failures))
                continue
            failures = 0
            try:
                await self._read(reader)
            finally:
                self._disconnect()

    async def start(self, id_: str, program: Program) -> tuple[Run, str]:
        """Starts a container's process, or finds it running.

        The text says why it was executed where it should have been forked. Raises ProcessError.
        What cannot be limited as its program asks is told to `unlimited`.
        """
        request: dict[str, Any] = {
            "do": "start",
            "id": id_,
            "argv": list(program.argv),
            "env": dict(program.env),
            "cwd": program.cwd,
            "grace_s": program.grace_s,
        }
        if program.stdin or program.tty:
            request |= {"stdin": program.stdin, "tty": program.tty}
        if program.limits != NO_LIMITS:
            request["limits"] = program.limits._asdict()
        if program.fork is not None:
            request["fork"] = {"module": program.fork.module, "argv": list(program.fork.argv)}
        answer = await self._ask(request)
        if answer.get("unlimited"):
            self.unlimited(str(answer["unlimited"]))
        return run_of(answer["ok"]), str(answer.get("notice", ""))

    async def signal(self, id_: str, number: int) -> None:
        await self._ask({"do": "signal", "id": id_, "signal": number})

    async def forget(self, id_: str) -> None:
        await self._ask({"do": "forget", "id": id_})

    async def warm(self, module: str) -> None:
        """Lets the fork server of a module load what it needs, in the background."""
        await self._ask({"do": "warm", "module": module})

    async def runs(self) -> list[Run]:
        """All that run, and all that ended and were not forgotten."""
        answer = await self._ask({"do": "list"})
        return [run_of(record) for record in answer["ok"]["processes"]]

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises ProcessError where the supervisor refuses, TimeoutError where none answers."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            while True:
                await self._connected.wait()
                try:
                    answer = await self._ask_once(request)
                except ConnectionError:
                    # The reader is about to notice too, once it gets the loop.
                    await asyncio.sleep(RETRY.first_s)
                    continue
                if "error" in answer:
                    raise ProcessError(answer.get("errno") or 0, answer["error"])
                return answer

    async def _ask_once(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._writer is None:
            raise ConnectionResetError("not connected")
        seq = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[seq] = future
        try:
            self._writer.write(protocol.encoded({"seq": seq, **request}))
            await self._writer.drain()
            return await future
        finally:
            self._answers.pop(seq, None)

    async def _connect(self) -> asyncio.StreamReader:
        try:
            connection = protocol.connect(self._data_dir)
        except OSError:
            await start_supervisor(self._data_dir)
            connection = protocol.connect(self._data_dir)
        reader, self._writer = await asyncio.open_unix_connection(
            sock=connection, limit=protocol.LINE_BYTES_MAX
        )
        self._connected.set()
        return reader

    async def _read(self, reader: asyncio.StreamReader) -> None:
        catching_up = asyncio.create_task(self._catch_up())
        try:
            while line := await reader.readline():
                self._take(json.loads(line))
        except (OSError, ValueError) as error:
            log.warning("connection to the pod supervisor broken", error=str(error))
        finally:
            catching_up.cancel()
            await asyncio.gather(catching_up, return_exceptions=True)

    async def _catch_up(self) -> None:
        try:
            for run in await self.runs():
                if run.finished_at:
                    self._ended(run)
        except OSError as error:
            log.warning("the pod supervisor does not list", error=str(error))

    def _take(self, message: dict[str, Any]) -> None:
        if "exited" in message:
            self._ended(run_of(message["exited"]))
            return
        future = self._answers.get(message["seq"])
        if future is not None and not future.done():
            future.set_result(message)

    def _disconnect(self) -> None:
        self._connected.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the pod supervisor is gone"))


async def start_supervisor(data_dir: Path) -> None:
    """Returns once one listens. Raises OSError with its own words where it cannot."""
    await asyncio.to_thread(_start_supervisor, data_dir)


def _start_supervisor(data_dir: Path) -> None:
    command = [sys.executable, "-m", "motorpool.node.supervisor", "--data-dir", str(data_dir)]
    # Its words go to a file: a pipe would end only once every process that was forked from here
    # meanwhile and inherited it has ended, and Envoy never does.
    with tempfile.TemporaryFile() as words:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                start_new_session=True,
                env={**os.environ, **python_path()},
                timeout=START_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OSError(f"the pod supervisor is not up after {START_TIMEOUT_S:g} s") from None
        if done.returncode != 0:
            words.seek(0)
            raise OSError(words.read().decode(errors="replace").strip())


def python_path() -> dict[str, str]:
    """Where this interpreter finds its modules, for programs that run in another directory."""
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    absolute = os.pathsep.join(str(Path(entry).absolute()) for entry in entries)
    return {"PYTHONPATH": absolute} if absolute else {}


async def stop_pods(data_dir: Path, *, timeout_s: float = 120.0) -> bool:
    """Ends every pod of a data directory with its grace, then the supervisor.

    For ``motorpool down``; needs no agent, and no agent may run. False: there was nothing to end.
    Pods that have lost their supervisor get one for this, and so do those whose supervisor dies.
    """
    stopped = False
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                connection = protocol.connect(data_dir)
            except OSError:
                if not await asyncio.to_thread(_any_runs, data_dir):
                    return stopped
                await start_supervisor(data_dir)
                await asyncio.sleep(RETRY.first_s)
                continue
            await _stop_by(connection)
            stopped = True


async def _stop_by(connection: socket.socket) -> None:
    """Returns once that supervisor has gone."""
    with contextlib.suppress(ConnectionError):
        reader, writer = await asyncio.open_unix_connection(
            sock=connection, limit=protocol.LINE_BYTES_MAX
        )
        try:
            writer.write(protocol.encoded({"seq": 1, "do": "stop"}))
            while await reader.readline():
                continue
        finally:
            writer.close()


def _any_runs(data_dir: Path) -> bool:
    boot = boot_id()
    return any(record.is_alive(boot) for record in load(data_dir / "pods"))
