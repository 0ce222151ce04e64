"""The serving controllers as an operator on bad days: faults at random, and a server that adds to
what it is given, as a real one does."""

import asyncio
import contextlib
import json
import random

import httpx
import pytest

from motorpool.api import core, serving
from motorpool.api.apps import DEPLOYMENT
from motorpool.api.conditions import condition_of
from motorpool.api.meta import ObjectKey
from motorpool.api.scheme import by_kind
from motorpool.apiserver.app import build_app
from motorpool.apiserver.authentication import ADMIN, TokenAuthenticator
from motorpool.apiserver.certificates import ensure_certificates
from motorpool.apiserver.kubeconfig import write_kubeconfig
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
from motorpool.apiserver.serve import serve
from motorpool.base.backoff import Backoff
from motorpool.base.clock import now
from motorpool.client.http import HttpClient
from motorpool.client.kubeconfig import read_kubeconfig
from motorpool.controllers.inferenceservice.reconcile import controller
from motorpool.loop import informer as informers_module
from motorpool.loop import runner
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context
from motorpool.store import Store
from tests.controllers.inferenceservice.objects import NAMESPACE, isvc
from tests.controllers.test_on_the_api import READY, fill, nothing_is_written, stored
from tests.faulty_transport import Fault, Faulty, broken, cut, is_list, is_watch, status

pytestmark = pytest.mark.slow

KEY = ObjectKey(NAMESPACE, "resnet")
FAULTS_MAX = 80
CHANCE = 0.3
AUTOSCALER = by_kind("autoscaling/v2", "HorizontalPodAutoscaler")
DEADLINE_S = 30.0


def lost_answer():
    """The server does what it is told, and nobody hears of it."""

    async def answer(request, inner):
        response = await inner.handle_async_request(request)
        await response.aread()
        raise httpx.ReadError("as the test has it")

    return answer


WATCH = (cut(40), cut(700, httpx.ReadError), status(410, "Expired"), status(500, "InternalError"))
LIST = (status(500, "InternalError"), status(429, "TooManyRequests"), broken(httpx.ConnectError))
WRITE = (status(409, "Conflict"), status(500, "InternalError"), status(429, "TooManyRequests"),
         broken(httpx.ConnectError), lost_answer())  # fmt: skip


def now_and_then(source):
    left = iter(range(FAULTS_MAX))

    def chance(request):
        if source.random() > CHANCE or next(left, None) is None:
            return None
        kinds = WATCH if is_watch(request) else LIST if is_list(request) else WRITE
        return Fault("chance", lambda _: True, source.choice(kinds))

    return chance


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(informers_module, "RETRY", Backoff(0.02, 0.2))
    monkeypatch.setattr(runner, "RETRY", Backoff(0.02, 0.2))


@pytest.fixture
async def registry(tmp_path):
    store = Store.open(tmp_path / "state.db")
    registry = Registry(store, clock=now, source=random.Random(1))
    await registry.bootstrap()
    await fill(LocalClient(registry))
    yield registry
    await store.close()


