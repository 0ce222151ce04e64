"""Measures cluster addresses: memory and time for many Services, and what a connection costs.

python -m bench.services [SERVICES]
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

import structlog
from tests.memory_client import MemoryClient
from tests.router.objects import endpoint, endpoint_slice, service
from tests.router.running import set_endpoints
from tests.router.traffic import Backend

from bench.router import p50_ms, rss_mb
from motorpool.api import core, discovery
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context
from motorpool.router.publish import Router

ADDRESS, PORT = "127.77.0.9", 18080


def address_of(number):
    return f"127.128.{78 + number // 250}.{1 + number % 250}"


async def answers(address):
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await p50_ms(address, PORT, "x", count=1)
            return
        await asyncio.sleep(0.002)


async def measure(data_dir, count):
    client = MemoryClient(service("s-0", address_of(0)), endpoint_slice("s-0", endpoint(ADDRESS)))
    informers = Informers(client)
    context = Context(client, informers, EventRecorder(client))
    router = Router(context, data_dir=data_dir, http_port=0, https_port=0)
    tasks = [asyncio.ensure_future(informers.run()), asyncio.ensure_future(router.run())]
    await router.ready()
    pid = router.health().pid
    async with Backend(ADDRESS):
        await answers(address_of(0))
        print(f"RSS with 1 Service       {rss_mb(pid):8.1f} MB")
        direct = min([await p50_ms(ADDRESS, 8080, "x") for _ in range(3)])
        through = min([await p50_ms(address_of(0), PORT, "x") for _ in range(3)])
        print(f"added at p50             {through - direct:8.3f} ms")
        begun = time.perf_counter()
        for number in range(1, count):
            await client.create(core.SERVICE, service(f"s-{number}", address_of(number)))
            found = endpoint_slice(f"s-{number}", endpoint(ADDRESS))
            await client.create(discovery.ENDPOINT_SLICE, found)
        for number in range(count):
            await answers(address_of(number))
        print(f"{count} until all answer  {(time.perf_counter() - begun) * 1000:10.0f} ms")
        print(f"RSS with them            {rss_mb(pid):8.1f} MB")
        begun = time.perf_counter()
        await set_endpoints(client, service="s-1")
        while True:
            try:
                await p50_ms(address_of(1), PORT, "x", count=1)
            except (OSError, asyncio.IncompleteReadError):
                break
        print(f"one change in force      {(time.perf_counter() - begun) * 1000:8.0f} ms")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await router.stop()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(Path(directory), int(sys.argv[1]) if len(sys.argv) > 1 else 200))
