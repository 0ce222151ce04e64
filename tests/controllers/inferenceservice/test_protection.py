"""A service that asks for authentication: how it becomes protected, and open again."""

import asyncio
import contextlib

import pytest

from motorpool.api import core, rbac, serving
from motorpool.api.apps import DEPLOYMENT
from motorpool.api.meta import ObjectKey, copy_of
from motorpool.api.route import ROUTE
from motorpool.controllers.authdelegator.reconcile import controller as delegator
from motorpool.controllers.inferenceservice.openshiftroutes import leading
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context, run
from tests.controllers.inferenceservice.objects import NAMESPACE, isvc, runtime
from tests.controllers.inferenceservice.test_reconcile import World
from tests.memory_client import MemoryClient

ANNOTATION = "security.opendatahub.io/enable-auth"
SERVICE = "resnet-predictor"
BEFORE = "motorpool.dev/before-authentication"


def protected(name="resnet", **fields):
    wanted = isvc(name, **fields)
    wanted["metadata"]["annotations"] = {ANNOTATION: "true"}
    return wanted


def switch(value):
    def change(obj):
        obj["metadata"]["annotations"] = {ANNOTATION: value}

    return change


def containers(world):
    spec = world.child(DEPLOYMENT)["spec"]["template"]["spec"]
    return [container["name"] for container in spec["containers"]]


def users_route(name="mine", *, port="http", tls=None, to=SERVICE, **spec):
    body = {"to": {"kind": "Service", "name": to}, **spec}
    if port is not None:
        body["port"] = {"targetPort": port}
    if tls is not None:
        body["tls"] = tls
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}"},
        "spec": body,
    }


