import asyncio
import contextlib

from motorpool.api import core
from motorpool.api.errors import Conflict, ServiceUnavailable
from motorpool.base.backoff import Backoff
from motorpool.loop import runner
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Controller, own_key, run
from tests.memory_client import MemoryClient


def config_map(name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}}


@contextlib.asynccontextmanager
async def running(client, reconcile):
    informers = Informers(client)
    informer = informers(core.CONFIG_MAP)
    controller = Controller("test", {informer: own_key}, lambda key: reconcile(informer, key))
    tasks = [asyncio.ensure_future(informers.run()), asyncio.ensure_future(run(controller))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_exists_and_what_comes_are_both_reconciled():
    seen = []

    async def reconcile(informer, key):
        seen.append((str(key), informer.get(*key) is not None))

    client = MemoryClient(config_map("a"))
    async with running(client, reconcile):
        await until(lambda: ("n/a", True) in seen)
        await client.create(core.CONFIG_MAP, config_map("b"))
        await until(lambda: ("n/b", True) in seen)
        await client.delete(core.CONFIG_MAP, "n", "a")
        await until(lambda: ("n/a", False) in seen)


async def test_a_fault_of_the_world_is_tried_again():
    tries = []

    async def reconcile(informer, key):
        tries.append(key)
        if len(tries) < 3:
            raise ServiceUnavailable("not now")

    async with running(MemoryClient(config_map("a")), reconcile):
        await until(lambda: len(tries) == 3)


async def test_a_reconcile_may_ask_to_see_its_key_again():
    tries = []

    async def reconcile(informer, key):
        tries.append(key)
        return 0.01

    async with running(MemoryClient(config_map("a")), reconcile):
        await until(lambda: len(tries) >= 3)


async def test_a_stale_object_whose_successor_has_come_is_tried_again_at_once(monkeypatch):
    monkeypatch.setattr(runner, "RETRY", Backoff(first_s=60, most_s=60))
    tries = []
    client = MemoryClient(config_map("a"))

    async def reconcile(informer, key):
        tries.append(key)
        if len(tries) == 1:
            before = informer.get(*key)
            await client.patch(core.CONFIG_MAP, *key, {"data": {"a": "1"}})
            await until(lambda: informer.get(*key) is not before)
            raise Conflict("the object has been modified")

    async with running(client, reconcile):
        await until(lambda: len(tries) == 2)
