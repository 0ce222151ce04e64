"""Definitions over HTTP: their life, and the life of the kinds that they bring."""

import asyncio
import itertools
import json
import time

import pytest

from tests.apiserver.objects import TABLE, created, refusal
from tests.definitions.objects import (
    DEFINITIONS,
    WIDGETS,
    definition,
    schema_version,
    version,
    widget,
)
from tests.timing import least_of

pytestmark = pytest.mark.slow

MERGE = {"content-type": "application/merge-patch+json"}


async def test_a_definition_is_established_and_served_at_once(defined, http):
    made = await http.post(DEFINITIONS, json=definition())
    assert made.status_code == 201
    assert made.json()["status"] == {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": ["v1"],
    }
    assert made.json()["spec"]["conversion"] == {"strategy": "None"}
    found = await defined.until("widgets.ex.io", "Established", "True")
    assert (await http.get(WIDGETS)).status_code == 200
    assert found["status"]["acceptedNames"] == found["spec"]["names"]
    told = [(c["type"], c["reason"], c["message"]) for c in found["status"]["conditions"]]
    assert told == [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ]

    async def measured_s():
        name = f"more{next(numbers)}"
        started = time.monotonic()
        await defined.established(definition(plural=name, kind=name.title(), short=name))
        return time.monotonic() - started

    numbers = itertools.count()
    assert await least_of(measured_s, 0.5) < 0.5


async def test_discovery_and_openapi_learn_the_kind(defined, http):
    before = (await http.get("/openapi/v3")).json()["paths"]
    assert "apis/ex.io/v1" not in before
    await defined.established(definition())
    groups = [group["name"] for group in (await http.get("/apis")).json()["groups"]]
    assert "ex.io" in groups
    listed = (await http.get("/apis/ex.io/v1")).json()["resources"]
    assert [entry["name"] for entry in listed] == ["widgets", "widgets/status", "widgets/scale"]
    assert listed[0]["shortNames"] == ["wd"]
    aggregated = await http.get(
        "/apis",
        headers={"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"},
    )
    assert any(item["metadata"]["name"] == "ex.io" for item in aggregated.json()["items"])
    after = (await http.get("/openapi/v3")).json()["paths"]
    assert {k: v for k, v in after.items() if k != "apis/ex.io/v1"} == before
    document = (await http.get(after["apis/ex.io/v1"]["serverRelativeURL"])).json()
    schema = document["components"]["schemas"]["io.ex.v1.Widget"]
    assert schema["x-kubernetes-group-version-kind"] == [
        {"group": "ex.io", "kind": "Widget", "version": "v1"}
    ]
    content = document["paths"][f"{WIDGETS.replace('default', '{namespace}')}/{{name}}"]["patch"][
        "requestBody"
    ]["content"]
    assert "application/strategic-merge-patch+json" not in content


async def test_a_changed_schema_has_another_hash(defined, http):
    await defined.established(definition())
    first = (await http.get("/openapi/v3")).json()["paths"]["apis/ex.io/v1"]["serverRelativeURL"]
    patch = {"spec": {"versions": [schema_version({"color": {"type": "string"}})]}}
    answer = await http.patch(f"{DEFINITIONS}/widgets.ex.io", json=patch, headers=MERGE)
    assert answer.status_code == 200
    async with asyncio.timeout(30):
        while True:
            index = (await http.get("/openapi/v3")).json()["paths"]
            if index["apis/ex.io/v1"]["serverRelativeURL"] != first:
                break
            await asyncio.sleep(0.005)
    moved = await http.get(first)
    assert moved.status_code == 301
    document = (await http.get(moved.headers["location"])).json()
    spec = document["components"]["schemas"]["io.ex.v1.Widget"]["properties"]["spec"]
    assert list(spec["properties"]) == ["color"]


async def test_an_object_is_pruned_and_then_defaulted(defined, http):
    await defined.established(definition())
    obj = widget(
        size=None,
        nul=None,
        mode=None,
        bogus=1,
        any={"b": True, "zz": 1},
        list=[{"name": "1", "bogus": 1}],
        tpl={
            "apiVersion": "v1", "kind": "Pod", "q": 1, "metadata": {"name": "x", "bogus": 1},
        },
    )  # fmt: skip
    answer = await http.post(WIDGETS, json=obj)
    assert answer.status_code == 201
    assert answer.json()["spec"] == {
        "size": 3,
        "nul": None,
        "mode": "a",
        "any": {"b": True, "zz": 1},
        "list": [{"name": "1", "v": "dv"}],
        "tpl": {"apiVersion": "v1", "kind": "Pod", "q": 1, "metadata": {"name": "x"}},
    }
    strict = await http.post(
        WIDGETS, json={**obj, "metadata": {"name": "w2"}}, params={"fieldValidation": "Strict"}
    )
    assert refusal(strict) == (
        400,
        "BadRequest",
        (
            'Widget in version "v1" cannot be handled as a Widget: strict decoding error: '
            'unknown field "spec.bogus", unknown field "spec.list[0].bogus", '
            'unknown field "spec.tpl.metadata.bogus"'
        ),
    )


