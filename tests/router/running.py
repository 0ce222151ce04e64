"""A router over a few objects, with the real Envoy."""

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

from motorpool.api import discovery
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context
from motorpool.router.publish import Router
from tests.memory_client import MemoryClient


@contextlib.asynccontextmanager
async def routing(data_dir, *objects, keep=False, may_listen=None, **more):
    """Gives the router and the client whose objects it serves; ends Envoy unless told to keep."""
    client = MemoryClient(*objects)
    informers = Informers(client)
    context = Context(client, informers, EventRecorder(client))
    router = Router(context, data_dir=data_dir, **{"http_port": 0, "https_port": 0, **more})
    router.may_listen = may_listen or router.may_listen
    work = (informers.run(), context.events.run(), router.run())
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await router.ready()
        yield router, client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not keep:
            await router.stop()


@contextlib.asynccontextmanager
async def publishing(data_dir, objects):
    """A router in a process of its own; gives the process, the port and Envoy's pid."""
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.router.publisher", str(data_dir), str(objects)),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root / "src"), str(root)))},
        cwd=root,
    )
    try:
        async with asyncio.timeout(30):
            port, pid = (await process.stdout.readline()).split()
        yield process, int(port), int(pid)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def status_is(status):
    return lambda reply: reply.status == status


async def set_endpoints(client, *endpoints, service="iris"):
    kept = await client.get(discovery.ENDPOINT_SLICE, "n", f"{service}-a")
    await client.update(discovery.ENDPOINT_SLICE, {**kept, "endpoints": list(endpoints)})
