"""Which kinds the operator finds, and that it begins anew when they change."""

import random

import pytest

from motorpool import operator
from motorpool.api.apiextensions import CUSTOM_RESOURCE_DEFINITION
from motorpool.apiserver.registry import Registry
from motorpool.base.clock import now
from motorpool.controllers.inferenceservice.childkinds import SCALED_OBJECT
from motorpool.store import Store
from tests.controllers.test_on_the_api import over_https

pytestmark = pytest.mark.slow


@pytest.fixture
async def client(tmp_path):
    store = Store.open(tmp_path / "state.db")
    registry = Registry(store, clock=now, source=random.Random(1))
    await registry.bootstrap()
    async with over_https(registry, tmp_path) as client:
        client.kinds = registry.kinds
        yield client
    await store.close()


async def test_the_kinds_of_this_cluster_are_found_and_others_are_not(client):
    found = [kind.kind for kind in await operator.served_kinds(client)]
    assert found == ["Ingress", "Route", "HardwareProfile", "HardwareProfile"]
    assert CUSTOM_RESOURCE_DEFINITION.kind not in found


async def test_a_kind_that_comes_later_ends_the_work_that_did_not_know_it(client, monkeypatch):
    monkeypatch.setattr(operator, "KINDS_CHECKED_S", 0.01)
    served = await operator.served_kinds(client)
    client.kinds.serve("scaledobjects.keda.sh", [SCALED_OBJECT])
    with pytest.raises(operator._Changed):
        await operator._watch_kinds(client, served)
    assert "ScaledObject" in [kind.kind for kind in await operator.served_kinds(client)]
