import copy

from motorpool.workloads.endpointslice.desired import changes, desired_slices
from tests.workloads.objects import deleting, pod


def service(**spec):
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "n", "uid": "uid-web", "labels": {"team": "a"}},
        "spec": {"selector": {"app": "web"}, "ports": ports, "clusterIP": "10.0.0.1", **spec},
    }


def ready_pod(name="p1", ip="127.64.0.1", **more):
    made = pod(name, ip=ip, **more)
    made["metadata"]["uid"] = f"uid-{name}"
    return made


def named(service_port, *container_ports):
    made = ready_pod()
    made["spec"]["containers"] = [{"name": "c", "ports": list(container_ports)}]
    (found,) = desired_slices(service(ports=[service_port]), [made])
    return found["ports"]


def conditions(*pods, **spec):
    (found,) = desired_slices(service(**spec), pods)
    return [tuple(endpoint["conditions"].values()) for endpoint in found["endpoints"]]


def test_a_slice_as_a_whole():
    (found,) = desired_slices(service(), [ready_pod()])

    assert found["metadata"].pop("name").startswith("web-")
    assert found == {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": "web-",
            "namespace": "n",
            "labels": {
                "team": "a",
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": "web",
                    "uid": "uid-web",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["127.64.0.1"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": "n", "name": "p1", "uid": "uid-p1"},
                "nodeName": "node1",
            }
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def test_a_pod_that_goes_is_not_ready_at_once_but_still_serves():
    assert conditions(deleting(ready_pod())) == [(False, True, True)]


def test_a_pod_that_is_not_ready_is_listed_as_such():
    assert conditions(ready_pod(ready=False)) == [(False, False, False)]


def test_publish_not_ready_addresses_makes_everyone_ready():
    assert conditions(ready_pod(ready=False), publishNotReadyAddresses=True) == [
        (True, False, False)
    ]


def test_pods_without_an_address_and_ended_pods_are_left_out():
    (found,) = desired_slices(service(), [ready_pod(ip=""), ready_pod("p2", phase="Failed")])

    assert (found["endpoints"], found["ports"]) == ([], [])


def test_a_headless_service_says_so():
    (found,) = desired_slices(service(clusterIP="None"), [])

    assert found["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def test_a_named_port_is_looked_up_in_the_pod_by_name_and_protocol():
    port = {"port": 80, "targetPort": "h1"}

    assert named(port, {"name": "h1", "containerPort": 9}) == [
        {"name": "", "port": 9, "protocol": "TCP"}
    ]
    assert named(port, {"name": "h1", "containerPort": 9, "protocol": "UDP"}) == []
    assert named({"port": 80, "appProtocol": "h2c"}) == [
        {"name": "", "port": 80, "protocol": "TCP", "appProtocol": "h2c"}
    ]


def test_pods_whose_named_port_differs_go_into_different_slices():
    one, two = ready_pod("p1"), ready_pod("p2", "127.64.0.2")
    one["spec"]["containers"] = [{"name": "c", "ports": [{"name": "h", "containerPort": 1}]}]
    two["spec"]["containers"] = [{"name": "c", "ports": [{"name": "h", "containerPort": 2}]}]

    found = desired_slices(service(ports=[{"port": 80, "targetPort": "h"}]), [two, one])

    assert [each["ports"][0]["port"] for each in found] == [1, 2]
    assert len({each["metadata"]["name"] for each in found}) == 2


def test_a_slice_holds_a_hundred_endpoints_in_the_order_of_their_names():
    pods = [ready_pod(f"p{n:03d}", f"127.64.1.{n % 250}") for n in range(201)]

    found = desired_slices(service(), reversed(pods))

    assert [len(each["endpoints"]) for each in found] == [100, 100, 1]
    assert found[0]["endpoints"][0]["targetRef"]["name"] == "p000"


def test_changes_are_only_what_differs():
    desired = desired_slices(service(), [ready_pod()])
    stored = copy.deepcopy(desired[0])
    stored["metadata"] |= {"uid": "u", "resourceVersion": "5"}
    stale = copy.deepcopy(stored)
    stale["metadata"]["name"] = "web-stale"
    emptied = {**copy.deepcopy(stored), "endpoints": None, "ports": None}

    same = changes(desired, [stored])
    different = changes(desired, [emptied, stale])

    assert (same.create, same.update, same.delete) == ([], [], [])
    assert different.create == []
    assert different.update == [stored]
    assert different.delete == [stale]
