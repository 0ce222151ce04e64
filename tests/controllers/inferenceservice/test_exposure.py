"""How the world reaches a service: what its status says, and what the controller makes of it."""

import pytest

from motorpool.api import core, networking, serving
from motorpool.api.conditions import condition_of
from motorpool.api.route import ROUTE
from motorpool.controllers.inferenceservice.childkinds import HTTP_ROUTE
from motorpool.controllers.inferenceservice.config import NAME, config_of
from motorpool.controllers.inferenceservice.exposurestatus import Exposed
from motorpool.loop.runner import Settings
from tests.controllers.inferenceservice.objects import (
    APPLICATIONS,
    NAMESPACE,
    configuration,
    isvc,
    runtime,
)
from tests.controllers.inferenceservice.test_reconcile import World
from tests.controllers.inferenceservice.test_status import READY, STARTING, condition, status_of

HOST = "resnet-ai-demo.apps.example.com"
INSIDE = "resnet-predictor.ai-demo.svc.cluster.local"
PROTECTED = {"security.opendatahub.io/enable-auth": "true"}


def exposed(**annotations):
    wanted = isvc()
    wanted["metadata"]["labels"] = {"networking.kserve.io/visibility": "exposed"}
    wanted["metadata"]["annotations"] = annotations
    return wanted


def configured(text):
    config = configuration()
    config["data"]["ingress"] = text
    return config


GATEWAY = '{"enableGatewayApi": true, "kserveIngressGateway": "a/b", "ingressDomain": "x.com"}'


def route(admitted, *, name="resnet", tls=True, **condition):
    verdict = {"type": "Admitted", "status": admitted, **condition}
    spec = {"host": HOST, **({"tls": {"termination": "edge"}} if tls else {})}
    return {"kind": "Route", "metadata": {"name": name}, "spec": spec,
            "status": {"ingress": [{"host": HOST, "conditions": [verdict]}]}}  # fmt: skip


def seen(*objects, **ports):
    kinds = frozenset({"Route", "HTTPRoute", "Ingress"})
    return Exposed(served=kinds, objects=objects, **ports)


def http_route(name, *conditions):
    parents = [{"conditions": list(conditions)}] if conditions else []
    return {"kind": "HTTPRoute", "metadata": {"name": name}, "status": {"parents": parents}}


ACCEPTED = {"type": "Accepted", "status": "True"}


class TestStatus:
    @pytest.mark.parametrize(
        ("ports", "tls", "url"),
        [
            ({}, True, f"https://{HOST}"),
            ({"https_port": 8443, "http_port": 8080}, True, f"https://{HOST}:8443"),
            ({"https_port": 8443, "http_port": 8080}, False, f"http://{HOST}:8080"),
        ],
    )
    def test_an_admitted_route_is_the_url(self, ports, tls, url):
        status = status_of(READY, wanted=exposed(), exposed=seen(route("True", tls=tls), **ports))
        assert condition(status, "Ready") == ("True", "")
        assert status["url"] == url
        assert status["address"]["url"].startswith("http://resnet-predictor.ai-demo.svc")

    def test_a_route_that_is_not_admitted_keeps_the_service_from_being_ready(self):
        refused = route("False", reason="HostAlreadyClaimed", message="route b is older")
        status = status_of(READY, wanted=exposed(), exposed=seen(refused))
        assert condition(status, "IngressReady") == ("False", "HostAlreadyClaimed")
        assert condition_of({"status": status}, "Ready")["message"] == "route b is older"
        assert "url" not in status
        missing = status_of(READY, wanted=exposed(), exposed=seen())
        assert condition(missing, "IngressReady") == ("False", "RouteNotAdmitted")

    @pytest.mark.parametrize(
        ("known", "url"),
        [(f"https://{HOST}:8443", f"https://{HOST}:8443"), ("http://resnet.models.x.com", None)],
    )
    def test_a_url_stays_while_its_own_route_is_not_admitted(self, known, url):
        wanted = {**exposed(), "status": {"url": known}}
        status = status_of(READY, wanted=wanted, exposed=seen(route("False")))
        assert status.get("url") == url

    def test_what_wants_authentication_is_exposed_by_its_route(self):
        status = status_of(READY, wanted=exposed(**PROTECTED), exposed=seen(route("True")))
        assert condition(status, "Ready") == ("True", "")
        assert status["url"] == f"https://{HOST}"
        assert status["address"]["url"] == f"https://{INSIDE}:8443"
        assert status["components"]["predictor"]["url"] == f"https://{INSIDE}:8443"
        assert condition_of({"status": status}, "FieldsIgnored") is None

    def test_inside_the_cluster_the_proxy_is_the_address(self):
        wanted = isvc()
        wanted["metadata"]["annotations"] = PROTECTED
        status = status_of(READY, wanted=wanted)
        assert status["url"] == status["address"]["url"] == f"https://{INSIDE}:8443"

    @pytest.mark.parametrize("value", ["yes", "1", " true"])
    def test_a_wish_that_is_not_understood_is_told_because_the_model_is_open(self, value):
        wanted = isvc()
        wanted["metadata"]["annotations"] = {"security.opendatahub.io/enable-auth": value}
        status = status_of(READY, wanted=wanted)
        assert status["url"].startswith("http://")
        message = condition_of({"status": status}, "FieldsIgnored")["message"]
        assert f"'{value}' is neither true nor false" in message

    def test_an_ingress_is_not_made_to_pods_that_speak_tls_and_the_status_says_so(self):
        wanted = isvc()
        wanted["metadata"]["annotations"] = PROTECTED
        config = config_of(configured('{"ingressDomain": "x.com"}'))
        status = status_of(READY, wanted=wanted, config=config, exposed=seen())
        assert status["url"] == f"https://{INSIDE}:8443"
        message = condition_of({"status": status}, "FieldsIgnored")["message"]
        assert "no Ingress or HTTPRoute is made" in message

    def test_a_predictor_behind_a_protected_transformer_is_told_of(self):
        wanted = isvc()
        wanted["metadata"]["annotations"] = PROTECTED
        wanted["spec"]["transformer"] = {"containers": [{"image": "t:1"}]}
        status = status_of(READY, wanted=wanted)
        assert status["address"]["url"].startswith("https://resnet-transformer.")
        message = condition_of({"status": status}, "FieldsIgnored")["message"]
        assert "it protects the transformer, and not the predictor" in message

    @pytest.mark.parametrize(
        ("objects", "reason", "text"),
        [
            ([], "ParentStatusNotAvailable", "Predictor HTTPRoute resnet-predictor has no parent"),
            ([http_route("resnet-predictor", ACCEPTED)], "ParentStatusNotAvailable",
             "InferenceService HTTPRoute resnet"),
            ([http_route("resnet-predictor", {"type": "Accepted", "status": "False",
                                              "message": "no such listener"})],
             "HttpRouteNotReady", "no such listener"),
            ([http_route(name, ACCEPTED) for name in ("resnet-predictor", "resnet")], "", ""),
        ],
    )  # fmt: skip
    def test_every_http_route_must_be_accepted(self, objects, reason, text):
        config = config_of(configured(GATEWAY))
        status = status_of(READY, config=config, exposed=seen(*objects))
        found = condition_of({"status": status}, "IngressReady")
        assert (found["status"], found.get("reason", "")) == (str(not reason), reason)
        assert text in found.get("message", "")
        assert status["url"] == "http://resnet-ai-demo.x.com"

    def test_a_gateway_waits_for_the_deployments(self):
        config = config_of(configured(GATEWAY))
        status = status_of(STARTING, config=config, exposed=seen())
        assert condition(status, "IngressReady") == ("False", "Predictor Deployment NotReady")

    def test_a_gateway_that_is_not_served_says_what_to_do(self):
        config = config_of(configured(GATEWAY))
        status = status_of(READY, config=config)
        assert condition(status, "Ready") == ("False", "HTTPRouteNotServed")
        message = condition_of({"status": status}, "Ready")["message"]
        assert "install the Gateway API, or set" in message

    def test_an_ingress_is_trusted_as_soon_as_it_is_made(self):
        config = config_of(configured('{"ingressDomain": "x.com", "urlScheme": "https"}'))
        status = status_of(READY, config=config, exposed=seen())
        assert condition(status, "Ready") == ("True", "")
        assert status["url"] == "https://resnet-ai-demo.x.com"
        assert status["components"]["predictor"]["url"] == "http://resnet-predictor-ai-demo.x.com"


