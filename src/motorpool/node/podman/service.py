"""The service behind libpod's socket: the user's own where it will do, else one that we start.

    DATA_DIR/podman/containers.conf   the user's, with what this machine needs (`restrictions`)
    DATA_DIR/podman/service.json      the process that we have started, and its socket
    DATA_DIR/run/podman.sock

Rules: nothing is started before a Pod needs it; what was started outlives the platform, as its
containers do, and is used again; `motorpool down` ends it. That the service dies ends no container:
each has a monitor of its own.
"""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from motorpool.base.atomicfile import write_atomically
from motorpool.base.processes import ProcessIdentity, identity_of, is_alive
from motorpool.node.podman.restrictions import (
    Restrictions,
    Settings,
    facts_of_machine,
    merged,
    restrictions,
    toml_of,
)

log = structlog.get_logger(__name__)

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
SOCKET_PATH_BYTES_MAX = 100
OVERRIDES = ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF")
OURS: Settings = {"engine": {"exit_command_delay": 5}}
"""The monitors of a command go so long after it, instead of five minutes: probes ask often."""
MISSING = (
    "podman is not installed: install it (Debian and Ubuntu: apt-get install podman), "
    "or run the image as a process: start motorpool without --engine podman and add an entry "
    "to the local images table"
)


def owner_of(data_dir: Path) -> str:
    """What the labels of our containers name this data directory by."""
    return hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:16]


def has_podman() -> bool:
    return shutil.which("podman") is not None or _users_socket() is not None


def was_used(data_dir: Path) -> bool:
    """Whether containers of this data directory may be there."""
    return (data_dir / "podman").is_dir()


class Service:
    def __init__(self, data_dir: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        """*tell* gets what this machine keeps podman from doing, once."""
        self._dir = data_dir / "podman"
        self._run_dir = data_dir / "run"
        self._tell = tell
        self._lock = asyncio.Lock()
        self._restrictions: Restrictions | None = None
        self._run_dir_descriptor = -1

    async def socket(self) -> str:
        """The path of a socket at which podman answers. Raises OSError."""
        async with self._lock:
            found = await self.restrictions()
            return await asyncio.to_thread(self._socket, found)

    async def restrictions(self) -> Restrictions:
        if self._restrictions is None:
            self._restrictions = await asyncio.to_thread(_restrictions)
            for words in self._restrictions.words:
                self._tell(words)
        return self._restrictions

    def _socket(self, found: Restrictions) -> str:
        self._dir.mkdir(mode=0o700, exist_ok=True)
        users = _users_socket()
        if users is not None and not found.needs_own_service and _answers(users):
            return users
        path = self._path()
        if not _answers(path):
            self._start(path, found)
        return path

    def _path(self) -> str:
        """A short name: an address of a unix socket has at most 107 bytes."""
        path = str(self._run_dir / "podman.sock")
        if len(path.encode()) <= SOCKET_PATH_BYTES_MAX:
            return path
        if self._run_dir_descriptor < 0:
            self._run_dir_descriptor = os.open(self._run_dir, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/{os.getpid()}/fd/{self._run_dir_descriptor}/podman.sock"

    def _start(self, path: str, found: Restrictions) -> None:
        program = shutil.which("podman")
        if program is None:
            raise OSError(MISSING)
        (self._run_dir / "podman.sock").unlink(missing_ok=True)
        file = self._dir / "containers.conf"
        content = toml_of(merged(merged(_users_settings(), OURS), found.settings))
        write_atomically(file, content.encode(), sync=False)
        environment = {**os.environ, "TZ": "UTC", "CONTAINERS_CONF": str(file)}
        words = self._dir / "service.log"
        command = [program, "system", "service", "--time", "0", f"unix://{path}"]
        # Through a shell that ends at once: the service is no child of ours, for it outlives us.
        done = subprocess.run(
            ["/bin/sh", "-c", '"$@" >"$WORDS" 2>&1 </dev/null & echo $!', "sh", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
            env={**environment, "WORDS": str(words)}, cwd="/", check=True,
        )  # fmt: skip
        identity = identity_of(int(done.stdout))
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(path):
            if identity is None or not is_alive(identity) or time.monotonic() > deadline:
                said = words.read_text(errors="replace").strip()[-1024:]
                raise OSError(f"podman system service does not serve: {said}")
            time.sleep(0.02)
        record = identity._asdict() if identity else {}
        write_atomically(self._dir / "service.json", json.dumps(record).encode(), sync=False)

    def stop(self) -> None:
        """Ends the service that was started for this data directory, if it runs."""
        try:
            record = json.loads((self._dir / "service.json").read_text())
            identity = ProcessIdentity(int(record["pid"]), int(record["start_ticks"]))
        except (OSError, ValueError, KeyError, TypeError):
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + STOP_TIMEOUT_S
            if is_alive(identity):
                os.kill(identity.pid, number)
            while is_alive(identity) and time.monotonic() < deadline:
                time.sleep(0.02)
        (self._run_dir / "podman.sock").unlink(missing_ok=True)
        (self._dir / "service.json").unlink(missing_ok=True)


def _restrictions() -> Restrictions:
    runtime = str(_users_settings().get("engine", {}).get("runtime", ""))
    return restrictions(facts_of_machine(Path(runtime).name))


def _users_socket() -> str | None:
    """Of a service that the user runs; None where the environment asks for another podman."""
    named = os.environ.get("CONTAINER_HOST", "")
    if named.startswith("unix://"):
        return named.removeprefix("unix://")
    if any(os.environ.get(name) for name in OVERRIDES):
        return None
    runtime_dir = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
    path = Path(runtime_dir) / "podman" / "podman.sock"
    return str(path) if runtime_dir and path.is_socket() else None


def _users_settings() -> Settings:
    """What containers.conf says now, from every place that podman reads."""
    named = os.environ.get("CONTAINERS_CONF")
    if named:
        files = [Path(named)]
    else:
        directories = [Path("/etc/containers")]
        if os.geteuid() != 0:
            home = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
            directories.append(Path(home) / "containers")
        files = [Path("/usr/share/containers/containers.conf")]
        for directory in directories:
            files += [
                directory / "containers.conf",
                *sorted(directory.glob("containers.conf.d/*.conf")),
            ]
    settings: Settings = {}
    for file in files:
        settings = merged(settings, _tables(file))
    return settings


def _tables(file: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        log.warning("containers.conf not read", file=str(file), error=str(error))
        return {}
    return {name: table for name, table in found.items() if isinstance(table, dict)}


def _answers(path: str) -> bool:
    import http.client

    connection = http.client.HTTPConnection("podman", timeout=START_TIMEOUT_S)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(START_TIMEOUT_S)
        connection.sock.connect(path)
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
