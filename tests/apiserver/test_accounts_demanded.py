"""A Pod's ServiceAccount has to be there, where the platform demands it."""

import asyncio
import random

import pytest

from motorpool.api import core
from motorpool.api.errors import Forbidden
from motorpool.apiserver import writer
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry


def pod(account="", **metadata):
    spec = {"containers": [{"name": "main", "image": "i"}]}
    if account:
        spec["serviceAccountName"] = account
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", **(metadata or {"name": "web"})}, "spec": spec,
    }  # fmt: skip


def account(name):
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


@pytest.fixture
async def client(store, clock):
    registry = Registry(store, clock=clock, source=random.Random(1), demands_accounts=True)
    await registry.bootstrap()
    return LocalClient(registry)


async def test_a_missing_account_is_refused_in_the_words_of_kubernetes(client):
    with pytest.raises(Forbidden) as refusal:
        await client.create(core.POD, pod("robot"))
    assert str(refusal.value) == (
        'pods "web" is forbidden: error looking up service account default/robot: '
        'serviceaccount "robot" not found'
    )
    assert refusal.value.details == {"name": "web", "kind": "pods"}
    await client.create(core.SERVICE_ACCOUNT, account("robot"))
    assert (await client.create(core.POD, pod("robot")))["spec"]["serviceAccountName"] == "robot"


async def test_a_generated_name_is_told_by_its_beginning(client):
    with pytest.raises(Forbidden, match='pods "web-5d4f-" is forbidden'):
        await client.create(core.POD, pod("robot", generateName="web-5d4f-"))


async def test_the_default_account_is_waited_for(client):
    creating = asyncio.ensure_future(client.create(core.POD, pod()))
    await asyncio.sleep(0)
    await client.create(core.SERVICE_ACCOUNT, account("default"))
    made = await creating
    assert made["spec"]["serviceAccountName"] == "default"
    assert made["spec"]["volumes"][0]["name"].startswith("kube-api-access-")


async def test_a_default_account_that_does_not_come_is_refused_too(client, monkeypatch):
    monkeypatch.setattr(writer, "ACCOUNT_RETRY_S", 0.001)
    with pytest.raises(Forbidden, match='serviceaccount "default" not found'):
        await client.create(core.POD, pod())


async def test_where_accounts_are_not_demanded_a_pod_needs_none(local_client):
    assert (await local_client.create(core.POD, pod("robot")))["metadata"]["name"] == "web"
