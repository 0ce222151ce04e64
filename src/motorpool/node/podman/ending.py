"""How a run has ended, asked of podman until it knows.

Rules: a process that lives has not ended, whatever else is wrong. Podman learns of an end from the
container's monitor; where that was killed too (a reboot without one, a hard stop of everything) it
takes the container to run for ever.
"""

import asyncio
from dataclasses import replace

import structlog

from motorpool.base.clock import Clock
from motorpool.base.processes import identity_of
from motorpool.node.podman.containers import PodmanContainers
from motorpool.node.podman.observed import run_of
from motorpool.node.podman.processes import Process
from motorpool.node.seen import Run

log = structlog.get_logger(__name__)

FIRST_S, MOST_S = 0.01, 0.5
NOTICE_S = 30.0


async def end_of(
    made: PodmanContainers, process: Process, begun: Run, monitor_pid: int, clock: Clock
) -> Run | None:
    """None where it has not ended."""
    unknown = replace(begun, finished_at=clock().timestamp(), exit_code=None)
    deadline = asyncio.get_running_loop().time() + NOTICE_S
    delay_s = FIRST_S
    while True:
        is_alive = process.is_alive()
        is_watched = identity_of(monitor_pid) is not None
        try:
            inspected = await made.inspect(process.container)
        except OSError as error:
            log.warning("podman", run=begun.id, error=str(error))
        else:
            run = run_of(inspected) if inspected is not None else None
            if run is None:
                return unknown  # It was removed behind our back.
            if run.finished_at:
                return run
            if is_alive:
                return None
            if not is_watched or asyncio.get_running_loop().time() > deadline:
                return unknown
        await asyncio.sleep(delay_s)
        delay_s = min(MOST_S, delay_s * 1.5)