async def test_refusals_have_the_servers_words(defined, http):
    await defined.established(definition())
    answer = await http.post(WIDGETS, json=widget("w3", size=0))
    assert refusal(answer) == (
        422,
        "Invalid",
        (
            'Widget.ex.io "w3" is invalid: spec.size: Invalid value: 0: '
            "spec.size in body should be greater than or equal to 1"
        ),
    )
    answer = await http.post(WIDGETS, json=widget("w3", list=[{"name": "1"}, {"name": "1"}]))
    assert refusal(answer)[2] == (
        'Widget.ex.io "w3" is invalid: spec.list[1]: Duplicate value: '
        'map[string]interface {}{"name":"1"}'
    )
    answer = await http.patch(
        WIDGETS + "/w3",
        json={},
        headers={"content-type": "application/strategic-merge-patch+json"},
    )
    assert refusal(answer) == (
        415,
        "UnsupportedMediaType",
        (
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, "
            "application/apply-patch+yaml"
        ),
    )


async def test_generation_counts_the_spec_alone(defined, http):
    await defined.established(definition())
    await created(http, WIDGETS, widget(size=1))
    path = f"{WIDGETS}/w"
    for where, patch, generation in (
        (path, {"spec": {"size": 2}}, 2),
        (path, {"metadata": {"labels": {"a": "b"}}}, 2),
        (path, {"status": {"phase": "X"}}, 2),
        (f"{path}/status", {"status": {"phase": "X"}, "spec": {"size": 9}}, 2),
    ):
        answer = await http.patch(where, json=patch, headers=MERGE)
        assert answer.status_code == 200, answer.text
        assert answer.json()["metadata"]["generation"] == generation
    obj = (await http.get(path)).json()
    assert (obj["spec"]["size"], obj["status"]) == (2, {"phase": "X"})


async def test_the_scale_is_where_the_definition_says(defined, http):
    await defined.established(definition())
    await created(http, WIDGETS, widget())
    scale = f"{WIDGETS}/w/scale"
    absent = await http.get(scale)
    assert refusal(absent) == (
        500,
        "InternalError",
        'Internal error occurred: the spec replicas field ".spec.replicas" does not exist',
    )
    status = {"status": {"replicas": 2, "selector": "a=b"}}
    await http.patch(f"{WIDGETS}/w/status", json=status, headers=MERGE)
    answer = await http.patch(scale, json={"spec": {"replicas": 4}}, headers=MERGE)
    assert answer.status_code == 200, answer.text
    assert answer.json()["spec"] == {"replicas": 4}
    assert answer.json()["status"] == {"replicas": 2, "selector": "a=b"}
    assert (await http.get(scale)).json()["spec"] == {"replicas": 4}
    assert (await http.get(f"{WIDGETS}/w")).json()["spec"]["replicas"] == 4


async def test_the_table_has_the_columns_of_the_definition(defined, http):
    await defined.established(definition())
    await created(http, WIDGETS, widget(size=5, any={"b": True}))
    table = (await http.get(WIDGETS, headers={"accept": TABLE})).json()
    assert [c["name"] for c in table["columnDefinitions"]] == [
        "Name", "Size", "Phase", "Ready", "When", "B", "Age",
    ]  # fmt: skip
    assert table["columnDefinitions"][2]["priority"] == 1
    assert table["rows"][0]["cells"] == ["w", 5, None, None, None, True, "0s"]


async def test_versions_show_the_same_objects(defined, http):
    other = schema_version({"size": {"type": "integer"}, "extra": {"type": "string"}}, "v1alpha1")
    await defined.established(definition(version(), {**other, "storage": False}))
    await created(http, WIDGETS, widget(size=5))
    old = "/apis/ex.io/v1alpha1/namespaces/default/widgets"
    assert (await http.get(f"{old}/w")).json()["apiVersion"] == "ex.io/v1alpha1"
    listed = (await http.get(old)).json()
    assert [item["apiVersion"] for item in listed["items"]] == ["ex.io/v1alpha1"]
    await created(http, old, widget("w2", "ex.io/v1alpha1", extra="x"))
    seen = (await http.get(f"{WIDGETS}/w2")).json()
    assert (seen["apiVersion"], seen["spec"]) == (
        "ex.io/v1",
        {"extra": "x", "size": 3, "mode": "a"},
    )
    assert (await http.get("/apis/ex.io/v2/namespaces/default/widgets")).status_code == 404
    group = (await http.get("/apis/ex.io")).json()
    assert group["preferredVersion"]["version"] == "v1"


