"""What the registry does with a store that is full or grows old."""

from datetime import UTC, datetime

import pytest

from motorpool.api import core
from motorpool.api.errors import InternalError, NotFound
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
from motorpool.apiserver.shelf import Shelf
from motorpool.apiserver.upkeep import tidy
from motorpool.store import Store
from tests.apiserver.objects import config_map


async def test_a_full_disk_is_told_and_outlived(tmp_path):

    store = Store.open(tmp_path / "small.db", size_max_bytes=200_000)
    registry = Registry(store)
    await registry.bootstrap()
    client = LocalClient(registry)
    with pytest.raises(InternalError, match="no space left"):
        await client.create(core.CONFIG_MAP, config_map(data={"k": "v" * 300_000}))
    assert (await client.create(core.CONFIG_MAP, config_map()))["metadata"]["name"] == "a"
    await store.close()


async def test_events_go_after_an_hour(store, local_client, clock):

    event = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
    }
    await local_client.create(core.EVENT, event)
    clock.moment = datetime.now(UTC)
    await tidy(Shelf(store), clock)
    assert await local_client.get(core.EVENT, "default", "e")
    clock.forward(minutes=61)
    await tidy(Shelf(store), clock)
    with pytest.raises(NotFound):
        await local_client.get(core.EVENT, "default", "e")
