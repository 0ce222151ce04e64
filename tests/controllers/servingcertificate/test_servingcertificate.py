"""Serving certificates: who gets one, what it says, when it is made anew."""

import asyncio
import base64
import contextlib
from datetime import UTC, datetime, timedelta

from cryptography import x509

from motorpool.api import core
from motorpool.api.meta import ObjectKey, copy_of
from motorpool.base.certificates import Authority, Issued
from motorpool.controllers.servingcertificate.authority import NAME
from motorpool.controllers.servingcertificate.reconcile import controllers
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context, Settings, run
from tests.memory_client import MemoryClient

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASKED = "service.beta.openshift.io/serving-cert-secret-name"
INJECT = "service.beta.openshift.io/inject-cabundle"
HOSTS = ["iris.n.svc", "iris.n.svc.cluster.local"]
MODEL = {
    "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "iris",
    "uid": "uid-iris", "controller": True,
}  # fmt: skip


def service(name="iris", secret="iris-tls", uid="uid-1", **spec):
    annotations = {ASKED: secret} if secret else {}
    metadata = {"name": name, "namespace": "n", "uid": uid, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


class Turning:
    def __init__(self, client, authority):
        self.client, self.now = client, NOW
        informers, events = Informers(client), EventRecorder(client)
        settings = Settings(namespace="operators")
        context = Context(client, informers, events, settings, lambda: self.now)
        self.controllers = controllers(context, authority)
        works = [informers.run(), events.run(), *map(run, self.controllers)]
        self._tasks = [asyncio.ensure_future(work) for work in works]

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def secret(self, name="iris-tls", namespace="n"):
        return self.client.objects.get((core.SECRET, ObjectKey(namespace, name)))

    def issued(self, name="iris-tls"):
        data = self.secret(name)["data"]
        return Issued(*(base64.b64decode(data[key]) for key in ("tls.crt", "tls.key")))

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def turning(*objects, authority=None):
    world = Turning(MemoryClient(*objects), authority)
    try:
        yield world
    finally:
        await world.stop()


AUTHORITY = Authority.new("tests", NOW)


async def test_a_service_that_asks_gets_a_certificate_of_its_names():
    async with turning(service(), service("silent", "", "uid-2"), authority=AUTHORITY) as world:
        await world.until(world.secret)
        assert AUTHORITY.vouches_for(world.issued(), HOSTS, NOW)
        made = world.secret()
        assert made["type"] == "kubernetes.io/tls"
        assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
        await world.controllers[0].reconcile(ObjectKey("n", "iris"))
        assert len(world.client.writes) == 1, "a second pass writes nothing"


async def test_the_pods_of_a_headless_service_are_named_too():
    async with turning(service(clusterIP="None"), authority=AUTHORITY) as world:
        await world.until(world.secret)
        certificate = x509.load_pem_x509_certificate(world.issued().certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert "*.iris.n.svc" in names.get_values_for_type(x509.DNSName)


async def test_a_certificate_is_made_anew_before_it_ends_and_when_its_service_is_another():
    async with turning(service(), authority=AUTHORITY) as world:
        await world.until(world.secret)
        first = world.issued()
        world.now = NOW + timedelta(days=340)
        await world.controllers[0].reconcile(ObjectKey("n", "iris"))
        await world.until(lambda: world.issued() != first)
        second = world.issued()
        await world.client.delete(core.SERVICE, "n", "iris")
        await world.client.create(core.SERVICE, service(uid="uid-9"))
        await world.until(lambda: world.issued() != second)


async def test_a_secret_that_is_deleted_or_spoilt_comes_back():
    async with turning(service(), authority=AUTHORITY) as world:
        await world.until(world.secret)
        await world.client.delete(core.SECRET, "n", "iris-tls")
        await world.until(world.secret)
        spoilt = copy_of(world.secret())
        spoilt["data"]["tls.crt"] = base64.b64encode(b"no certificate").decode()
        await world.client.update(core.SECRET, spoilt)
        await world.until(lambda: AUTHORITY.vouches_for(world.issued(), HOSTS, NOW))


async def test_a_secret_of_somebody_else_is_left_alone_and_told_of():
    theirs = {
        "apiVersion": "v1", "kind": "Secret", "data": {},
        "metadata": {"name": "iris-tls", "namespace": "n"},
    }  # fmt: skip
    async with turning(service(), theirs, authority=AUTHORITY) as world:

        def told():
            return [o for (kind, _), o in world.client.objects.items() if kind == core.EVENT]

        await world.until(told)
        assert told()[0]["reason"] == "SecretTaken"
        assert world.secret()["data"] == {}


async def test_a_config_map_that_asks_learns_who_signs():
    asking = {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"mine": "stays"},
        "metadata": {"name": "ca", "namespace": "n", "annotations": {INJECT: "true"}},
    }  # fmt: skip
    async with turning(asking, authority=AUTHORITY) as world:

        def data():
            return world.client.kept(core.CONFIG_MAP, "n", "ca")["data"]

        await world.until(lambda: "service-ca.crt" in data())
        assert data() == {"mine": "stays", "service-ca.crt": AUTHORITY.certificate.decode()}


async def test_a_cluster_without_an_authority_gets_one_and_only_models_are_served():
    ours = service()
    ours["metadata"]["ownerReferences"] = [MODEL]
    async with turning(ours, service("other", "other-tls", "uid-2")) as world:
        await world.until(world.secret)
        kept = world.secret(NAME, "operators")["data"]
        authority = Authority(*(base64.b64decode(kept[k]) for k in ("tls.crt", "tls.key")))
        assert authority.vouches_for(world.issued(), HOSTS, NOW)
        assert world.secret("other-tls") is None
    async with turning(*world.client.objects.values()) as again:
        await again.controllers[0].reconcile(ObjectKey("n", "iris"))
        assert again.client.writes == [], "the next operator goes on with the same authority"
