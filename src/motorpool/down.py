"""The end of what `motorpool up` started on a data directory: control plane, pods, router.

Rules: only what that directory's records name is ended, each by its pid and start time; with `up`
gone, the directory is held while the rest ends, so that nobody starts it anew.
"""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from motorpool.app import UpFailed, held_directory
from motorpool.base.lockfile import holder_of
from motorpool.base.processes import identity_of, is_alive

STOP_TIMEOUT_S = 20.0


def stop(data_dir: Path) -> dict[str, list[str]]:
    """Ends the control plane, the pods and Envoy, each only if it runs. Raises UpFailed.

    Returns ``{"stopped": [what, ...]}``.
    """
    stopped = []
    lock = data_dir / "run" / "up.lock"
    try:
        pid = holder_of(lock) if lock.exists() else None
    except OSError as error:
        raise UpFailed(
            f"the data directory {data_dir} is not usable: {error.strerror}",
            hint=_owner_hint(data_dir),
        ) from error
    if pid:
        _end(pid)
        stopped.append(f"control plane (process {pid})")
    if lock.parent.is_dir():
        with held_directory(data_dir, to_end=True):
            stopped += asyncio.run(_stop_data_plane(data_dir))
    return {"stopped": stopped}


def _owner_hint(data_dir: Path) -> str:
    try:
        return f"it belongs to {data_dir.owner()}: say so as that user"
    except (KeyError, OSError):
        return "say so as the user that it belongs to"


def _end(pid: int) -> None:
    """SIGTERM, and SIGKILL where that does not help."""
    identity = identity_of(pid)
    if identity is None:
        return
    for number, timeout_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not is_alive(identity):
                return
            time.sleep(0.02)
    raise UpFailed(f"process {pid} does not end")


async def _stop_data_plane(data_dir: Path) -> list[str]:
    from motorpool.node.podman.stopping import stop_containers
    from motorpool.node.process import stop_pods
    from motorpool.router.envoy_process import EnvoyProcess

    stopped = []
    if await stop_pods(data_dir):
        stopped.append("pods and their supervisor")
    try:
        if await stop_containers(data_dir):
            stopped.append("pods in podman")
    except OSError as error:
        raise UpFailed(f"containers may still run: {error}", hint="see `podman ps`") from error
    envoy = EnvoyProcess(data_dir, Path("envoy"))
    record = envoy.recorded()
    if record is not None and is_alive(record.identity):
        await envoy.stop(record)
        stopped.append(f"Envoy (process {record.pid})")
    return stopped
