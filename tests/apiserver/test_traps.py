"""What has surprised people who wrote a server for Kubernetes' clients: one test for each trap.

Those that need a stream, a node or the real kubectl are held where those are at hand.
"""

import asyncio
import json

import pytest

from tests.apiserver.objects import (
    DEPLOYMENTS,
    MAPS,
    PODS,
    TABLE,
    config_map,
    created,
    deployment,
    refusal,
)

pytestmark = pytest.mark.slow

STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}
ISVCS = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"


def isvc(name="model"):
    model = {"modelFormat": {"name": "onnx"}, "storageUri": "oci://none/none:1"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"predictor": {"model": model}},
    }


async def events_of(http, path, count, **query):
    """The first events of a watch; ends it by its own time limit."""
    parameters = {"watch": "1", "timeoutSeconds": "1", **query}
    answer = await asyncio.wait_for(http.get(path, params=parameters), 30)
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert len(events) >= count, events
    return events


async def test_every_kind_can_be_patched_with_field_validation(http):
    """kubectl asks the documents, and falls back to an older format where one says nothing."""
    for url in (await http.get("/openapi/v3")).json()["paths"].values():
        document = (await http.get(url["serverRelativeURL"])).json()
        for path, item in document["paths"].items():
            patch = item.get("patch")
            if patch is None:
                continue
            assert {"group", "version", "kind"} == set(patch["x-kubernetes-group-version-kind"])
            names = {parameter.get("name") for parameter in patch["parameters"]}
            assert "fieldValidation" in names, path
            media = set(patch["requestBody"]["content"])
            assert "application/merge-patch+json" in media
            group = path.split("/")[2]
            is_custom = "." in group and not group.endswith(".k8s.io")
            assert ("application/strategic-merge-patch+json" in media) != is_custom, path


async def test_a_watch_from_zero_begins_with_what_there_is(http):
    made = await created(http, MAPS, config_map())
    named = {"fieldSelector": "metadata.name=a"}
    [first] = await events_of(http, MAPS, 1, resourceVersion="0", **named)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    version = made["metadata"]["resourceVersion"]
    assert await events_of(http, MAPS, 0, resourceVersion=version, **named) == []


async def test_a_watch_list_marks_the_end_of_what_there_is(http):
    await created(http, MAPS, config_map())
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    *initial, mark = await events_of(http, MAPS, 2, **query)
    assert [event["type"] for event in initial] == ["ADDED"] * len(initial)
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    listed = (await http.get(MAPS)).json()["metadata"]["resourceVersion"]
    assert mark["object"]["metadata"]["resourceVersion"] == listed


@pytest.mark.parametrize(
    ("path", "name"),
    [("pods", "Pod"), ("services", "Service"), ("serviceaccounts", "ServiceAccount")],
)
async def test_some_kinds_answer_a_deletion_with_the_object(http, path, name):
    spec = {"containers": [{"name": "c", "image": "x"}]} if name == "Pod" else {}
    spec = {"ports": [{"port": 80}]} if name == "Service" else spec
    obj = {"metadata": {"name": "gone"}, **({"spec": spec} if spec else {})}
    await created(http, f"/api/v1/namespaces/default/{path}", obj)
    answer = await http.delete(f"/api/v1/namespaces/default/{path}/gone")
    assert answer.json()["kind"] == name


async def test_the_others_answer_with_a_success_and_the_uid(http):
    for path, obj in ((MAPS, config_map()), (DEPLOYMENTS, deployment("a")), (ISVCS, isvc("a"))):
        made = await created(http, path, obj)
        answer = (await http.delete(f"{path}/a")).json()
        assert (answer["kind"], answer["status"]) == ("Status", "Success")
        assert answer["details"]["uid"] == made["metadata"]["uid"]


async def test_a_custom_kind_names_the_patches_it_takes(http):
    await created(http, ISVCS, isvc())
    answer = await http.patch(f"{ISVCS}/model", json={}, headers=STRATEGIC)
    assert refusal(answer)[:2] == (415, "UnsupportedMediaType")
    assert refusal(answer)[2] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )


async def test_a_write_that_changes_nothing_keeps_the_version_and_tells_nobody(http):
    made = await created(http, DEPLOYMENTS, deployment())
    version = made["metadata"]["resourceVersion"]
    for media, body in (
        (MERGE, {"spec": {"replicas": 1}}),
        (STRATEGIC, {"metadata": {"labels": None}}),
    ):
        answer = await http.patch(f"{DEPLOYMENTS}/web", json=body, headers=media)
        assert answer.json()["metadata"]["resourceVersion"] == version
    put = await http.put(f"{DEPLOYMENTS}/web", json=deployment())
    assert put.json()["metadata"]["resourceVersion"] == version
    assert await events_of(http, DEPLOYMENTS, 0, resourceVersion=version) == []


