"""Commands beside a container's program, for ``kubectl exec``.

Rules: a command leads a session of its own, so no signal to the platform reaches it and none to it
reaches the Pod; what it leaves behind ends with it. It ends with its client, with its container,
and with the platform. What it writes waits for the client, and what the client sends waits for it.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

from motorpool.api.errors import InternalError
from motorpool.api.streams import Output, Remote, SessionOptions
from motorpool.node.command import TERMINAL, Program
from motorpool.node.descriptors import Descriptor
from motorpool.node.supervisor.groups import put

BECOME = Path(__file__).with_name("become.py")
DRAIN_S = 0.5


@dataclass(slots=True)
class _Ends:
    """Our ends of a command's streams; with a terminal all three are one."""

    stdin: Descriptor | None
    outputs: dict[Output, Descriptor]
    terminal: Descriptor | None

    def close(self) -> None:
        for end in (self.stdin, self.terminal, *self.outputs.values()):
            if end is not None:
                end.close()


async def run_command(program: Program, options: SessionOptions, remote: Remote) -> int:
    """The command's exit code; 128 + N where signal N ended it. Raises InternalError."""
    process, ends = await _start(program, options)
    tasks: list[asyncio.Task[None]] = []
    try:
        outputs = [
            asyncio.create_task(_send(end, output, remote)) for output, end in ends.outputs.items()
        ]
        tasks += outputs
        if ends.stdin is not None:
            tasks.append(asyncio.create_task(_feed(ends.stdin, remote, options.tty)))
        if ends.terminal is not None:
            tasks.append(asyncio.create_task(_resize(ends.terminal, remote)))
        code = await process.wait()
        if outputs:
            # What it left behind may hold its streams open, and would for ever.
            await asyncio.wait(outputs, timeout=DRAIN_S)
        _kill(process.pid)
        await asyncio.gather(*outputs)
        return 128 - code if code < 0 else code
    finally:
        _kill(process.pid)
        if options.tty:
            _kill_jobs(process.pid)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if process.returncode is None:
            await asyncio.shield(process.wait())
        ends.close()


async def _start(
    program: Program, options: SessionOptions
) -> tuple[asyncio.subprocess.Process, _Ends]:
    theirs, ends = _streams(options)
    reading, writing = os.pipe()
    report = Descriptor(reading)
    env = dict(program.env)
    if options.tty:
        env.setdefault("TERM", TERMINAL)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(BECOME), str(writing),
            "tty" if options.tty else "-", program.cwd, *program.argv,
            env=env, stdin=theirs[0], stdout=theirs[1], stderr=theirs[2],
            pass_fds=(writing,), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        ends.close()
        report.close()
        raise InternalError(f"Internal error occurred: {error}") from error
    finally:
        os.close(writing)
        for number in set(theirs):
            os.close(number)
    put(process.pid, program.groups)
    try:
        failure = await report.read()
    except asyncio.CancelledError:
        _kill(process.pid)
        ends.close()
        raise
    finally:
        report.close()
    if failure:
        await process.wait()
        ends.close()
        why = failure.decode(errors="replace").partition(" ")[2]
        raise InternalError(
            "Internal error occurred: error executing command in container: "
            f'exec: "{program.argv[0]}": {_in_words(why)}'
        )
    return process, ends


def _in_words(why: str) -> str:
    return "executable file not found in $PATH" if why == os.strerror(2) else why


def _streams(options: SessionOptions) -> tuple[tuple[int, int, int], _Ends]:
    """The command's three streams, and our ends of them."""
    if options.tty:
        ours, theirs = os.openpty()
        terminal = Descriptor(ours)
        ends = _Ends(terminal if options.stdin else None, {"stdout": terminal}, terminal)
        return (theirs, theirs, theirs), ends
    stdin = None
    if options.stdin:
        their_stdin, our_stdin = os.pipe()
        stdin = Descriptor(our_stdin)
    else:
        their_stdin = os.open(os.devnull, os.O_RDONLY)
    outputs: dict[Output, Descriptor] = {}
    numbers = []
    for name, wanted in (("stdout", options.stdout), ("stderr", options.stderr)):
        if wanted:
            ours, theirs = os.pipe()
            outputs["stdout" if name == "stdout" else "stderr"] = Descriptor(ours)
        else:
            theirs = os.open(os.devnull, os.O_WRONLY)
        numbers.append(theirs)
    return (their_stdin, numbers[0], numbers[1]), _Ends(stdin, outputs, None)


async def _send(end: Descriptor, output: Output, remote: Remote) -> None:
    while content := await end.read():
        await remote.write(output, content)


async def _feed(end: Descriptor, remote: Remote, tty: bool) -> None:
    """A command that reads no more is no reason to end it."""
    with contextlib.suppress(OSError):
        while content := await remote.read():
            await end.write(content)
        if tty:
            await end.write(b"\x04")  # How a terminal says that there is no more.
        else:
            end.close()


async def _resize(terminal: Descriptor, remote: Remote) -> None:
    while terminal.number >= 0:
        size = await remote.size()
        shape = struct.pack("HHHH", size.rows, size.columns, 0, 0)
        fcntl.ioctl(terminal.number, termios.TIOCSWINSZ, shape)


def _kill_jobs(leader: int) -> None:
    """A shell on a terminal gives each of its jobs a process group of its own."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            fields = path.read_bytes().rpartition(b")")[2].split()
            if int(fields[3]) == leader:
                os.kill(int(path.parent.name), signal.SIGKILL)


def _kill(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
