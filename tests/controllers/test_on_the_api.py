"""The serving controllers on the API server itself: in process, and over HTTPS as an operator.

Defaults, server-side apply and the store are real in both.
"""

import asyncio
import contextlib
import random

import pytest

from motorpool.api import core, serving
from motorpool.api.apps import DEPLOYMENT
from motorpool.api.conditions import condition_of
from motorpool.api.errors import AlreadyExists, Conflict, Invalid
from motorpool.api.meta import ObjectKey, copy_of
from motorpool.api.networking import INGRESS
from motorpool.api.route import ROUTE
from motorpool.apiserver.app import build_app
from motorpool.apiserver.authentication import ADMIN, TokenAuthenticator
from motorpool.apiserver.certificates import ensure_certificates
from motorpool.apiserver.kubeconfig import write_kubeconfig
from motorpool.apiserver.local import LocalClient
from motorpool.apiserver.registry import Registry
from motorpool.apiserver.serve import serve
from motorpool.base.clock import now
from motorpool.client.http import HttpClient
from motorpool.controllers.inferenceservice.reconcile import controller
from motorpool.controllers.route.reconcile import controller as route_controller
from motorpool.controllers.servingruntime.install import install
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.kinds import LiveKinds
from motorpool.loop.runner import Context, Settings, run
from motorpool.store import Store
from tests.controllers.inferenceservice.objects import APPLICATIONS, NAMESPACE, isvc

pytestmark = pytest.mark.slow

KEY = ObjectKey(NAMESPACE, "resnet")
READY = {
    "observedGeneration": 1,
    "conditions": [
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ],
}


@contextlib.asynccontextmanager
async def over_https(registry, directory):
    pki = ensure_certificates(directory / "pki", now=now())
    app = build_app(registry, tokens=TokenAuthenticator({"t": ADMIN}), streams=None)
    async with serve(app, "127.0.0.1", 0, pki) as serving:
        file = directory / "kubeconfig"
        write_kubeconfig(file, server=serving.url, ca=pki.ca, token="t")
        async with HttpClient.from_kubeconfig(file) as client:
            yield client


@contextlib.asynccontextmanager
async def in_process(registry, directory):
    yield LocalClient(registry)


@pytest.fixture(params=[in_process, over_https], ids=lambda way: way.__name__)
async def client(tmp_path, request):
    store = Store.open(tmp_path / "state.db")
    registry = Registry(store, clock=now, source=random.Random(1))
    await registry.bootstrap()
    async with request.param(registry, tmp_path) as client:
        await fill(client)
        yield client
    await store.close()


async def fill(client):
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await client.create(core.NAMESPACE, namespace)
    await install(client, APPLICATIONS, cluster_runtimes=True)


@contextlib.asynccontextmanager
async def turning(client, *, kinds=(), others=()):
    """The controller, and what else is to turn; *kinds* are served beside the usual ones."""
    informers, events = Informers(client), EventRecorder(client)
    settings = Settings(base_domain="example.com", https_port=8443)
    context = Context(client, informers, events, settings, kinds=LiveKinds(kinds))
    made = controller(context)
    running = [informers.run(), run(made), events.run(), *(run(one(context)) for one in others)]
    tasks = [asyncio.ensure_future(one) for one in running]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def revision(client):
    return (await client.list(core.NAMESPACE)).resource_version


async def nothing_is_written(client, made):
    """By one more pass over the object: so it is once all is true."""
    before = await revision(client)
    try:
        await made.reconcile(KEY)
    except (AlreadyExists, Conflict):
        return False  # the controller was at it itself
    return await revision(client) == before


async def until(check):
    async with asyncio.timeout(30):
        while not await check():
            await asyncio.sleep(0.005)


def stored(obj):
    obj = copy_of(obj)
    del obj["metadata"]["uid"]
    return obj


async def deployed(client, check=lambda deployment: True):
    found = [d for d in (await client.list(DEPLOYMENT, NAMESPACE)).items if check(d)]
    return bool(found)


def container_of(deployment):
    return deployment["spec"]["template"]["spec"]["containers"][0]


async def test_a_second_install_writes_nothing_even_by_a_new_process(client):
    before = await revision(client)
    await install(client, APPLICATIONS, cluster_runtimes=True)
    assert await revision(client) == before


async def test_the_guides_service_becomes_ready_and_then_nothing_is_written(client):
    async with turning(client) as made:
        await client.create(serving.INFERENCE_SERVICE, stored(isvc()))
        await until(lambda: deployed(client))
        deployment = await client.get(DEPLOYMENT, NAMESPACE, "resnet-predictor")
        await client.replace_status(DEPLOYMENT, deployment, READY)

        async def is_ready():
            obj = await client.get(serving.INFERENCE_SERVICE, *KEY)
            return (condition_of(obj, "Ready") or {}).get("status") == "True"

        await until(is_ready)
        await until(lambda: nothing_is_written(client, made))
        service = await client.get(core.SERVICE, NAMESPACE, "resnet-predictor")
        assert service["spec"]["clusterIP"] == "None"


async def test_what_the_user_takes_back_goes_from_the_deployment(client):
    async with turning(client) as made:
        wanted = isvc(model={"args": ["--layout=NHWC:NCHW"]}, nodeSelector={"gpu": "a100"})
        await client.create(serving.INFERENCE_SERVICE, stored(wanted))
        await until(lambda: deployed(client))
        await until(lambda: nothing_is_written(client, made))
        without = {"spec": {"predictor": {"model": {"args": None}, "nodeSelector": None}}}
        await client.patch(serving.INFERENCE_SERVICE, *KEY, without)

        def is_plain(deployment):
            pod = deployment["spec"]["template"]["spec"]
            return "nodeSelector" not in pod and len(container_of(deployment)["args"]) == 9

        await until(lambda: deployed(client, is_plain))


async def test_replicas_that_are_left_to_the_user_stay_as_scaled(client):
    async with turning(client) as made:
        wanted = stored(isvc())
        wanted["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": "external"}
        await client.create(serving.INFERENCE_SERVICE, wanted)
        await until(lambda: deployed(client))
        await client.patch(DEPLOYMENT, NAMESPACE, "resnet-predictor", {"spec": {"replicas": 3}})
        await until(lambda: nothing_is_written(client, made))
        assert await deployed(client, lambda deployment: deployment["spec"]["replicas"] == 3)


async def test_an_exposed_service_has_a_route_and_its_url(client):
    wanted = stored(isvc())
    wanted["metadata"]["labels"] = {"networking.kserve.io/visibility": "exposed"}
    async with turning(client, kinds=[ROUTE, INGRESS], others=[route_controller]) as made:
        await client.create(serving.INFERENCE_SERVICE, wanted)
        await until(lambda: deployed(client))
        deployment = await client.get(DEPLOYMENT, NAMESPACE, "resnet-predictor")
        await client.replace_status(DEPLOYMENT, deployment, READY)

        async def url():
            obj = await client.get(serving.INFERENCE_SERVICE, *KEY)
            ready = (condition_of(obj, "Ready") or {}).get("status") == "True"
            return obj["status"]["url"] if ready else ""

        async def is_known():
            return await url() == f"https://resnet-{NAMESPACE}.apps.example.com:8443"

        await until(is_known)
        await until(lambda: nothing_is_written(client, made))


async def test_a_mistake_is_refused_at_admission(client):
    wanted = stored(isvc())
    wanted["spec"]["transformer"] = {"minReplicas": 1}
    with pytest.raises(Invalid, match="exactly one of"):
        await client.create(serving.INFERENCE_SERVICE, wanted)