async def test_only_some_kinds_count_generations(http):
    for path, obj, generation in (
        (DEPLOYMENTS, deployment("a"), 1),
        (ISVCS, isvc("a"), 1),
        (MAPS, config_map(), None),
        ("/api/v1/namespaces/default/services", {"metadata": {"name": "a"}}, None),
        (PODS, {"metadata": {"name": "a"}}, None),
    ):
        if path == PODS:
            obj["spec"] = {"containers": [{"name": "c", "image": "x"}]}
        if path.endswith("/services"):
            obj["spec"] = {"ports": [{"port": 80}]}
        made = await created(http, path, obj)
        assert made["metadata"].get("generation") == generation, path


async def test_items_of_custom_lists_name_their_kind_and_others_do_not(http):
    await created(http, ISVCS, isvc())
    await created(http, MAPS, config_map())
    [item] = (await http.get(ISVCS)).json()["items"]
    assert item["kind"] == "InferenceService"
    assert all("kind" not in item for item in (await http.get(MAPS)).json()["items"])


async def test_a_body_without_a_type_is_json_but_a_patch_needs_one(http):
    body = json.dumps(config_map()).encode()
    assert (await http.post(MAPS, content=body)).status_code == 201
    for headers in ({}, {"content-type": "application/json"}):
        answer = await http.patch(f"{MAPS}/a", content=b"{}", headers=headers)
        assert refusal(answer)[:2] == (415, "UnsupportedMediaType")


async def test_an_apply_of_wrong_types_is_a_500_and_a_conflict_names_no_object(http):
    path, one = f"{MAPS}/a", {"fieldManager": "one"}
    wrong = await http.patch(path, json=config_map(data={"k": 1}), headers=APPLY, params=one)
    assert wrong.status_code == 500
    assert ".data.k: expected string, got &value.valueUnstructured{Value:1}" in wrong.text
    await http.patch(path, json=config_map(data={"k": "1"}), headers=APPLY, params=one)
    other = {"fieldManager": "two"}
    answer = await http.patch(path, json=config_map(data={"k": "2"}), headers=APPLY, params=other)
    assert refusal(answer) == (
        409,
        "Conflict",
        'Apply failed with 1 conflict: conflict with "one": .data.k',
    )
    assert set(answer.json()["details"]) == {"causes"}


async def test_a_strategic_patch_puts_new_elements_first(http):
    await created(http, DEPLOYMENTS, deployment())
    added = {"name": "new", "image": "y"}
    patch = {"spec": {"template": {"spec": {"containers": [added]}}}}
    answer = await http.patch(f"{DEPLOYMENTS}/web", json=patch, headers=STRATEGIC)
    containers = answer.json()["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in containers] == ["new", "c"]


async def test_the_status_of_a_deployment_takes_annotations_and_nothing_else(http):
    await created(http, DEPLOYMENTS, deployment())
    patch = {
        "metadata": {"annotations": {"a": "b"}, "labels": {"c": "d"}},
        "spec": {"replicas": 9},
        "status": {"replicas": 3},
    }
    answer = await http.patch(f"{DEPLOYMENTS}/web/status", json=patch, headers=MERGE)
    changed = answer.json()
    assert changed["metadata"]["annotations"] == {"a": "b"}
    assert "labels" not in changed["metadata"]
    assert (changed["spec"]["replicas"], changed["status"]["replicas"]) == (1, 3)
    await created(http, ISVCS, isvc())
    answer = await http.patch(f"{ISVCS}/model/status", json=patch, headers=MERGE)
    assert answer.json()["metadata"].get("annotations", {}).get("a") is None


async def test_a_table_has_every_column_for_an_object_and_a_watch(http):
    await created(http, DEPLOYMENTS, deployment())
    one = (await http.get(f"{DEPLOYMENTS}/web", headers={"accept": TABLE})).json()
    names = [column["name"] for column in one["columnDefinitions"]]
    assert names[:5] == ["Name", "Ready", "Up-to-date", "Available", "Age"]
    answer = await http.get(
        DEPLOYMENTS, params={"watch": "1", "timeoutSeconds": "1"}, headers={"accept": TABLE}
    )
    [first] = [json.loads(line)["object"] for line in answer.text.splitlines()]
    assert (first["kind"], len(first["rows"])) == ("Table", 1)


async def test_a_route_as_oc_sends_it_gets_its_defaults(http):
    routes = "/apis/route.openshift.io/v1/namespaces/default/routes"
    body = {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": "r"},
        "spec": {"to": {"kind": "", "name": "web", "weight": None}, "port": {"targetPort": 80}},
        "status": {},
    }
    spec = (await created(http, routes, body))["spec"]
    assert spec["to"] == {"kind": "Service", "name": "web", "weight": 100}
    assert spec["wildcardPolicy"] == "None"


async def test_the_version_is_one_that_clients_can_read(http):
    version = (await http.get("/version/")).json()
    assert (version["major"], version["minor"]) == ("1", "32")
    assert version["gitVersion"].startswith("v1.32.")


async def test_large_answers_are_compressed_and_watches_never(http):
    await created(http, MAPS, config_map(data={"k": "x" * 200_000}))
    large = await http.get(f"{MAPS}/a", headers={"accept-encoding": "gzip"})
    assert large.headers["content-encoding"] == "gzip"
    small = await http.get("/version", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in small.headers
    query = {"watch": "1", "timeoutSeconds": "1"}
    watch = await http.get(MAPS, params=query, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in watch.headers
