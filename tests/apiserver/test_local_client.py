"""What only the client in process promises: sharing, and little cost."""

import time

from motorpool.api import apps, core
from tests.apiserver.objects import config_map, deployment
from tests.timing import least_of, slowness


async def test_readers_of_one_revision_share_one_object(local_client):
    await local_client.create(core.CONFIG_MAP, config_map())
    first = await local_client.get(core.CONFIG_MAP, "default", "a")
    listed = await local_client.list(core.CONFIG_MAP)
    assert listed.items[0] is first


async def test_an_argument_stays_the_callers(local_client):
    obj = config_map(data={"k": "v"})
    created = await local_client.create(core.CONFIG_MAP, obj)
    obj["data"]["k"] = "changed"
    assert created["data"] == {"k": "v"}
    assert "uid" not in obj["metadata"]


async def test_the_same_apply_again_writes_nothing_and_costs_little(local_client, registry):
    first = await local_client.apply(apps.DEPLOYMENT, deployment(), manager="m")
    before = registry.resource_version
    bound_s = 0.001 * slowness()

    async def measured_s():
        started = time.perf_counter()
        for _ in range(20):
            assert await local_client.apply(apps.DEPLOYMENT, deployment(), manager="m") is first
        return (time.perf_counter() - started) / 20

    assert await least_of(measured_s, bound_s) < bound_s
    assert registry.resource_version == before
    changed = await local_client.apply(apps.DEPLOYMENT, deployment(replicas=2), manager="m")
    assert changed["spec"]["replicas"] == 2