async def test_fields_that_the_definition_selects_by(defined, http):
    fields = [{"jsonPath": ".spec.size"}]
    await defined.established(definition(version(selectableFields=fields)))
    await created(http, WIDGETS, widget("a", size=1))
    await created(http, WIDGETS, widget("b", size=2))
    found = (await http.get(WIDGETS, params={"fieldSelector": "spec.size=2"})).json()["items"]
    assert [obj["metadata"]["name"] for obj in found] == ["b"]
    refused = await http.get(WIDGETS, params={"fieldSelector": "spec.mode=a"})
    assert refusal(refused) == (400, "BadRequest", "field label not supported: spec.mode")


async def test_a_deprecated_version_warns(defined, http):
    await defined.established(definition(version(deprecated=True)))
    answer = await http.get(WIDGETS)
    assert answer.headers["warning"] == '299 - "ex.io/v1 Widget is deprecated"'


async def test_names_that_are_taken_are_not_accepted_until_they_are_free(defined, http):
    await defined.established(definition())
    second = definition(plural="gadgets", kind="Gadget", short="gd")
    second["spec"]["names"]["listKind"] = "WidgetList"
    await created(http, DEFINITIONS, second)
    found = await defined.until("gadgets.ex.io", "NamesAccepted", "False")
    told = {c["type"]: (c["reason"], c["message"]) for c in found["status"]["conditions"]}
    assert told == {
        "NamesAccepted": ("ListKindConflict", '"WidgetList" is already in use'),
        "Established": ("NotAccepted", "not all names are accepted"),
    }
    gadgets = "/apis/ex.io/v1/namespaces/default/gadgets"
    assert (await http.get(gadgets)).status_code == 404
    await http.delete(f"{DEFINITIONS}/widgets.ex.io")
    await defined.until("gadgets.ex.io", "Established", "True")
    assert (await http.get(gadgets)).status_code == 200


async def test_a_deleted_definition_takes_its_objects_along(defined, http):
    await defined.established(definition())
    for name in ("a", "b"):
        await created(http, WIDGETS, widget(name))
    answer = await http.delete(f"{DEFINITIONS}/widgets.ex.io")
    assert answer.status_code == 200
    assert answer.json()["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    await defined.gone(f"{DEFINITIONS}/widgets.ex.io")
    gone = await http.get(WIDGETS)
    assert (gone.status_code, gone.text) == (404, "404 page not found\n")
    await defined.established(definition())
    assert (await http.get(WIDGETS)).json()["items"] == []


async def test_an_object_with_a_finalizer_holds_its_definition(defined, http):
    await defined.established(definition())
    held = widget()
    held["metadata"]["finalizers"] = ["ex.io/hold"]
    await created(http, WIDGETS, held)
    await http.delete(f"{DEFINITIONS}/widgets.ex.io")
    async with asyncio.timeout(30):
        found = await defined.until("widgets.ex.io", "Terminating", "True")
        while found["status"]["conditions"][-1]["reason"] != "InstanceDeletionInProgress":
            await asyncio.sleep(0.005)
            found = await defined.until("widgets.ex.io", "Terminating", "True")
    refused = await http.post(WIDGETS, json=widget("late"))
    assert refusal(refused) == (
        405,
        "MethodNotAllowed",
        "create not allowed while custom resource definition is terminating",
    )
    await http.patch(f"{WIDGETS}/w", json={"metadata": {"finalizers": None}}, headers=MERGE)
    await defined.gone(f"{DEFINITIONS}/widgets.ex.io")


async def test_a_watch_ends_with_its_definition(defined, http_stream):
    await defined.established(definition())
    await created(defined.http, WIDGETS, widget())
    async with http_stream.stream("GET", WIDGETS, params={"watch": "true"}) as answer:
        lines = answer.aiter_lines()
        first = json.loads(await anext(lines))
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "w")
        await defined.http.delete(f"{DEFINITIONS}/widgets.ex.io")
        async with asyncio.timeout(30):
            rest = [json.loads(line)["type"] async for line in lines]
    assert rest[-1] == "DELETED"


async def test_a_namespace_takes_custom_resources_along(defined, http):
    await defined.established(definition())
    await created(http, "/api/v1/namespaces", {"metadata": {"name": "demo"}})
    there = WIDGETS.replace("default", "demo")
    obj = widget()
    obj["metadata"]["namespace"] = "demo"
    await created(http, there, obj)
    await http.delete("/api/v1/namespaces/demo")
    await defined.gone("/api/v1/namespaces/demo")
    assert (await http.get("/apis/ex.io/v1/widgets")).json()["items"] == []


