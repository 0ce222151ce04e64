"""The owner's side of the engine's process: starts it, talks to it, notices its end."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from typing import Any, cast

from motorpool.modelserver.llm.contract import (
    CheckpointError,
    EngineBusy,
    EngineDead,
    EngineOptions,
    EngineState,
    Generation,
    ModelInfo,
    Tokens,
)
from motorpool.modelserver.llm.engine.wire import (
    Add,
    Cancel,
    Embed,
    Event,
    FromProcess,
    Ready,
    Refused,
    Start,
    Step,
    ToProcess,
    Vectors,
    WireError,
    frame,
    from_process,
)

MODULE = "motorpool.modelserver.llm.engine"
LAST_LINES = 12
LAST_CHARACTERS = 1500
STOP_S = 5.0  # from hanging up until it is killed

Log = Callable[[str], None]


class _Mailbox:
    """The events of one generation, those not yet taken made into one."""

    __slots__ = ("_error", "_pending", "_waiter", "finished")

    def __init__(self) -> None:
        self._pending: Tokens | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: EngineDead | EngineBusy | None = None
        self.finished = False

    def put(self, event: Event) -> None:
        if event.is_busy:
            self._error = EngineBusy(event.message)
        elif (pending := self._pending) is None:
            self._pending = Tokens(
                event.ids, event.logprobs, event.finish, event.stop_token, event.message
            )
        else:
            pending.ids += event.ids
            pending.logprobs += event.logprobs
            pending.finish, pending.stop_token = event.finish, event.stop_token
            pending.message = event.message
        self.finished = event.finish is not None
        self._wake()

    def fail(self, error: EngineDead) -> None:
        self._error = error
        self._wake()

    async def take(self) -> Tokens:
        """What came before the engine's end is still given. Raises EngineDead, EngineBusy."""
        while self._pending is None:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        taken, self._pending = self._pending, None
        return taken

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Conversation(asyncio.Protocol):
    def __init__(self, heard: Callable[[FromProcess], None], ended: Callable[[str], None]) -> None:
        self._frames = from_process()
        self._heard = heard
        self._ended = ended
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, and not the class.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._heard(message)
        except WireError as error:
            self._ended(f"it sent what cannot be read: {error}")
            self.hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended("")

    def send(self, message: ToProcess) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(message))

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()


