"""A container's own streams, for ``kubectl attach``, from the pod supervisor.

Each attachment is a connection of its own, so that a client that reads slowly costs the container
nothing: the supervisor hangs up on who leaves too much unread.
"""

import asyncio
import base64
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from motorpool.api.errors import InternalError
from motorpool.api.streams import Remote, SessionOptions
from motorpool.node.supervisor import protocol

INPUT_BYTES_MAX = 256 * 1024


async def attach(
    data_dir: Path, id_: str, options: SessionOptions, remote: Remote, *, once: bool
) -> None:
    """Until the run ends. *once*: its stdin ends with this client's. Raises InternalError."""
    async with _connected(data_dir, id_) as (attachment, receiving):
        tasks = [receiving, asyncio.create_task(_show(attachment, options, remote))]
        if options.stdin:
            tasks.append(asyncio.create_task(_feed(attachment, remote, once=once)))
        if options.tty:
            tasks.append(asyncio.create_task(_resize(attachment, remote)))
        try:
            await tasks[1]
        finally:
            if options.stdin and once:
                with contextlib.suppress(OSError):
                    attachment.send("end_input")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Attachment:
    def __init__(self, id_: str, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]):
        self._id = id_
        self._reader, self._writer = streams
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._output: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(1)

    async def receive(self) -> None:
        """Takes what the supervisor sends until the run or the connection ends."""
        try:
            while line := await self._reader.readline():
                message = json.loads(line)
                if message.get("output") == self._id:
                    content = base64.b64decode(message["content"])
                    await self._output.put((message["stream"], content))
                elif message.get("exited", {}).get("id") == self._id:
                    break
                elif message.get("seq") in self._answers:
                    self._answers.pop(message["seq"]).set_result(message)
        finally:
            for answer in self._answers.values():
                answer.cancel()
            await self._output.put(None)

    async def next(self) -> tuple[str, bytes] | None:
        """The next that the run writes; None once it has ended."""
        return await self._output.get()

    async def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        number = self.send(verb, **fields)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._writer.drain()
        return await self._answers[number]

    def send(self, verb: str, **fields: Any) -> int:
        number = next(self._numbers)
        self._writer.write(protocol.encoded({"seq": number, "do": verb, "id": self._id, **fields}))
        return number


@contextlib.asynccontextmanager
async def _connected(
    data_dir: Path, id_: str
) -> AsyncIterator[tuple[Attachment, asyncio.Task[None]]]:
    connection = protocol.connect(data_dir)
    streams = await asyncio.open_unix_connection(sock=connection, limit=protocol.LINE_BYTES_MAX)
    attachment = Attachment(id_, streams)
    receiving = asyncio.create_task(attachment.receive())
    try:
        answer = await attachment.ask("attach")
        if "error" in answer:
            raise InternalError(f"Internal error occurred: {answer['error']}")
        yield attachment, receiving
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        streams[1].close()


async def _show(attachment: Attachment, options: SessionOptions, remote: Remote) -> None:
    while (found := await attachment.next()) is not None:
        stream, content = found
        if stream == "stderr" and options.stderr:
            await remote.write("stderr", content)
        elif stream == "stdout" and options.stdout:
            await remote.write("stdout", content)


async def _feed(attachment: Attachment, remote: Remote, *, once: bool) -> None:
    while content := await remote.read():
        for start in range(0, len(content), INPUT_BYTES_MAX):
            text = base64.b64encode(content[start : start + INPUT_BYTES_MAX]).decode()
            if "error" in await attachment.ask("input", content=text):
                return  # It takes no input, or no more.
    if once:
        await attachment.ask("end_input")


async def _resize(attachment: Attachment, remote: Remote) -> None:
    while True:
        size = await remote.size()
        await attachment.ask("resize", columns=size.columns, rows=size.rows)