async def test_what_a_custom_resource_owns_goes_with_it(defined, http):
    await defined.established(definition())
    owner = await created(http, WIDGETS, widget())
    reference = {
        "apiVersion": "ex.io/v1", "kind": "Widget", "name": "w", "uid": owner["metadata"]["uid"],
    }  # fmt: skip
    owned = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
    maps = "/api/v1/namespaces/default/configmaps"
    await created(http, maps, owned)
    child = widget("child")
    child["metadata"]["ownerReferences"] = [reference]
    await created(http, WIDGETS, child)
    await http.delete(f"{WIDGETS}/w")
    await defined.gone(f"{maps}/owned")
    await defined.gone(f"{WIDGETS}/child")


async def test_what_was_valid_once_may_stay(defined, http):
    await defined.established(definition())
    await created(http, WIDGETS, widget(size=9))
    stricter = version()
    spec = stricter["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["size"] = {"type": "integer", "maximum": 5}
    patch = {"spec": {"versions": [stricter]}}
    await http.patch(f"{DEFINITIONS}/widgets.ex.io", json=patch, headers=MERGE)
    async with asyncio.timeout(30):
        while (await http.post(WIDGETS, json=widget("n", size=8))).status_code != 422:
            await http.delete(f"{WIDGETS}/n")
            await asyncio.sleep(0.005)
    kept = await http.patch(f"{WIDGETS}/w", json={"spec": {"mode": "b"}}, headers=MERGE)
    assert kept.status_code == 200
    moved = await http.patch(f"{WIDGETS}/w", json={"spec": {"size": 8}}, headers=MERGE)
    assert refusal(moved)[0] == 422


async def test_definitions_are_served_again_after_a_restart(defined, http, registry, store):
    from motorpool.apiserver import definitions
    from motorpool.apiserver.local import LocalClient
    from motorpool.apiserver.registry import Registry

    await defined.established(definition())
    again = Registry(store)
    client = LocalClient(again)
    # A list may lag behind a single read by the turn of the loop in which a write is published.
    written = (await http.get(f"{DEFINITIONS}/widgets.ex.io")).json()["metadata"]
    await store.reached(int(written["resourceVersion"]))
    await definitions.load(again, client)
    assert list(again.kinds.defined) == ["widgets.ex.io"]


@pytest.fixture
async def http_stream(serving, pki):
    """A client that reads an answer while it comes."""
    import ssl

    import httpx

    from tests.apiserver.conftest import TOKEN

    tls = ssl.create_default_context(cafile=str(pki.ca))
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=serving.url, verify=tls, headers=headers) as client:
        yield client


async def test_rules_are_asked_after_defaults(defined, http):
    made = version()
    spec = made["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"] = [
        {"rule": "self.size != 7", "message": "no seven"},
        {"rule": "self.mode == oldSelf.mode", "message": "mode immutable"},
    ]
    await defined.established(definition(made))
    refused = await http.post(WIDGETS, json=widget(size=7))
    assert refusal(refused) == (
        422,
        "Invalid",
        'Widget.ex.io "w" is invalid: spec: Invalid value: "object": no seven',
    )
    await created(http, WIDGETS, widget())
    moved = await http.patch(f"{WIDGETS}/w", json={"spec": {"mode": "b"}}, headers=MERGE)
    assert refusal(moved) == (
        422,
        "Invalid",
        'Widget.ex.io "w" is invalid: spec: Invalid value: "object": mode immutable',
    )
    wrong = await http.post(WIDGETS, json=widget("w2", size="x"))
    assert refusal(wrong)[2] == (
        'Widget.ex.io "w2" is invalid: [spec.size: Invalid value: "string": spec.size in body must '
        'be of type integer: "string", <nil>: Invalid value: "null": some validation rules were '
        "not checked because the object was invalid; correct the existing errors to complete "
        "validation]"
    )
    made["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] = [
        {"rule": "self.size +"}
    ]
    bad = await http.post(DEFINITIONS, json=definition(made, plural="bads", kind="Bad", short="b"))
    assert refusal(bad)[0] == 422
    assert "x-kubernetes-validations[0].rule" in refusal(bad)[2]


async def test_openapi_2_as_json_has_the_types_of_definitions(defined, http):
    before = await http.get("/openapi/v2")
    assert "io.ex.v1.Widget" not in before.json()["definitions"]
    await defined.established(definition())
    answer = await http.get("/openapi/v2")
    spec = answer.json()["definitions"]["io.ex.v1.Widget"]["properties"]["spec"]
    assert spec["properties"]["size"]["description"] == "How large it is."
    assert answer.headers["etag"] != before.headers["etag"]
    same = await http.get("/openapi/v2", headers={"if-none-match": answer.headers["etag"]})
    assert same.status_code == 304
