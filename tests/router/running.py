"""A router over a few objects, with the real Envoy."""

import asyncio
import contextlib

from motorpool.api import discovery
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context
from motorpool.router.publish import Router
from tests.memory_client import MemoryClient


@contextlib.asynccontextmanager
async def routing(data_dir, *objects, keep=False, **more):
    """Gives the router and the client whose objects it serves; ends Envoy unless told to keep."""
    client = MemoryClient(*objects)
    informers = Informers(client)
    context = Context(client, informers, EventRecorder(client))
    router = Router(context, data_dir=data_dir, **{"http_port": 0, "https_port": 0, **more})
    tasks = [asyncio.ensure_future(informers.run()), asyncio.ensure_future(router.run())]
    try:
        await router.ready()
        yield router, client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not keep:
            await router.stop()


def status_is(status):
    return lambda reply: reply.status == status


async def set_endpoints(client, *endpoints, service="iris"):
    kept = await client.get(discovery.ENDPOINT_SLICE, "n", f"{service}-a")
    await client.update(discovery.ENDPOINT_SLICE, {**kept, "endpoints": list(endpoints)})
