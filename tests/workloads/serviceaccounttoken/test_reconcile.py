import base64
from functools import partial

from motorpool.api import core
from motorpool.workloads.serviceaccounttoken import reconcile as tokens
from tests.workloads.cluster import Cluster, quiet, running, until


def account():
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "sa", "namespace": "demo"},
    }


def secret():
    annotations = {"kubernetes.io/service-account.name": "sa"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "t", "namespace": "demo", "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
    }


async def sign(account, secret):
    return f"{account['metadata']['uid']} in {secret['metadata']['name']}"


CONTROLLER = partial(tokens.controller, sign=sign, ca_certificate="PEM")


def decoded(obj):
    return {key: base64.b64decode(text).decode() for key, text in (obj.get("data") or {}).items()}


async def test_a_secret_is_filled_for_its_account_and_goes_with_it():
    cluster = Cluster(account(), secret())
    uid = cluster.kept(core.SERVICE_ACCOUNT, "demo", "sa")["metadata"]["uid"]
    async with running(cluster, CONTROLLER):
        await until(lambda: "data" in cluster.kept(core.SECRET, "demo", "t"))
        found = cluster.kept(core.SECRET, "demo", "t")
        assert decoded(found) == {"ca.crt": "PEM", "namespace": "demo", "token": f"{uid} in t"}
        assert found["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == uid
        await quiet(cluster)
        await cluster.delete(core.SERVICE_ACCOUNT, "demo", "sa")
        await until(lambda: not cluster.all(core.SECRET))


async def test_a_secret_waits_for_its_account():
    cluster = Cluster(secret())
    async with running(cluster, CONTROLLER):
        await quiet(cluster)
        assert "data" not in cluster.kept(core.SECRET, "demo", "t")
        await cluster.create(core.SERVICE_ACCOUNT, account())
        await until(lambda: "data" in cluster.kept(core.SECRET, "demo", "t"))