class EngineProcess:
    """An Engine, see the contract. Start it on the main thread, where it then dies with us."""

    def __init__(self, options: EngineOptions, log: Log | None = None) -> None:
        """*log* is given each line that the process writes to stderr; by default ours has it."""
        self._options = options
        self._log = log or _to_stderr
        self._numbers = count(1)
        self._mailboxes: dict[int, _Mailbox] = {}
        self._vectors: dict[int, asyncio.Future[list[list[float]]]] = {}
        self._state = EngineState(running=0, waiting=0, kv_cache_usage=0.0, steps=0)
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._conversation: _Conversation | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> ModelInfo:
        """Raises CheckpointError, EngineDead."""
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[ModelInfo] = loop.create_future()
        self._dead: asyncio.Future[EngineDead] = loop.create_future()
        self._hung_up: asyncio.Future[str] = loop.create_future()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            command = [sys.executable, "-m", MODULE, str(theirs.fileno())]
            if threading.current_thread() is threading.main_thread():
                command.append("--die-with-parent")
            self._process = await asyncio.create_subprocess_exec(
                *command,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        _, self._conversation = await loop.create_connection(
            lambda: _Conversation(self._hear, self._note_end), sock=ours
        )
        self._watching = asyncio.create_task(self._watch(self._process), name="engine")
        self._conversation.send(Start(self._options))
        try:
            return await self._ready
        except BaseException:
            await self.stop()
            raise

    async def generate(self, generation: Generation) -> AsyncIterator[Tokens]:
        """Raises EngineDead, EngineBusy."""
        if self._dead.done():
            raise self._dead.result()
        number, mailbox = next(self._numbers), _Mailbox()
        self._mailboxes[number] = mailbox
        self._send(Add(number, generation.prompt, generation.sampling))
        try:
            while True:
                tokens = await mailbox.take()
                yield tokens
                if tokens.finish is not None:
                    return
        finally:
            del self._mailboxes[number]
            if not mailbox.finished:
                self._send(Cancel(number))

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """Raises EngineDead, ValueError for what cannot be embedded."""
        if self._dead.done():
            raise self._dead.result()
        number = next(self._numbers)
        answer: asyncio.Future[list[list[float]]] = asyncio.get_running_loop().create_future()
        self._vectors[number] = answer
        self._send(Embed(number, prompts))
        try:
            return await answer
        finally:
            del self._vectors[number]

    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def died(self) -> EngineDead:
        return await asyncio.shield(self._dead)

    async def stop(self) -> None:
        self._stopping = True
        for number, mailbox in self._mailboxes.items():
            if not mailbox.finished:
                mailbox.put(Event(number, finish="abort"))
        if self._conversation is not None:
            self._conversation.hang_up()
        if self._process is not None and self._watching is not None:
            _, late = await asyncio.wait([self._watching], timeout=STOP_S)
            if late:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._watching

    def _send(self, message: ToProcess) -> None:
        if self._conversation is not None:
            self._conversation.send(message)

    def _hear(self, message: FromProcess) -> None:
        match message:
            case Step():
                self._state = message.state
                for event in message.events:
                    # A generation that nobody waits for any more has been cancelled.
                    if mailbox := self._mailboxes.get(event.number):
                        mailbox.put(event)
            case Vectors():
                answer = self._vectors.get(message.number)
                if answer is not None and not answer.done():
                    if message.message:
                        answer.set_exception(ValueError(message.message))
                    else:
                        answer.set_result(message.vectors)
            case Ready():
                self._ready.set_result(message.info)
            case Refused():
                self._ready.set_exception(CheckpointError(message.message))

    def _note_end(self, why: str) -> None:
        if not self._hung_up.done():
            self._hung_up.set_result(why)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Until the process is gone, and everyone who waits for it has been told."""
        assert process.stderr is not None
        reading = asyncio.create_task(self._read_lines(process.stderr), name="engine-stderr")
        ended = asyncio.create_task(process.wait(), name="engine-exit")
        ends: set[asyncio.Future[Any]] = {ended, self._hung_up}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():  # it has hung up, and is about to end, or hangs
            await asyncio.wait([ended], timeout=STOP_S)
            if not ended.done():
                process.kill()
        code = await ended
        # A child of its own may hold its stderr open; what it has said itself is there by now.
        await asyncio.wait([reading], timeout=0.5)
        reading.cancel()
        why = self._hung_up.result() if self._hung_up.done() else ""
        self._bury(EngineDead(_epitaph(code, why, list(self._last_lines))))

    async def _read_lines(self, stderr: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stderr.readline()
            except ValueError:  # longer than the reader's limit, which it has dropped
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._last_lines.append(text)
            self._log(text)

    def _bury(self, error: EngineDead) -> None:
        self._state = EngineState(0, 0, 0.0, self._state.steps)
        self._dead.set_result(error)
        if not self._ready.done():
            self._ready.set_exception(error)
            # Where start() has been cancelled nobody asks for it any more.
            self._ready.exception()
        for mailbox in self._mailboxes.values():
            mailbox.fail(error)
        for answer in self._vectors.values():
            if not answer.done():
                answer.set_exception(error)
        if self._conversation is not None:
            self._conversation.hang_up()


def _epitaph(code: int, why: str, lines: list[str]) -> str:
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    else:
        how = f"ended with exit code {code}"
    last = "\n".join(lines)[-LAST_CHARACTERS:]
    return (
        f"the engine's process {how}" + (f"; {why}" if why else "") + (f": {last}" if last else "")
    )


def _to_stderr(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())
