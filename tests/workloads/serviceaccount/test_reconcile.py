from functools import partial

from motorpool.api import core
from motorpool.api.meta import ObjectKey
from motorpool.workloads.serviceaccount.reconcile import controller
from tests.workloads.cluster import Cluster, listening, quiet, running, until
from tests.workloads.namespace.test_reconcile import namespace

with_ca = partial(controller, ca_certificate="PEM")


def keys(client, kind):
    return {str(key) for kept, key in client.objects if kept == kind}


async def test_every_namespace_has_an_account_and_the_ca():
    client = Cluster(namespace("a"), namespace("b", deletionTimestamp="2026-01-01T00:00:00Z"))
    async with running(client, with_ca):
        await until(lambda: keys(client, core.SERVICE_ACCOUNT) == {"a/default"})
        await quiet(client)

        await client.create(core.NAMESPACE, namespace("c"))
        await until(lambda: "c/kube-root-ca.crt" in keys(client, core.CONFIG_MAP))

    assert keys(client, core.SERVICE_ACCOUNT) == {"a/default", "c/default"}
    assert client.kept(core.CONFIG_MAP, "a", "kube-root-ca.crt")["data"] == {"ca.crt": "PEM"}


async def test_what_is_deleted_comes_back_and_what_is_changed_is_undone():
    client = Cluster(namespace("a"))
    async with running(client, with_ca):
        await until(lambda: keys(client, core.CONFIG_MAP))
        await quiet(client)
        await client.delete(core.SERVICE_ACCOUNT, "a", "default")
        await client.patch(core.CONFIG_MAP, "a", "kube-root-ca.crt", {"data": {"ca.crt": "x"}})

        await until(lambda: keys(client, core.SERVICE_ACCOUNT) == {"a/default"})
        await quiet(client)

    assert client.kept(core.CONFIG_MAP, "a", "kube-root-ca.crt")["data"] == {"ca.crt": "PEM"}


async def test_an_account_with_pull_secrets_is_left_as_it_is():
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "a"},
        "imagePullSecrets": [{"name": "registry"}],
    }
    client = Cluster(namespace("a"), account)
    async with running(client, controller):
        await quiet(client)

    assert client.writes == []


async def test_without_a_ca_there_is_no_config_map_and_a_second_pass_writes_nothing():
    client = Cluster(namespace("a"))
    async with listening(client, controller) as accounts:
        await accounts.reconcile(ObjectKey("", "a"))
        await accounts.reconcile(ObjectKey("", "a"))

    assert client.writes == ["create ServiceAccount default"]
