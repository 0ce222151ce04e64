"""Given these Routes and EndpointSlices, the router serves that."""

import pytest

from motorpool.router.routes import slices_by_service, table_of
from motorpool.router.table import Endpoint
from tests.router.objects import endpoint, endpoint_slice, route


def table(*objects):
    routes = [o for o in objects if o["kind"] == "Route"]
    return table_of(routes, slices_by_service(o for o in objects if o not in routes))


def endpoints(*objects):
    (entry,) = table(*objects).entries
    return [e for backend in entry.backends for e in backend.endpoints]


PORTS = [
    {"name": "http", "port": 8080, "protocol": "TCP"},
    {"name": "metrics", "port": 9090, "protocol": "TCP"},
]


@pytest.mark.parametrize(
    ("target", "ports"),
    [
        (None, [8080, 9090]),
        (8080, [8080]),
        ("8080", [8080]),
        ("http", [8080]),
        ("metrics", [9090]),
        (80, []),  # the Service's own port number plays no part
        ("grpc", []),
    ],
)
def test_the_target_port_picks_endpoint_ports_by_name_or_number(target, ports):
    spec = {} if target is None else {"port": {"targetPort": target}}
    found = endpoints(route(**spec), endpoint_slice("iris", endpoint("10.0.0.1"), ports=PORTS))
    assert found == [Endpoint("10.0.0.1", port) for port in ports]


def test_an_unnamed_port_of_a_headless_service_is_found_by_its_number():
    ports = [{"name": "", "port": 8888}]
    spec = {"port": {"targetPort": 8888}}
    found = endpoints(route(**spec), endpoint_slice("iris", endpoint("10.0.0.1"), ports=ports))
    assert found == [Endpoint("10.0.0.1", 8888)]


def test_only_ready_endpoints_count_and_no_condition_means_ready():
    given = endpoint_slice(
        "iris",
        endpoint("10.0.0.3"),
        endpoint("10.0.0.2", ready=False),
        {"addresses": ["10.0.0.1"]},
    )
    assert [e.address for e in endpoints(route(), given)] == ["10.0.0.1", "10.0.0.3"]


def test_the_slices_of_a_service_are_joined_without_doubles():
    first = endpoint_slice("iris", endpoint("10.0.0.1"), endpoint("10.0.0.2"))
    second = endpoint_slice("iris", endpoint("10.0.0.2"), suffix="b")
    other = endpoint_slice("iris", endpoint("10.0.0.9"), namespace="other")
    found = endpoints(route(), first, second, other)
    assert [e.address for e in found] == ["10.0.0.1", "10.0.0.2"]


def test_names_udp_and_fully_qualified_addresses_are_no_endpoints():
    udp = endpoint_slice("iris", endpoint("10.0.0.1"), ports=[{"port": 53, "protocol": "UDP"}])
    names = {**endpoint_slice("iris", endpoint("x.example.com")), "addressType": "FQDN"}
    assert endpoints(route(), udp, names) == []


@pytest.mark.parametrize(
    "given",
    [
        route(admitted=False),
        {**route(), "status": {}},
        route(tls={"termination": "passthrough"}),
    ],
    ids=["rejected", "new", "passthrough"],
)
def test_what_is_not_admitted_is_not_served(given):
    assert table(given).entries == ()


def test_a_route_is_served_under_the_host_that_was_admitted():
    changed = route(host="old.example.com")
    changed["spec"]["host"] = "new.example.com"
    assert [entry.host for entry in table(changed).entries] == ["old.example.com"]


def test_the_most_specific_path_comes_first_and_of_equal_claims_the_older():
    given = [route(f"r{i}", host="h", path=path) for i, path in enumerate(("", "/a", "/a/b", "/b"))]
    late, early = route("late", host="h", path="/a"), route("early", host="h", path="/a")
    late["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    early["metadata"]["creationTimestamp"] = ""
    given[1]["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    found = table(late, *given, early).entries
    assert [(e.path, e.key.name) for e in found] == [
        ("/b", "r3"),
        ("/a/b", "r2"),
        ("/a", "early"),
        ("", "r0"),
    ]


def test_several_weighted_backends_take_turns_and_one_is_random():
    more = [{"kind": "Service", "name": "new", "weight": 10}]
    none = [{"kind": "Service", "name": "new", "weight": 0}]
    assert table(route()).entries[0].balance == "random"
    assert table(route(alternateBackends=more)).entries[0].balance == "roundrobin"
    assert table(route(alternateBackends=none)).entries[0].balance == "random"


def test_http2_is_spoken_to_pods_whose_service_says_so():
    ports = [{"name": "grpc", "port": 9000, "appProtocol": "kubernetes.io/h2c"}]
    assert (
        table(route(), endpoint_slice("iris", endpoint("10.0.0.1"), ports=ports))
        .entries[0]
        .speaks_h2c
    )
    assert not table(route(), endpoint_slice("iris", endpoint("10.0.0.1"))).entries[0].speaks_h2c


def test_the_same_objects_in_another_order_make_the_same_table():
    objects = [route("a"), route("b"), route("c", host="a.example.com", path="/x")]
    assert table(*objects) == table(*reversed(objects))
