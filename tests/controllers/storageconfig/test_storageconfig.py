"""Data connections become entries of storage-config, on the API server itself."""

import asyncio
import base64
import contextlib
import json
import random

import pytest

from motorpool.api import core
from motorpool.api.errors import NotFound
from motorpool.api.meta import ObjectKey
from motorpool.apiserver.registry import Registry
from motorpool.base.clock import now
from motorpool.controllers.storageconfig.cabundle import ca_bundle
from motorpool.controllers.storageconfig.desired import is_connection, storage_config
from motorpool.controllers.storageconfig.reconcile import controller
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context, run
from motorpool.store import Store
from tests.controllers.test_on_the_api import in_process, over_https

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


def config_map(name: str, **data: str):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ai"},
            "data": data}  # fmt: skip


def by_name(*config_maps):
    return {one["metadata"]["name"]: one for one in config_maps}


SERVICE_CA = config_map("openshift-service-ca.crt", **{"service-ca.crt": "SERVICE\n"})
TRUSTED = config_map(
    "odh-trusted-ca-bundle", **{"ca-bundle.crt": "\nONE\n", "odh-ca-bundle.crt": "TWO"}
)


def test_the_bundle_is_all_that_the_namespace_trusts():
    made = ca_bundle("ai", by_name(TRUSTED, SERVICE_CA))
    assert made["metadata"]["name"] == "odh-kserve-custom-ca-bundle"
    assert made["data"] == {"cabundle.crt": "ONE\n\nTWO\n\nSERVICE\n"}


def test_a_service_ca_alone_makes_no_bundle_that_would_hide_the_public_ones():
    assert ca_bundle("ai", by_name(SERVICE_CA)) is None


def test_only_a_store_that_is_reached_by_https_is_checked_against_the_bundle():
    plain = connection("plain", AWS_S3_ENDPOINT="http://minio")
    made = entries(storage_config("ai", [plain, connection("tls")], ca_bundle="bundle"))
    assert made["tls"]["cabundle_configmap"] == "bundle"
    assert "cabundle_configmap" not in made["plain"]


@pytest.fixture(params=[in_process, over_https], ids=lambda way: way.__name__)
async def client(tmp_path, request):
    store = Store.open(tmp_path / "state.db")
    registry = Registry(store, clock=now, source=random.Random(1))
    await registry.bootstrap()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai"}}
    async with request.param(registry, tmp_path) as client:
        await client.create(core.NAMESPACE, namespace)
        yield client
    await store.close()


@contextlib.asynccontextmanager
async def turning(client):
    informers = Informers(client)
    made = controller(Context(client, informers, EventRecorder(client)))
    tasks = [asyncio.ensure_future(one) for one in (informers.run(), run(made))]
    try:
        await informers.synced()
        yield made
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
    async with asyncio.timeout(30):
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


async def bundle_in(client) -> str | None:
    try:
        bundle = await client.get(core.CONFIG_MAP, "ai", "odh-kserve-custom-ca-bundle")
    except NotFound:
        return None
    return bundle["data"].get("cabundle.crt")


async def until_bundle(client, text: str | None) -> None:
    async with asyncio.timeout(30):
        while await bundle_in(client) != text:
            await asyncio.sleep(0.005)


async def trust_of(client) -> str | None:
    secret = await client.get(core.SECRET, "ai", "storage-config")
    return entries(secret)["one"].get("cabundle_configmap")


async def test_the_bundle_follows_its_sources_and_the_entries_follow_the_bundle(client):
    async with turning(client):
        await client.create(core.SECRET, connection("one"))
        await until(client, {"one"})
        assert await trust_of(client) is None
        await client.create(core.CONFIG_MAP, TRUSTED)
        await until_bundle(client, "ONE\n\nTWO\n")
        async with asyncio.timeout(30):
            while await trust_of(client) is None:
                await asyncio.sleep(0.005)
        await client.create(core.CONFIG_MAP, SERVICE_CA)
        await until_bundle(client, "ONE\n\nTWO\n\nSERVICE\n")
        await client.delete(core.CONFIG_MAP, "ai", "odh-trusted-ca-bundle")
        await until_bundle(client, None)
        async with asyncio.timeout(30):
            while await trust_of(client) is not None:
                await asyncio.sleep(0.005)


async def test_a_bundle_that_a_user_made_is_left_alone_and_trusted(client):
    async with turning(client):
        own = config_map("odh-kserve-custom-ca-bundle", **{"cabundle.crt": "MINE"})
        await client.create(core.CONFIG_MAP, own)
        await client.create(core.CONFIG_MAP, TRUSTED)
        await client.create(core.SECRET, connection("one"))
        await until(client, {"one"})
        assert await trust_of(client) == "odh-kserve-custom-ca-bundle"
        assert await bundle_in(client) == "MINE"


async def test_a_second_pass_writes_nothing(client):
    async with turning(client):
        await client.create(core.CONFIG_MAP, TRUSTED)
        await client.create(core.SECRET, connection("one"))
        await until(client, {"one"})
    before = [(await client.list(kind)).items for kind in (core.SECRET, core.CONFIG_MAP)]
    async with turning(client) as made:
        await made.reconcile(ObjectKey("ai", "storage-config"))
    assert [(await client.list(kind)).items for kind in (core.SECRET, core.CONFIG_MAP)] == before
