"""What the API makes of a Route: defaults, rules, columns."""

from datetime import UTC, datetime

import pytest

from motorpool.api.meta import copy_of
from motorpool.api.route import ROUTE
from motorpool.api.scheme import by_resource
from motorpool.api.tables import columns_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def route(name="iris", namespace="n", annotations=None, **spec):
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations or {}},
        "spec": {"to": {"kind": "Service", "name": "iris"}, **spec},
    }


def defaulted(obj):
    obj = copy_of(obj)
    ROUTE.default(obj)
    again = copy_of(obj)
    ROUTE.default(again)
    assert again == obj, "defaulting twice changes more"
    return obj


def errors(obj, old=None):
    return [str(error) for error in ROUTE.validate(defaulted(obj), old)]


def test_what_oc_expose_sends_becomes_whole():
    sent = route()
    sent["spec"] = {"to": {"kind": "", "name": "iris", "weight": None}, "port": {"targetPort": 1}}
    sent["status"] = {}
    assert defaulted(sent)["spec"] == {
        "to": {"kind": "Service", "name": "iris", "weight": 100},
        "port": {"targetPort": 1},
        "wildcardPolicy": "None",
    }
    assert errors(sent) == []


def test_alternate_backends_and_status_are_defaulted_too():
    given = route(alternateBackends=[{"name": "b"}, {"name": "c", "weight": 0}])
    given["status"] = {"ingress": [{"host": "h", "wildcardPolicy": ""}]}
    found = defaulted(given)
    assert found["spec"]["alternateBackends"] == [
        {"name": "b", "kind": "Service", "weight": 100},
        {"name": "c", "kind": "Service", "weight": 0},
    ]
    assert found["status"]["ingress"][0]["wildcardPolicy"] == "None"


@pytest.mark.parametrize(
    ("tls", "termination"),
    [
        ({}, "edge"),
        ({"termination": "Edge"}, "edge"),
        ({"termination": "Reencrypt"}, "reencrypt"),
        ({"termination": "Passthrough"}, "passthrough"),
        ({"destinationCACertificate": "x"}, None),
    ],
)
def test_the_termination(tls, termination):
    assert defaulted(route(tls=tls))["spec"]["tls"].get("termination") == termination


def test_a_host_that_would_be_too_long_is_refused_at_create_only():
    name = "m" * 40
    (error,) = errors(route(name, "n" * 30))
    label = f"{name}-{'n' * 30}"
    expected = f'spec.host: Invalid value: "{label}": must be no more than 63 characters'
    assert error == expected
    stored = defaulted(route(name, "n" * 30))
    assert errors(stored, stored) == []
    assert errors(route(name, "n" * 30, host="short.example.com")) == []
    lenient = {"route.openshift.io/allow-non-dns-compliant-host": "true"}
    assert errors(route(name, "n" * 30, annotations=lenient)) == []


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"host": "Iris.example.com"}, 'spec.host: Invalid value: "Iris.example.com": a lowercase'),
        ({"host": "a..b"}, "spec.host: Invalid value"),
        ({"host": "x" * 64 + ".org"}, "must be no more than 63 characters"),
        ({"to": {"name": ""}}, "spec.to.name: Required value"),
        (
            {"to": {"kind": "Pod", "name": "x"}},
            'spec.to.kind: Unsupported value: "Pod": supported values: "Service"',
        ),
        ({"to": {"name": "x", "weight": 257}}, "spec.to.weight: Invalid value: 257"),
        ({"alternateBackends": [{"name": c} for c in "abcd"]}, "no more than 3|more than 3"),
        ({"path": "v1"}, 'spec.path: Invalid value: "v1": path must begin with /'),
        ({"path": "/a b"}, "spec.path: Invalid value"),
        ({"path": "/a#b"}, "spec.path: Invalid value"),
        ({"path": "/a", "tls": {"termination": "passthrough"}}, "does not support paths"),
        ({"port": {}}, "spec.port.targetPort: Required value"),
        ({"port": {"targetPort": 70000}}, "must be between 1 and 65535, inclusive"),
        (
            {"tls": {"termination": "both"}},
            (
                'spec.tls.termination: Unsupported value: "both": supported values: "edge", '
                '"passthrough", "reencrypt"'
            ),
        ),
        (
            {"tls": {"termination": "passthrough", "insecureEdgeTerminationPolicy": "Allow"}},
            'Unsupported value: "Allow": supported values: "None", "Redirect"',
        ),
        ({"tls": {"destinationCACertificate": "x", "termination": "edge"}}, "does not support"),
        ({"tls": {"certificate": "x"}}, "spec.tls.certificate: Invalid value"),
        ({"wildcardPolicy": "Subdomain"}, "host name not specified for wildcard policy"),
        (
            {"httpHeaders": {"actions": {"request": [{"name": "Cookie", "action": {}}]}}},
            "spec.httpHeaders.actions.request[0].name: Forbidden",
        ),
    ],
)
def test_a_mistake_is_named(spec, says):
    found = errors(route(**spec))
    assert any(part in error for part in says.split("|") for error in found), found


def test_a_private_key_is_never_repeated():
    found = errors(route(tls={"key": "SECRET", "certificate": "SECRET"}))
    assert len(found) == 2
    assert not any("SECRET" in error for error in found)


def test_the_wildcard_policy_is_immutable():
    old = defaulted(route())
    found = errors(route(host="a.example.com", wildcardPolicy="Subdomain"), old)
    assert found == ['spec.wildcardPolicy: Invalid value: "Subdomain": field is immutable']


def test_the_columns_are_those_of_the_guide():
    columns = columns_of(ROUTE)
    names = [column.name.upper() for column in columns]
    assert names == ["NAME", "HOST", "ADMITTED", "SERVICE", "TLS"]

    def cells(obj):
        return [column.cell(obj, NOW) for column in columns]

    new = route(tls={"termination": "edge"})
    assert cells(new) == ["iris", None, None, "iris", None]
    conditions = [{"type": "Admitted", "status": "True"}]
    served = {**new, "status": {"ingress": [{"host": "h.org", "conditions": conditions}]}}
    assert cells(served) == ["iris", "h.org", "True", "iris", None]


def test_the_kind_is_served_as_a_custom_resource_with_a_status():
    assert by_resource("route.openshift.io", "v1", "routes") is ROUTE
    assert ROUTE.is_custom
    assert ROUTE.has_generation
    assert ROUTE.has_status


def test_the_schema_describes_every_field():
    def undescribed(schema, path):
        if path and "description" not in schema and path != ".metadata":
            yield path
        for name, child in schema.get("properties", {}).items():
            yield from undescribed(child, f"{path}.{name}")
        if "items" in schema:
            yield from undescribed(schema["items"], f"{path}[]")

    assert list(undescribed(ROUTE.schema(), "")) == []
