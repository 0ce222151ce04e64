"""What Services and EndpointSlices say is forwarded: on values."""

from motorpool.router import connections
from motorpool.router.routes import slices_by_service
from motorpool.router.services import forbidden_ports, forwards_of
from motorpool.router.table import Endpoint, Table
from tests.router.objects import endpoint, endpoint_slice, service

ADDRESS = "127.128.77.1"


def forwards(services, *slices, may=lambda port: True):
    return forwards_of(services, slices_by_service(slices), may)


def test_each_tcp_port_of_a_service_is_forwarded_to_the_endpoints_port_of_its_name():
    ports = [
        {"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"},
        {"name": "grpc", "port": 9000, "targetPort": 9001},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    found = [
        {"name": "http", "port": 8080, "protocol": "TCP"},
        {"name": "grpc", "port": 9001, "protocol": "TCP"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    slices = endpoint_slice("iris", endpoint("127.77.0.2"), endpoint("127.77.0.1"), ports=found)
    assert [
        (f.name, f.place, f.endpoints) for f in forwards([service(ports=ports)], slices)
    ] == [
        (
            "service/n/iris:80", (ADDRESS, 80),
            (Endpoint("127.77.0.1", 8080), Endpoint("127.77.0.2", 8080)),
        ),
        (
            "service/n/iris:9000", (ADDRESS, 9000),
            (Endpoint("127.77.0.1", 9001), Endpoint("127.77.0.2", 9001)),
        ),
    ]  # fmt: skip


def test_pods_whose_named_port_has_other_numbers_share_a_service():
    first = endpoint_slice("iris", endpoint("127.77.0.1"), suffix="a")
    other = [{"name": "http", "port": 9090, "protocol": "TCP"}]
    second = endpoint_slice("iris", endpoint("127.77.0.2"), ports=other, suffix="b")
    (forward,) = forwards([service()], first, second)
    assert forward.endpoints == (Endpoint("127.77.0.1", 8080), Endpoint("127.77.0.2", 9090))


def test_only_ready_endpoints_count_and_ending_ones_where_none_is_ready():
    ending = {"ready": False, "serving": True, "terminating": True}
    gone = {"ready": False, "serving": False, "terminating": True}
    slices = endpoint_slice(
        "iris",
        endpoint("127.77.0.1", ready=False),
        {"addresses": ["127.77.0.2"], "conditions": ending},
        {"addresses": ["127.77.0.3"], "conditions": gone},
    )
    assert forwards([service()], slices)[0].endpoints == (Endpoint("127.77.0.2", 8080),)
    slices["endpoints"].append({"addresses": ["127.77.0.4"]})
    assert forwards([service()], slices)[0].endpoints == (Endpoint("127.77.0.4", 8080),)


def test_a_service_without_endpoints_stays():
    (forward,) = forwards([service()])
    assert forward.endpoints == ()


def test_what_has_no_address_of_the_range_is_not_forwarded():
    assert forwards([
        service("headless", "None"),
        service("old", "10.217.3.4"),
        service("name", "", type="ExternalName", externalName="example.com"),
        service("new", ""),
    ]) == ()  # fmt: skip


def test_ports_that_this_user_may_not_listen_on_are_left_out_and_named():
    ports = [{"name": "http", "port": 80}, {"name": "grpc", "port": 9000}]
    services = [service(ports=ports), service("old", "10.217.3.4", ports=ports)]

    def may(port):
        return port >= 1024

    assert [f.port for f in forwards(services, may=may)] == [9000]
    named = [(s["metadata"]["name"], port) for s, port in forbidden_ports(services, may)]
    assert named == [("iris", 80)]


def test_two_services_with_one_address_are_told_apart_by_their_age():
    older, younger = service("older"), service("younger")
    older["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    younger["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    assert [f.service.name for f in forwards([younger, older])] == ["older"]


def test_a_listener_says_nothing_of_endpoints():
    slices = endpoint_slice("iris", endpoint("127.77.0.1"))
    before, after = (Table(forwards=forwards([service()], *found)) for found in ((), (slices,)))
    assert connections.listeners_of(before) == connections.listeners_of(after)
    assert connections.clusters_of(before) != connections.clusters_of(after)


def test_client_ip_affinity_hashes_the_clients_address():
    table = Table(forwards=forwards([service(sessionAffinity="ClientIP")]))
    (cluster,), (listener,) = connections.clusters_of(table), connections.listeners_of(table)
    assert cluster["lb_policy"] == "RING_HASH"
    proxy = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert proxy["hash_policy"] == [{"source_ip": {}}]
