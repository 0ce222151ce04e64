"""Data connections become entries of storage-config, on the API server itself."""

import asyncio
import base64
import contextlib
import json
import random

import pytest

from motorpool.api import core
from motorpool.api.errors import NotFound
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
from motorpool.base.clock import now
from motorpool.controllers.storageconfig.desired import is_connection, storage_config
from motorpool.controllers.storageconfig.reconcile import controller
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context, run
from motorpool.store import Store

VALUES = {
    "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_S3_BUCKET": "models",
    "AWS_S3_ENDPOINT": "https://minio", "AWS_DEFAULT_REGION": "eu",
}  # fmt: skip
LABELS = {"opendatahub.io/managed": "true", "opendatahub.io/dashboard": "true"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def connection(name: str, **changes):
    return {
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": "ai", "labels": LABELS},
        "data": {key: encoded(value) for key, value in (VALUES | changes).items()},
    }  # fmt: skip


def entries(secret) -> dict:
    return {key: json.loads(base64.b64decode(value)) for key, value in secret["data"].items()}


def test_each_connection_is_an_entry_of_its_name():
    made = storage_config("ai", [connection("two"), connection("one", AWS_S3_BUCKET="b")])
    assert made["metadata"]["labels"] == {"opendatahub.io/managed": "true"}
    assert list(entries(made)) == ["one", "two"]
    assert entries(made)["one"] == {
        "type": "s3", "access_key_id": "a", "secret_access_key": "b",
        "endpoint_url": "https://minio", "bucket": "b", "region": "eu",
    }  # fmt: skip


def test_other_secrets_are_no_connections():
    plain = connection("plain")
    plain["metadata"]["labels"] = {"opendatahub.io/managed": "true"}
    uri = connection("uri")
    uri["metadata"]["annotations"] = {"opendatahub.io/connection-type": "uri"}
    assert not any(map(is_connection, (plain, uri, connection("storage-config"))))
    assert storage_config("ai", [plain, uri]) is None


@pytest.fixture
async def client(tmp_path):
    store = Store.open(tmp_path / "state.db")
    registry = Registry(store, clock=now, source=random.Random(1))
    await registry.bootstrap()
    client = LocalClient(registry)
    await client.create(
        core.NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai"}}
    )
    yield client
    await store.close()


@contextlib.asynccontextmanager
async def turning(client):
    informers = Informers(client)
    made = controller(Context(client, informers, EventRecorder(client)))
    tasks = [asyncio.ensure_future(one) for one in (informers.run(), run(made))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def names_in(client) -> set[str]:
    try:
        secret = await client.get(core.SECRET, "ai", "storage-config")
    except NotFound:
        return set()
    return set(secret.get("data") or {})


async def until(client, names: set[str]) -> None:
    async with asyncio.timeout(5):
        while await names_in(client) != names:
            await asyncio.sleep(0.005)


async def test_the_secret_follows_the_connections_and_goes_with_the_last(client):
    async with turning(client):
        await client.create(core.SECRET, connection("one"))
        await client.create(core.SECRET, connection("two"))
        await until(client, {"one", "two"})
        await client.delete(core.SECRET, "ai", "two")
        await until(client, {"one"})
        await client.delete(core.SECRET, "ai", "one")
        await until(client, set())


async def test_what_a_user_put_beside_them_stays(client):
    async with turning(client):
        own = {"apiVersion": "v1", "kind": "Secret", "data": {"mine": encoded("{}")},
               "metadata": {"name": "storage-config", "namespace": "ai"}}  # fmt: skip
        await client.create(core.SECRET, own)
        await client.create(core.SECRET, connection("one"))
        await until(client, {"mine", "one"})
        await client.delete(core.SECRET, "ai", "one")
        await until(client, {"mine"})


async def test_a_second_pass_writes_nothing(client):
    async with turning(client):
        await client.create(core.SECRET, connection("one"))
        await until(client, {"one"})
    before = (await client.list(core.SECRET)).items
    async with turning(client):
        await asyncio.sleep(0.2)
    assert (await client.list(core.SECRET)).items == before
