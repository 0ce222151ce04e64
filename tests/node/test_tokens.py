"""Tokens of service accounts in the volumes of Pods."""

from datetime import UTC, datetime, timedelta

import pytest

from motorpool.api.errors import ServiceUnavailable
from motorpool.api.meta import Object
from motorpool.node.access import kubeconfig, token_volume
from motorpool.node.tokens import Tokens
from tests.memory_client import MemoryClient
from tests.node.conftest import Platform, pod, readable, shell, until

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def goes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Failing(MemoryClient):
    """An API that can be out of reach."""

    away = False

    async def create(self, kind, obj, *, subresource=""):  # type: ignore[no-untyped-def]
        if self.away:
            raise ServiceUnavailable("away")
        return await super().create(kind, obj, subresource=subresource)


def asked(**source: object) -> Object:
    return {"path": "token", **source}


async def test_a_token_is_kept_until_four_fifths_of_its_life_are_over() -> None:
    clock, client = Clock(), MemoryClient()
    tokens = Tokens(client, clock)
    assert tokens.renew_at() is None
    source = asked(expirationSeconds=1000)
    assert await tokens.token(pod(), source) == b"token-1"
    assert tokens.renew_at() == START.timestamp() + 800
    clock.goes(799)
    assert await tokens.token(pod(), source) == b"token-1"
    clock.goes(1)
    assert await tokens.token(pod(), source) == b"token-2"
    assert tokens.renew_at() == START.timestamp() + 1600


async def test_a_token_is_no_older_than_a_day() -> None:
    tokens = Tokens(MemoryClient(), Clock())
    await tokens.token(pod(), asked(expirationSeconds=30 * 24 * 3600))
    assert tokens.renew_at() == START.timestamp() + 24 * 3600


async def test_the_request_names_the_account_the_audience_and_the_pod() -> None:
    class Recording(MemoryClient):
        request: Object = {}  # noqa: RUF012 - one for each test

        async def create(self, kind, obj, *, subresource=""):  # type: ignore[no-untyped-def]
            self.request = obj
            return await super().create(kind, obj, subresource=subresource)

    client = Recording()
    owner = pod("web", serviceAccountName="robot")
    await Tokens(client, Clock()).token(owner, asked(audience="vault", expirationSeconds=600))
    assert client.request["metadata"] == {"name": "robot", "namespace": "default"}
    assert client.request["spec"] == {
        "audiences": ["vault"],
        "expirationSeconds": 600,
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": "uid-web"},
    }


async def test_a_token_that_cannot_be_renewed_is_kept_while_it_holds() -> None:
    clock, client = Clock(), Failing()
    tokens, source = Tokens(client, clock), asked(expirationSeconds=1000)
    assert await tokens.token(pod(), source) == b"token-1"
    client.away = True
    clock.goes(900)
    assert await tokens.token(pod(), source) == b"token-1"
    assert tokens.renew_at() == clock.now.timestamp() + 30
    clock.goes(100)
    with pytest.raises(ServiceUnavailable):
        await tokens.token(pod(), source)
    client.away = False
    assert await tokens.token(pod(), source) == b"token-2"


def test_programs_find_the_api_by_a_kubeconfig_beside_their_token(tmp_path) -> None:  # type: ignore[no-untyped-def]
    mount = {"name": "v", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount/"}
    assert token_volume({"volumeMounts": [mount]}) == "v"
    assert token_volume({"volumeMounts": [{"name": "v", "mountPath": "/srv"}]}) == ""
    found = kubeconfig("https://127.0.0.1:6443", tmp_path, "ns")
    assert found["users"][0]["user"] == {"tokenFile": f"{tmp_path}/token"}
    assert found["clusters"][0]["cluster"]["certificate-authority"] == f"{tmp_path}/ca.crt"
    assert found["contexts"][0]["context"]["namespace"] == "ns"


@pytest.mark.slow
async def test_a_running_pod_sees_its_token_change_and_its_labels(platform: Platform) -> None:
    platform.client.token_life_s = 2
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    sources = [
        {"serviceAccountToken": {"path": "vault-token", "audience": "vault"}},
        {"downwardAPI": {"items": [labels]}},
    ]
    volume = {"name": "v", "projected": {"sources": sources, "defaultMode": 0o600}}
    mounts = [{"name": "v", "mountPath": "/var/run/tokens"}]
    await platform.create(pod("web", shell("sleep 60", volumeMounts=mounts), volumes=[volume]))
    await platform.ready()
    directory = platform.data_dir / "pods/uid-web/volumes/v"
    assert readable(directory / "vault-token") == "token-1"
    assert (directory / "vault-token").stat().st_mode & 0o777 == 0o600
    await until(lambda: readable(directory / "vault-token") == "token-2")
    metadata = {"metadata": {"labels": {"tier": "gold"}}}
    from motorpool.api import core

    await platform.client.patch(core.POD, "default", "web", metadata)
    await until(lambda: readable(directory / "labels") == 'tier="gold"')
    assert platform.container()["restartCount"] == 0
