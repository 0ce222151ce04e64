"""Commands in a container and a container's own streams, over connections that podman hands over.

Without a terminal what comes is cut into frames: a byte for the stream, three of nothing, four for
the length, the content. With one it is the terminal's own. A command whose client leaves is killed.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

from motorpool.api.errors import InternalError
from motorpool.api.meta import Object
from motorpool.api.streams import Output, Remote, SessionOptions, Size
from motorpool.node.podman.libpod import Libpod, LibpodError

READ_BYTES = 32 * 1024
FRAME_BYTES_MAX = 1024 * 1024
RESIZE_TRIES = 20
RESIZE_RETRY_S = 0.05
SETTLE_TRIES = 100
SETTLE_S = 0.02
EXITED_UNSEEN = 137

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Resize = Callable[[Size], Awaitable[None]]


async def frames(reader: asyncio.StreamReader, *, tty: bool) -> AsyncIterator[tuple[Output, bytes]]:
    """What the container writes, until it ends."""
    while tty:
        content = await reader.read(READ_BYTES)
        if not content:
            return
        yield "stdout", content
    while True:
        try:
            head = await reader.readexactly(8)
            length = int.from_bytes(head[4:], "big")
            if length > FRAME_BYTES_MAX:
                raise InternalError(f"podman sends a frame of {length} bytes")
            content = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        if content:
            yield "stderr" if head[0] == 2 else "stdout", content


async def exec_id(libpod: Libpod, container: str, options: SessionOptions) -> str:
    """Makes a command known to podman. Raises InternalError."""
    body: Object = {
        "AttachStdin": options.stdin,
        "AttachStdout": options.stdout or options.tty,
        "AttachStderr": options.stderr and not options.tty,
        "Tty": options.tty,
        "Cmd": list(options.command),
    }
    try:
        made = await libpod.post(f"/containers/{container}/exec", body)
    except LibpodError as error:
        raise InternalError(f"Internal error occurred: {error}") from error
    return str(made["Id"])


async def run_command(libpod: Libpod, id_: str, options: SessionOptions, remote: Remote) -> int:
    """A command to its end: its exit code. Raises InternalError."""
    body = {"Detach": False, "Tty": options.tty}
    streams = await libpod.stream(f"/exec/{id_}/start", body)

    async def resize(size: Size) -> None:
        await libpod.post(f"/exec/{id_}/resize", h=size.rows, w=size.columns)

    try:
        await converse(streams, options, remote, resize, ends_input=True)
    except BaseException:
        await asyncio.shield(_kill(libpod, id_))
        raise
    return await _exit_code(libpod, id_)


async def attach(
    libpod: Libpod, container: str, options: SessionOptions, remote: Remote, *, once: bool
) -> None:
    """The container's own streams until it ends."""
    wanted = {"stdin": options.stdin, "stdout": options.stdout, "stderr": options.stderr}
    query = "&".join(f"{name}={'true' if value else 'false'}" for name, value in wanted.items())
    streams = await libpod.stream(f"/containers/{container}/attach?stream=true&logs=false&{query}")

    async def resize(size: Size) -> None:
        await libpod.post(f"/containers/{container}/resize", h=size.rows, w=size.columns)

    await converse(streams, options, remote, resize, ends_input=once)


async def output_of(
    libpod: Libpod, container: str, command: list[str], most: int
) -> tuple[int, str]:
    """A command that nobody talks to: its exit code, and the beginning of what it wrote."""
    options = SessionOptions(tuple(command), stdout=True, stderr=True)
    id_ = await exec_id(libpod, container, options)
    reader, writer = await libpod.stream(f"/exec/{id_}/start", {"Detach": False, "Tty": False})
    output = bytearray()
    try:
        async for _, content in frames(reader, tty=False):
            output += content[: most - len(output)]
    except BaseException:
        await asyncio.shield(_kill(libpod, id_))
        raise
    finally:
        writer.close()
    return await _exit_code(libpod, id_), output.decode(errors="replace")


async def converse(
    streams: Streams, options: SessionOptions, remote: Remote, resize: Resize, *, ends_input: bool
) -> None:
    """Carries both ways until the container's side ends."""
    reader, writer = streams
    tasks = []
    try:
        if options.stdin:
            feeding = _feed(writer, remote, tty=options.tty, ends_input=ends_input)
            tasks.append(asyncio.create_task(feeding))
        if options.tty:
            tasks.append(asyncio.create_task(_resize(remote, resize)))
        async for output, content in frames(reader, tty=options.tty):
            if output == "stderr" and options.stderr:
                await remote.write("stderr", content)
            elif output == "stdout" and options.stdout:
                await remote.write("stdout", content)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()


async def _feed(
    writer: asyncio.StreamWriter, remote: Remote, *, tty: bool, ends_input: bool
) -> None:
    with contextlib.suppress(OSError):
        while content := await remote.read():
            writer.write(content)
            await writer.drain()
        if tty and ends_input:
            writer.write(b"\x04")  # How a terminal says that there is no more.
        elif ends_input:
            writer.write_eof()


async def _resize(remote: Remote, resize: Resize) -> None:
    while True:
        size = await remote.size()
        for _ in range(RESIZE_TRIES):
            try:
                await resize(size)
                break
            except OSError:
                await asyncio.sleep(RESIZE_RETRY_S)  # It does not run yet.


async def _exit_code(libpod: Libpod, id_: str) -> int:
    for _ in range(SETTLE_TRIES):
        try:
            found = await libpod.get(f"/exec/{id_}/json")
        except LibpodError:
            return EXITED_UNSEEN  # It went with its container.
        if not found.get("Running"):
            return int(found.get("ExitCode") or 0)
        await asyncio.sleep(SETTLE_S)
    return EXITED_UNSEEN


async def _kill(libpod: Libpod, id_: str) -> None:
    """Podman has no verb for it."""
    with contextlib.suppress(OSError):
        found = await libpod.get(f"/exec/{id_}/json")
        if found.get("Running") and found.get("Pid"):
            os.kill(int(found["Pid"]), signal.SIGKILL)