class Reachable(World):
    """A world whose API has some of the kinds that expose services."""

    def __init__(self, *objects, **given):
        super().__init__(*objects, settings=Settings(https_port=8443), **given)

    def exposing(self, kind, name="resnet"):
        return self.child(kind, name)


async def test_a_route_is_made_admitted_and_taken_back():
    async with Reachable(exposed(), runtime(), kinds=[ROUTE]).turning() as world:
        await world.until(lambda: world.exposing(ROUTE))
        made = world.exposing(ROUTE)
        assert made["spec"]["to"]["name"] == "resnet-predictor"
        await world.client.replace_status(ROUTE, made, route("True")["status"])
        await world.serve()
        assert world.isvc()["status"]["url"] == f"https://{HOST}:8443"
        assert await world.reconciled_again() == []
        hidden = {"metadata": {"labels": {"networking.kserve.io/visibility": None}}}
        await world.client.patch(serving.INFERENCE_SERVICE, NAMESPACE, "resnet", hidden)
        await world.until(lambda: not world.exposing(ROUTE))


async def test_a_route_that_a_user_made_stays_and_counts():
    own = {**route("True"), "apiVersion": "route.openshift.io/v1",
           "metadata": {"name": "resnet", "namespace": NAMESPACE}}  # fmt: skip
    async with Reachable(exposed(), runtime(), own, kinds=[ROUTE]).turning() as world:
        await world.serve()
        assert world.exposing(ROUTE)["spec"] == own["spec"]
        assert world.isvc()["status"]["url"] == f"https://{HOST}:8443"
        assert await world.reconciled_again() == []
        await world.client.delete(ROUTE, NAMESPACE, "resnet")
        await world.until(lambda: world.exposing(ROUTE))


async def test_an_ingress_is_made_and_goes_when_it_is_switched_off():
    config = configured('{"ingressDomain": "x.com"}')
    made = Reachable(isvc(), runtime(), kinds=[networking.INGRESS], config=config)
    async with made.turning() as world:
        await world.serve()
        rule = world.exposing(networking.INGRESS)["spec"]["rules"][0]
        assert rule["host"] == "resnet-ai-demo.x.com"
        assert await world.reconciled_again() == []
        off = configured('{"disableIngressCreation": true}')
        await world.client.patch(core.CONFIG_MAP, APPLICATIONS, NAME, {"data": off["data"]})
        await world.until(lambda: not world.exposing(networking.INGRESS))


async def test_http_routes_are_made_and_followed():
    made = Reachable(isvc(), runtime(), kinds=[HTTP_ROUTE], config=configured(GATEWAY))
    async with made.turning() as world:
        for name in ("resnet-predictor", "resnet"):
            await world.until(lambda name=name: world.exposing(HTTP_ROUTE, name))
            accepted = http_route(name, ACCEPTED)["status"]
            there = world.exposing(HTTP_ROUTE, name)
            await world.client.replace_status(HTTP_ROUTE, there, accepted)
        await world.serve()
        assert await world.reconciled_again() == []
