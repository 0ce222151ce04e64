"""Measures the router: start, idle memory and CPU, added latency, time to apply many routes.

python -m bench.router [ROUTES]
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import structlog
from tests.memory_client import MemoryClient
from tests.router.objects import endpoint, endpoint_slice, route
from tests.router.traffic import Backend, fetch_until, read_reply, request_bytes

from motorpool.api import discovery
from motorpool.api.route import ROUTE
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context
from motorpool.router import envoy, routes
from motorpool.router.configuration import encoded
from motorpool.router.publish import Router

ADDRESS = "127.77.0.9"


def rss_mb(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def p50_ms(address, port, host, count=3000):
    reader, writer = await asyncio.open_connection(address, port)
    request, taken = request_bytes(host, "/", headers=[("Cookie", "a=b")]), []
    for _ in range(count):
        begun = time.perf_counter()
        writer.write(request)
        await read_reply(reader)
        taken.append(time.perf_counter() - begun)
    writer.close()
    return statistics.median(taken) * 1000


async def measure(data_dir, count):
    client = MemoryClient(route("iris-0"), endpoint_slice("iris-0", endpoint(ADDRESS)))
    informers = Informers(client)
    context = Context(client, informers, EventRecorder(client))
    router = Router(context, data_dir=data_dir, http_port=0, https_port=0)
    begun = time.perf_counter()
    tasks = [asyncio.ensure_future(informers.run()), asyncio.ensure_future(router.run())]
    await router.ready()
    port, pid = router.http_port, router.health().pid
    print(f"start to serving         {(time.perf_counter() - begun) * 1000:8.0f} ms")
    async with Backend(ADDRESS):
        await fetch_until(port, "iris-0.example.com", lambda r: r.status == 200)
        print(f"start to first 200       {(time.perf_counter() - begun) * 1000:8.0f} ms")
        print(f"RSS idle                 {rss_mb(pid):8.1f} MB")
        before = cpu_s(pid)
        await asyncio.sleep(5)
        print(f"CPU idle                 {(cpu_s(pid) - before) / 5 * 100:8.2f} %")
        direct, through = [], []
        for _ in range(3):
            direct.append(await p50_ms(ADDRESS, 8080, "x"))
            through.append(await p50_ms("127.0.0.1", port, "iris-0.example.com"))
        print(f"p50 direct               {min(direct):8.3f} ms")
        print(
            f"p50 through the router   {min(through):8.3f} ms  (+{min(through) - min(direct):.3f})"
        )
        await apply_many(client, port, count)
        print(f"RSS with {count} routes     {rss_mb(pid):8.1f} MB")
        await change_one(client, port, count)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await router.stop()


async def apply_many(client, port, count):
    begun = time.perf_counter()
    for number in range(1, count):
        await client.create(
            discovery.ENDPOINT_SLICE, endpoint_slice(f"iris-{number}", endpoint(ADDRESS))
        )
        await client.create(ROUTE, route(f"iris-{number}"))
    for number in range(1, count):
        await fetch_until(port, f"iris-{number}.example.com", lambda r: r.status == 200)
    print(f"{count} routes at once, all answer {time.perf_counter() - begun:8.2f} s")


async def change_one(client, port, count):
    listed = [o for (k, _), o in client.objects.items() if k == ROUTE]
    slices = [o for (k, _), o in client.objects.items() if k == discovery.ENDPOINT_SLICE]
    begun = time.perf_counter()
    table = routes.table_of(listed, routes.slices_by_service(slices))
    middle = time.perf_counter()
    size = len(encoded(envoy.clusters_of(table))) + len(
        encoded(envoy.routes_of(table, secure=False))
    )
    end = time.perf_counter()
    print(f"table of {count}            {(middle - begun) * 1000:8.1f} ms")
    print(f"configuration of it      {(end - middle) * 1000:8.1f} ms, {size / 1e6:.1f} MB")
    async with Backend("127.77.0.8"):
        kept = await client.get(discovery.ENDPOINT_SLICE, "n", "iris-7-a")
        begun = time.perf_counter()
        await client.update(
            discovery.ENDPOINT_SLICE, {**kept, "endpoints": [endpoint("127.77.0.8")]}
        )
        await fetch_until(port, "iris-7.example.com", lambda r: r.body.startswith(b"127.77.0.8"))
        print(f"one endpoint moved       {(time.perf_counter() - begun) * 1000:8.0f} ms")


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(Path(directory), int((sys.argv[1:] or ["1000"])[0])))