def merged(obj, patch):
    """A merge patch, as the API applies it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(obj) if isinstance(obj, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


async def test_the_annotation_puts_a_proxy_before_the_server_and_takes_it_away_again():
    async with World(isvc(), runtime()).turning() as world:
        await world.until(lambda: world.child(DEPLOYMENT))
        await world.settled()
        before = [copy_of(world.child(kind)["spec"]) for kind in (core.SERVICE, DEPLOYMENT)]

        await world.edit(serving.INFERENCE_SERVICE, "resnet", switch("true"))
        await world.until(lambda: containers(world) == ["kserve-container", "kube-rbac-proxy"])
        assert [p["name"] for p in world.child(core.SERVICE)["spec"]["ports"]] == ["https"]
        assert world.child(core.CONFIG_MAP, "resnet-kube-rbac-proxy-sar-config")["immutable"]
        assert await world.reconciled_again() == []

        await world.edit(serving.INFERENCE_SERVICE, "resnet", switch("false"))
        await world.until(lambda: containers(world) == ["kserve-container"])
        await world.settled()
        after = [world.child(kind)["spec"] for kind in (core.SERVICE, DEPLOYMENT)]
        assert after == before
        assert world.child(core.CONFIG_MAP, "resnet-kube-rbac-proxy-sar-config") is None


async def test_rules_that_somebody_else_made_are_not_used():
    taken = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "resnet-kube-rbac-proxy-sar-config", "namespace": NAMESPACE},
        "data": {"config-file.yaml": "authorization: {}"},
    }
    async with World(protected(), runtime(), taken).turning() as world:
        await world.until(lambda: world.condition() == ("False", "NameTaken"))
        assert world.child(core.SERVICE) is None


@pytest.mark.parametrize(
    ("port", "tls"),
    [
        ("http", {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"}),
        (8888, None),
        (None, {"termination": "edge"}),
        ("http", {"termination": "reencrypt", "certificate": "PEM"}),
    ],
    ids=["the guide's", "plain", "of no port", "to another port"],
)
def test_a_user_s_route_leads_to_the_proxy_and_back(port, tls):
    given = users_route(port=port, tls=tls)
    changed = merged(given, leading(given, SERVICE, is_protected=True))
    assert changed["spec"]["tls"]["termination"] == "reencrypt"
    assert changed["spec"]["port"] == {"targetPort": "https"}
    assert leading(changed, SERVICE, is_protected=True) is None

    back = merged(changed, leading(changed, SERVICE, is_protected=False))
    assert back["spec"] == given["spec"]
    assert BEFORE not in back["metadata"].get("annotations", {})
    assert leading(back, SERVICE, is_protected=False) is None


def test_a_route_that_its_user_applies_again_is_led_to_the_proxy_again():
    given = users_route(tls={"termination": "edge"})
    changed = merged(given, leading(given, SERVICE, is_protected=True))
    again = merged(changed, {"spec": {"tls": {"termination": "edge"}, "port": {"targetPort": 80}}})
    once_more = merged(again, leading(again, SERVICE, is_protected=True))
    assert once_more["spec"]["port"] == {"targetPort": "https"}
    back = merged(once_more, leading(once_more, SERVICE, is_protected=False))
    assert (back["spec"]["port"], back["spec"]["tls"]) == (
        {"targetPort": 80}, {"termination": "edge"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        users_route(to="another"),
        users_route(alternateBackends=[{"kind": "Service", "name": "x"}]),
        users_route(tls={"termination": "passthrough"}),
        users_route(port="https", tls={"termination": "reencrypt"}),
        users_route(port=8443, tls={"termination": "reencrypt"}),
    ],
    ids=["elsewhere", "to several", "passthrough", "right by name", "right by number"],
)
def test_other_routes_stay_as_they_are(given):
    assert leading(given, SERVICE, is_protected=True) is None
    assert leading(given, SERVICE, is_protected=False) is None


async def test_the_controller_leads_the_routes_of_users_whatever_their_names():
    route = users_route("by-hand", tls={"termination": "edge"})
    world = World(protected(), runtime(), route, kinds=(ROUTE,))

    def termination():
        return world.child(ROUTE, "by-hand")["spec"]["tls"]["termination"]

    async with world.turning():
        await world.until(lambda: termination() == "reencrypt")
        assert await world.reconciled_again() == []

        def by_hand(obj):
            obj["spec"] = copy_of(route["spec"])

        await world.edit(ROUTE, "by-hand", by_hand)
        await world.until(lambda: termination() == "reencrypt")
        await world.edit(serving.INFERENCE_SERVICE, "resnet", switch("false"))
        await world.until(lambda: termination() == "edge")
        assert world.child(ROUTE, "by-hand")["spec"] == route["spec"]


@contextlib.asynccontextmanager
async def delegating(client):
    informers = Informers(client)
    built = delegator(Context(client, informers, EventRecorder(client)))
    tasks = [asyncio.ensure_future(informers.run()), asyncio.ensure_future(run(built))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def bindings(client):
    return {
        key.name: obj["subjects"]
        for (kind, key), obj in client.objects.items()
        if kind == rbac.CLUSTER_ROLE_BINDING
    }


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


async def test_the_accounts_of_protected_pods_may_ask_about_tokens_as_long_as_one_needs_it():
    client = MemoryClient(
        protected("a"), protected("b"), protected("c", serviceAccountName="own"), isvc("open")
    )
    shared, own = f"{NAMESPACE}-default-auth-delegator", f"{NAMESPACE}-own-auth-delegator"
    async with delegating(client):
        await until(lambda: set(bindings(client)) == {shared, own})
        subject = {"kind": "ServiceAccount", "name": "own", "namespace": NAMESPACE}
        assert bindings(client)[own] == [subject]

        await client.delete(serving.INFERENCE_SERVICE, NAMESPACE, "c")
        await until(lambda: set(bindings(client)) == {shared})
        await client.delete(serving.INFERENCE_SERVICE, NAMESPACE, "a")
        opened = copy_of(client.kept(serving.INFERENCE_SERVICE, NAMESPACE, "b"))
        switch("false")(opened)
        await client.update(serving.INFERENCE_SERVICE, opened)
        await until(lambda: bindings(client) == {})


async def test_a_binding_that_is_deleted_comes_back():
    client = MemoryClient(protected())
    name = f"{NAMESPACE}-default-auth-delegator"
    async with delegating(client):
        await until(lambda: name in bindings(client))
        await client.delete(rbac.CLUSTER_ROLE_BINDING, "", name)
        assert ObjectKey("", name) not in bindings(client)
        await until(lambda: name in bindings(client))


async def test_two_accounts_whose_bindings_would_have_one_name_have_one_each():
    first, second = protected("a", serviceAccountName="x-y"), protected("b", serviceAccountName="y")
    second["metadata"]["namespace"] = f"{NAMESPACE}-x"
    client = MemoryClient(first, second)
    async with delegating(client):
        await until(lambda: len(bindings(client)) == 2)
        subjects = [
            (s["namespace"], s["name"]) for found in bindings(client).values() for s in found
        ]
        assert sorted(subjects) == [(NAMESPACE, "x-y"), (f"{NAMESPACE}-x", "y")]
        for kind, key in list(client.objects):
            if kind == rbac.CLUSTER_ROLE_BINDING:
                assert key.name.startswith(f"{NAMESPACE}-x-y-auth-delegator")


async def test_a_binding_that_somebody_else_made_and_that_does_is_left_as_it_is():
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE}
    theirs = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{NAMESPACE}-default-auth-delegator"},
        "roleRef": {"kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [subject],
    }  # fmt: skip
    client = MemoryClient(protected(), protected("own", serviceAccountName="own"), theirs)
    async with delegating(client):
        await until(lambda: len(bindings(client)) == 2)
        assert "labels" not in client.kept(
            rbac.CLUSTER_ROLE_BINDING, "", f"{NAMESPACE}-default-auth-delegator"
        )["metadata"]  # fmt: skip