@contextlib.asynccontextmanager
async def operating(registry, directory, transport_of):
    """The controller over HTTPS, through the transport that is made of the usual one."""
    pki = ensure_certificates(directory / "pki", now=now())
    app = build_app(registry, tokens=TokenAuthenticator({"t": ADMIN}), streams=None)
    async with serve(app, "127.0.0.1", 0, pki) as serving_at:
        file = directory / "kubeconfig"
        write_kubeconfig(file, server=serving_at.url, ca=pki.ca, token="t")
        access = read_kubeconfig(file)
        transport = transport_of(httpx.AsyncHTTPTransport(verify=access.tls))
        async with HttpClient(access, transport=transport) as client:
            informers, events = Informers(client), EventRecorder(client)
            made = controller(Context(client, informers, events))
            work = (informers.run(), runner.run(made), events.run())
            tasks = [asyncio.ensure_future(one) for one in work]
            try:
                yield made, transport
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def made_true(client):
    """All of its children are there, and it is Ready once they are."""
    name = "resnet-predictor"
    async with asyncio.timeout(DEADLINE_S):
        for kind in (core.SERVICE, DEPLOYMENT, AUTOSCALER):
            while not [o for o in (await client.list(kind, NAMESPACE)).items
                       if o["metadata"]["name"] == name]:  # fmt: skip
                await asyncio.sleep(0.01)
        deployment = await client.get(DEPLOYMENT, NAMESPACE, name)
        await client.replace_status(DEPLOYMENT, deployment, READY)
        while True:
            wanted = await client.get(serving.INFERENCE_SERVICE, *KEY)
            if (condition_of(wanted, "Ready") or {}).get("status") == "True":
                return
            await asyncio.sleep(0.01)


async def until_nothing_is_written(client, made):
    """By one more pass over the object: so it is once all is true."""
    async with asyncio.timeout(DEADLINE_S):
        while not await nothing_is_written(client, made):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_fails_now_and_then_all_is_made_true(registry, tmp_path, seed):
    def faulty(inner):
        return Faulty(inner, chance=now_and_then(random.Random(seed)))

    client = LocalClient(registry)
    async with operating(registry, tmp_path, faulty) as (made, transport):
        await client.create(serving.INFERENCE_SERVICE, stored(isvc()))
        await made_true(client)
        assert len(transport.met) > 5, "there were faults"
        transport._chance = None
        await until_nothing_is_written(client, made)


# A server that adds


def enriched(obj):
    """*obj* with what a real server fills in and ours leaves out."""
    kind, spec = obj.get("kind"), obj.get("spec") or {}
    if kind == "Deployment":
        annotations = obj["metadata"].setdefault("annotations", {})
        annotations["deployment.kubernetes.io/revision"] = "1"
        pod = spec["template"]["spec"]
        spec["template"]["metadata"]["creationTimestamp"] = None
        pod |= {"enableServiceLinks": True, "serviceAccount": "default"}
        pod["containers"][0]["resources"].setdefault("claims", [])
    elif kind == "Service":
        spec |= {"sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                 "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}  # fmt: skip
        spec.setdefault("clusterIPs", ["None"])
    elif kind == "HorizontalPodAutoscaler":
        policies = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
        spec["behavior"] = {"scaleDown": {"policies": policies, "selectPolicy": "Max"}}
    return obj


class _Lines(httpx.AsyncByteStream):
    def __init__(self, inner):
        self._inner = inner

    async def __aiter__(self):
        rest = b""
        async for chunk in self._inner:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = json.loads(line)
                yield json.dumps({**event, "object": enriched(event["object"])}).encode() + b"\n"

    async def aclose(self):
        await self._inner.aclose()


class Enriching(httpx.AsyncBaseTransport):
    def __init__(self, inner):
        self._inner = inner

    async def handle_async_request(self, request):
        response = await self._inner.handle_async_request(request)
        headers = {"content-type": "application/json"}
        if response.status_code >= 400:
            return response
        if is_watch(request):
            return httpx.Response(200, headers=headers, stream=_Lines(response.stream))
        body = json.loads(await response.aread())
        kind = str(body.get("kind", "")).removesuffix("List")
        for item in body.get("items") or ():
            enriched(item | {"kind": kind})
        return httpx.Response(
            response.status_code, headers=headers, content=json.dumps(enriched(body))
        )

    async def aclose(self):
        await self._inner.aclose()


async def test_what_a_server_adds_is_not_written_over_again_and_again(registry, tmp_path):
    client = LocalClient(registry)
    async with operating(registry, tmp_path, Enriching) as (made, _):
        await client.create(serving.INFERENCE_SERVICE, stored(isvc()))
        await made_true(client)
        await until_nothing_is_written(client, made)
