"""The end of all containers of a data directory, for ``motorpool down``."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

from motorpool.api.meta import Object, at
from motorpool.node.podman import records
from motorpool.node.podman.libpod import Libpod, LibpodError, is_no_change
from motorpool.node.podman.observed import run_of
from motorpool.node.podman.service import Service, owner_of, was_used
from motorpool.node.podman.spec import LABEL_GRACE, LABEL_OWNER
from motorpool.node.podman.watching import until

SIGTERM = 15
GRACE_DEFAULT_S = 30.0
POLL_MOST_S = 0.1


async def stop_containers(data_dir: Path) -> bool:
    """Ends every container with its grace, then the service. False: there was none.

    Needs no agent, and no agent may run. How each has ended stays known to the next one.
    """
    if not was_used(data_dir):
        return False
    service = Service(data_dir)
    libpod = Libpod(service.socket)
    try:
        filters = {"label": [f"{LABEL_OWNER}={owner_of(data_dir)}"]}
        found = await libpod.get("/containers/json", all=True, filters=filters) or ()
        ids = [str(entry["Id"]) for entry in found if not entry.get("IsInfra")]
        await asyncio.gather(*(_end(libpod, data_dir, id_) for id_ in ids))
        pods = await libpod.get("/pods/json", filters=filters) or ()
        await asyncio.gather(*(_remove(libpod, pod) for pod in pods))
    finally:
        await libpod.close()
        await asyncio.to_thread(service.stop)
    return bool(pods)


async def _end(libpod: Libpod, data_dir: Path, id_: str) -> None:
    inspected = await libpod.get(f"/containers/{id_}/json")
    run = run_of(inspected)
    if run is None:
        return
    if not run.finished_at:
        await _stop(libpod, id_, inspected)
        run = run_of(await libpod.get(f"/containers/{id_}/json")) or run
        # It was ended with the platform: that is no crash.
        run = replace(run, signal=SIGTERM)
    if records.find(data_dir, run.id) is None:
        await asyncio.to_thread(records.write, data_dir, run)


async def _remove(libpod: Libpod, pod: Object) -> None:
    for container in pod.get("Containers") or ():
        await _ignoring_absence(
            libpod.post(f"/containers/{container['Id']}/kill", signal="SIGKILL")
        )
    await _ignoring_absence(libpod.delete(f"/pods/{pod['Id']}", force=True))


async def _stop(libpod: Libpod, id_: str, inspected: Object) -> None:
    number = int(at(inspected, "Config", "StopSignal", default=0) or SIGTERM)
    grace_s = float(at(inspected, "Config", "Labels", LABEL_GRACE, default=GRACE_DEFAULT_S))

    async def is_over() -> bool:
        run = run_of(await libpod.get(f"/containers/{id_}/json"))
        return run is None or bool(run.finished_at)

    await _ignoring_absence(libpod.post(f"/containers/{id_}/kill", signal=str(number)))
    if not await until(is_over, most_s=POLL_MOST_S, timeout_s=grace_s):
        await _ignoring_absence(libpod.post(f"/containers/{id_}/kill", signal="SIGKILL"))
        await until(is_over)


async def _ignoring_absence(asking: Awaitable[object]) -> None:
    """What is gone, or does not run, needs no end."""
    try:
        await asking
    except LibpodError as error:
        if not is_no_change(error):
            raise
