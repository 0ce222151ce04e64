"""Given these objects, Envoy gets that: every case is a pair of files in `cases/`."""

from pathlib import Path

import pytest
import yaml

from motorpool.router import envoy, listeners
from motorpool.router.listeners import Addresses, Certificate
from motorpool.router.routes import slices_by_service, table_of
from motorpool.router.table import Table

CASES = Path(__file__).parent / "cases"


def plain(value):
    """*value* without the sharing that YAML would show as anchors."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", sorted(CASES.glob("*.in.yaml")), ids=lambda p: p.name[:-8])
def test_a_table_becomes_clusters_and_virtual_hosts(case, golden):
    objects = list(yaml.safe_load_all(case.read_text()))
    routes = [o for o in objects if o["kind"] == "Route"]
    table = table_of(routes, slices_by_service(o for o in objects if o["kind"] != "Route"))
    documents = [
        {"clusters": envoy.clusters_of(table, "PLATFORM")},
        {"http": envoy.routes_of(table, secure=False)["virtual_hosts"]},
        {"https": envoy.routes_of(table, secure=True)["virtual_hosts"]},
    ]
    golden.check(case.with_name(case.name.replace(".in.", ".out.")), plain(documents))


def test_the_bootstrap_and_the_listeners(golden):
    addresses = Addresses("127.0.0.1", 8080, 8443, Certificate("/pki/tls.crt", "/pki/tls.key"))
    found = listeners.listeners_of(Table(), addresses, "/data/envoy")
    bootstrap = listeners.bootstrap("/data/envoy")
    golden.check(CASES / "listeners.yaml", plain([bootstrap, *found]))


def test_without_a_certificate_there_is_no_tls_listener():
    found = listeners.listeners_of(Table(), Addresses("127.0.0.1", 8080, 8443), "/data/envoy")
    assert [listener["name"] for listener in found] == ["http"]


def test_pods_that_nobody_could_tell_from_others_get_nothing():
    """Without an authority of the platform a Route's own is the only one."""
    objects = list(yaml.safe_load_all((CASES / "reencrypt.in.yaml").read_text()))
    *routes, endpoint_slice = objects
    table = table_of(routes, slices_by_service([endpoint_slice]))
    found = {c["name"]: c["load_assignment"]["endpoints"] for c in envoy.clusters_of(table)}
    assert found["n/protected"] == []
    assert len(found["n/own-authority"]) == 1


def test_no_traffic_where_all_weights_are_0():
    objects = yaml.safe_load_all((CASES / "backends.in.yaml").read_text())
    *routes, endpoint_slice = [o for o in objects if o["metadata"]["name"] in ("zero", "iris-a")]
    table = table_of(routes, slices_by_service([endpoint_slice]))
    (cluster,) = envoy.clusters_of(table)
    assert cluster["load_assignment"]["endpoints"] == []
