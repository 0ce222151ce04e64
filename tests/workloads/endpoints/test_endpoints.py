from motorpool.api import core, discovery
from motorpool.workloads.endpoints.desired import endpoints_of, mirrored
from motorpool.workloads.endpoints.reconcile import controller
from motorpool.workloads.garbage.reconcile import controller as collector
from tests.workloads.cluster import Cluster, quiet, running, until


def service(**spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "n", "uid": "uid-s", "labels": {"app": "web"}},
        "spec": {"selector": {"app": "web"}, **spec},
    }


def endpoint(ip, *, ready=True, terminating=False):
    conditions = {"ready": ready, "serving": ready, "terminating": terminating}
    target = {"kind": "Pod", "name": f"pod-{ip}", "namespace": "n"}
    return {"addresses": [ip], "conditions": conditions, "targetRef": target}


def slice_of(*endpoints, name="web-1"):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "n",
            "labels": {
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }


def written():
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "web", "namespace": "n", "uid": "uid-e"},
        "subsets": [{"addresses": [{"ip": "10.0.0.9"}], "ports": [{"port": 80}]}],
    }


def test_who_is_ready_and_who_is_not_stand_apart():
    found = endpoints_of(
        service(),
        [slice_of(endpoint("10.0.0.2"), endpoint("10.0.0.1"), endpoint("10.0.0.3", ready=False))],
    )
    [subset] = found["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["10.0.0.1", "10.0.0.2"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["10.0.0.3"]
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]


def test_who_is_going_is_left_out():
    found = endpoints_of(service(), [slice_of(endpoint("10.0.0.1", terminating=True))])
    assert "subsets" not in found


def test_a_headless_service_says_so():
    found = endpoints_of(service(clusterIP="None"), [])
    assert found["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def test_endpoints_that_a_user_wrote_become_a_slice():
    [made] = mirrored(written())
    assert made["endpoints"] == [{"addresses": ["10.0.0.9"], "conditions": {"ready": True}}]
    assert made["ports"] == [{"name": "", "protocol": "TCP", "port": 80}]
    assert made["metadata"]["labels"]["kubernetes.io/service-name"] == "web"


async def test_endpoints_follow_the_slices_and_go_with_the_service():
    client = Cluster(service(), slice_of(endpoint("10.0.0.1")))
    async with running(client, controller, collector):
        await until(lambda: client.all(core.ENDPOINTS))
        client.set(discovery.ENDPOINT_SLICE, slice_of(endpoint("10.0.0.2")))
        await until(
            lambda: client.all(core.ENDPOINTS)[0]["subsets"][0]["addresses"][0]["ip"] == "10.0.0.2"
        )
        await quiet(client)
        client.writes.clear()
        client.set(core.SERVICE, client.kept(core.SERVICE, "n", "web"))
        await quiet(client)
        assert client.writes == []
        await client.delete(core.SERVICE, "n", "web")
        await until(lambda: not client.all(core.ENDPOINTS))


async def test_a_service_without_a_selector_gets_the_slices_of_its_endpoints():
    client = Cluster(service(selector=None), written())
    async with running(client, controller):
        await until(lambda: client.all(discovery.ENDPOINT_SLICE))
        await quiet(client)
        [made] = client.all(discovery.ENDPOINT_SLICE)
        assert made["endpoints"][0]["addresses"] == ["10.0.0.9"]
        client.writes.clear()
        client.set(core.ENDPOINTS, client.kept(core.ENDPOINTS, "n", "web"), subsets=[])
        await until(lambda: not client.all(discovery.ENDPOINT_SLICE))
        await quiet(client)
        assert client.writes == ["delete EndpointSlice web-mirror-0"]
    assert client.all(core.ENDPOINTS)
