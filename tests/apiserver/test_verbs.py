"""What each verb does to an object, over HTTP."""

from motorpool.api.clusterips import is_ours
from tests.apiserver.objects import (
    DEPLOYMENTS,
    MAPS,
    PODS,
    config_map,
    created,
    deployment,
    refusal,
)


async def test_a_namespace_must_exist_and_not_be_going(http):
    missing = "/api/v1/namespaces/none/configmaps"
    obj = {"metadata": {"name": "a"}}
    answer = await http.post(missing, json=obj)
    assert refusal(answer) == (404, "NotFound", 'namespaces "none" not found')
    await created(http, "/api/v1/namespaces", {"metadata": {"name": "going"}})
    gone = (await http.delete("/api/v1/namespaces/going")).json()
    assert gone["status"]["phase"] == "Terminating"
    answer = await http.post("/api/v1/namespaces/going/configmaps", json=obj)
    assert refusal(answer)[:2] == (403, "Forbidden")
    assert answer.json()["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    final = {**gone, "spec": {"finalizers": []}}
    assert (await http.put("/api/v1/namespaces/going/finalize", json=final)).status_code == 200
    assert (await http.get("/api/v1/namespaces/going")).status_code == 404


async def test_names_are_generated_where_asked(http):
    obj = {"metadata": {"generateName": "web-"}}
    names = {(await created(http, MAPS, obj))["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


async def test_unknown_fields_are_refused_warned_of_or_dropped(http):
    wrong = deployment()
    wrong["spec"]["bogus"] = 1
    answer = await http.post(DEPLOYMENTS, json=wrong, params={"fieldValidation": "Strict"})
    assert refusal(answer)[2] == (
        'Deployment in version "v1" cannot be handled as a Deployment: '
        'strict decoding error: unknown field "spec.bogus"'
    )
    answer = await http.post(DEPLOYMENTS, json=wrong)
    assert answer.headers["warning"] == '299 - "unknown field \\"spec.bogus\\""'
    assert "bogus" not in answer.json()["spec"]
    wrong["metadata"]["name"] = "silent"
    answer = await http.post(DEPLOYMENTS, json=wrong, params={"fieldValidation": "Ignore"})
    assert answer.status_code == 201
    assert "warning" not in answer.headers
    answer = await http.post(
        MAPS,
        content=b'{"metadata":{"name":"a","name":"b"}}',
        params={"fieldValidation": "Strict"},
    )
    assert 'duplicate field "metadata.name"' in refusal(answer)[2]


async def test_a_dry_run_stores_nothing(http):
    dry = await created(http, MAPS, config_map(), dryRun="All")
    assert dry["metadata"]["uid"]
    assert (await http.get(f"{MAPS}/a")).status_code == 404
    await created(http, MAPS, config_map())
    answer = await http.delete(f"{MAPS}/a", params={"dryRun": "All"})
    assert answer.json()["status"] == "Success"
    assert (await http.get(f"{MAPS}/a")).status_code == 200
    answer = await http.post(MAPS, json=config_map("b"), params={"dryRun": "Some"})
    assert refusal(answer)[:2] == (422, "Invalid")


async def test_a_put_must_name_what_its_path_names(http):
    await created(http, MAPS, config_map())
    answer = await http.put(f"{MAPS}/a", json=config_map("b"))
    assert refusal(answer)[2] == (
        "the name of the object (b) does not match the name on the URL (a)"
    )
    elsewhere = config_map()
    elsewhere["metadata"]["namespace"] = "other"
    answer = await http.put(f"{MAPS}/a", json=elsewhere)
    assert refusal(answer)[0] == 400
    answer = await http.put(f"{MAPS}/none", json=config_map("none"))
    assert answer.status_code == 404


async def test_some_kinds_are_created_by_an_update(http):
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    answer = await http.put(path, json=lease)
    assert refusal(answer)[2].endswith(
        "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    )
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    answer = await http.put("/api/v1/namespaces/default/services/s", json=service)
    assert answer.status_code == 201


async def test_every_type_of_patch_changes_the_object(http):
    await created(http, DEPLOYMENTS, deployment())
    path = f"{DEPLOYMENTS}/web"
    patches = {
        "application/json-patch+json": [{"op": "replace", "path": "/spec/replicas", "value": 2}],
        "application/merge-patch+json": {"spec": {"replicas": 3}},
        "application/strategic-merge-patch+json": {
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "y"}]}}}
        },
    }
    for media, patch in patches.items():
        answer = await http.patch(path, json=patch, headers={"content-type": media})
        assert answer.status_code == 200, answer.text
    final = answer.json()
    assert final["spec"]["replicas"] == 3
    assert final["spec"]["template"]["spec"]["containers"][0]["image"] == "y"
    assert final["metadata"]["generation"] == 4


async def test_a_null_is_as_good_as_nothing(http):
    obj = deployment()
    pod = obj["spec"]["template"]["spec"]
    pod["containers"][0] |= {"args": ["a", None], "env": None, "resources": {"limits": None}}
    obj["metadata"]["labels"] = {"a": None}
    made = await created(http, DEPLOYMENTS, obj)
    [container] = made["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["a", ""]
    assert "env" not in container
    assert made["metadata"]["labels"] == {"a": ""}
    pod["containers"].append(None)
    answer = await http.post(DEPLOYMENTS, json=obj)
    assert "spec.template.spec.containers[1].name: Required value" in refusal(answer)[2]


async def test_a_patch_whose_result_is_no_object_is_refused_as_a_patch(http):
    await created(http, DEPLOYMENTS, deployment())
    path = f"{DEPLOYMENTS}/web"
    strict = {"fieldValidation": "Strict"}
    strategic = {"content-type": "application/strategic-merge-patch+json"}
    merge = {"content-type": "application/merge-patch+json"}
    answer = await http.patch(path, json={"spec": {"bogus": 1}}, headers=strategic, params=strict)
    assert refusal(answer)[:2] == (422, "Invalid")
    assert refusal(answer)[2] == (
        ' "" is invalid: patch: Invalid value: "map[spec:map[bogus:1]]": '
        'strict decoding error: unknown field "spec.bogus"'
    )
    for replicas, text in (("many", "unrecognized type: int32"), (2, "")):
        answer = await http.patch(path, json={"spec": {"replicas": replicas}}, headers=strategic)
        assert answer.status_code == (422 if text else 200)
        assert text in answer.text
    answer = await http.patch(path, json={"spec": {"template": "none"}}, headers=strategic)
    assert refusal(answer)[2].endswith("cannot restore struct from: string")
    answer = await http.patch(path, json={"spec": {"bogus": 1}}, headers=merge, params=strict)
    assert refusal(answer)[:2] == (422, "Invalid")
    assert '"{\\"apiVersion\\":\\"apps/v1\\"' in refusal(answer)[2]
    assert refusal(answer)[2].endswith('strict decoding error: unknown field "spec.bogus"')
    answer = await http.patch(path, json={"spec": {"replicas": "many"}}, headers=merge)
    assert refusal(answer)[2].endswith(
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas "
        "of type int32"
    )


async def test_a_custom_kind_takes_no_strategic_patch(http):
    path = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices/x"
    media = {"content-type": "application/strategic-merge-patch+json"}
    answer = await http.patch(path, json={}, headers=media)
    assert refusal(answer)[:2] == (415, "UnsupportedMediaType")


async def test_scale_stands_for_the_replicas(http):
    made = await created(http, DEPLOYMENTS, deployment(replicas=2))
    path = f"{DEPLOYMENTS}/web/scale"
    scale = (await http.get(path)).json()
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 2)
    assert scale["status"]["selector"] == "app=web"
    media = {"content-type": "application/merge-patch+json"}
    answer = await http.patch(path, json={"spec": {"replicas": 5}}, headers=media)
    assert answer.json()["spec"]["replicas"] == 5
    assert (await http.get(f"{DEPLOYMENTS}/web")).json()["spec"]["replicas"] == 5
    stale = {**scale, "spec": {"replicas": 1}}
    assert scale["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert refusal(await http.put(path, json=stale))[:2] == (409, "Conflict")
    answer = await http.patch(path, json={"spec": {"replicas": -1}}, headers=media)
    assert refusal(answer)[:2] == (422, "Invalid")


async def test_finalizers_hold_an_object_until_the_last_is_gone(http):
    obj = config_map()
    obj["metadata"]["finalizers"] = ["a.example.com/x"]
    await created(http, MAPS, obj)
    marked = (await http.delete(f"{MAPS}/a")).json()
    assert marked["metadata"]["deletionTimestamp"]
    again = (await http.delete(f"{MAPS}/a")).json()
    assert again["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]
    media = {"content-type": "application/merge-patch+json"}
    added = {"metadata": {"finalizers": ["a.example.com/x", "a.example.com/y"]}}
    answer = await http.patch(f"{MAPS}/a", json=added, headers=media)
    assert refusal(answer)[:2] == (422, "Invalid")
    answer = await http.patch(f"{MAPS}/a", json={"metadata": {"finalizers": None}}, headers=media)
    assert answer.status_code == 200
    assert (await http.get(f"{MAPS}/a")).status_code == 404


async def test_propagation_leaves_its_finalizer_for_the_collector(http):
    for name, policy in (("f", "Foreground"), ("o", "Orphan")):
        await created(http, MAPS, config_map(name))
        answer = await http.request("DELETE", f"{MAPS}/{name}", json={"propagationPolicy": policy})
        wanted = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}[policy]
        assert answer.json()["metadata"]["finalizers"] == [wanted]
    answer = await http.request("DELETE", f"{MAPS}/f", json={"propagationPolicy": "No"})
    assert refusal(answer)[:2] == (422, "Invalid")


async def test_a_running_pod_gets_its_grace(http, clock):
    pod = {
        "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]},
    }
    made = await created(http, PODS, pod)
    assert made["status"]["phase"] == "Pending"
    going = (await http.delete(f"{PODS}/p")).json()["metadata"]
    assert going["deletionTimestamp"] == "2026-01-01T12:00:30Z"
    assert going["deletionGracePeriodSeconds"] == 30
    sooner = await http.request("DELETE", f"{PODS}/p", json={"gracePeriodSeconds": 5})
    assert sooner.json()["metadata"]["deletionTimestamp"] == "2026-01-01T12:00:05Z"
    later = await http.request("DELETE", f"{PODS}/p", json={"gracePeriodSeconds": 50})
    assert later.json()["metadata"]["deletionGracePeriodSeconds"] == 5
    await http.request("DELETE", f"{PODS}/p", json={"gracePeriodSeconds": 0})
    assert (await http.get(f"{PODS}/p")).status_code == 404
    unscheduled = {"metadata": {"name": "q"}, "spec": {"containers": pod["spec"]["containers"]}}
    await created(http, PODS, unscheduled)
    assert (await http.delete(f"{PODS}/q")).json()["kind"] == "Pod"
    assert (await http.get(f"{PODS}/q")).status_code == 404


async def test_a_collection_is_deleted_by_selector(http):
    for name in ("a", "b", "c"):
        obj = config_map(name)
        obj["metadata"]["labels"] = {"keep": "yes" if name == "b" else "no"}
        await created(http, MAPS, obj)
    answer = await http.delete(MAPS, params={"labelSelector": "keep=no"})
    assert [item["metadata"]["name"] for item in answer.json()["items"]] == ["a", "c"]
    left = (await http.get(MAPS)).json()["items"]
    assert [item["metadata"]["name"] for item in left] == ["b"]


async def test_a_service_gets_an_address_that_it_keeps(http):
    services = "/api/v1/namespaces/default/services"
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    made = await created(http, services, service)
    address = made["spec"]["clusterIP"]
    assert is_ours(address)
    assert made["spec"]["clusterIPs"] == [address]
    put = await http.put(f"{services}/s", json=service)
    assert put.json()["spec"]["clusterIP"] == address
    other = {**service, "spec": {**service["spec"], "clusterIP": "127.128.9.9"}}
    assert "may not change once set" in refusal(await http.put(f"{services}/s", json=other))[2]
    headless = {"metadata": {"name": "h"}, "spec": {"clusterIP": "None"}}
    assert (await created(http, services, headless))["spec"]["clusterIPs"] == ["None"]
    taken = {"metadata": {"name": "t"}, "spec": {**other["spec"], "clusterIP": address}}
    assert "already allocated" in refusal(await http.post(services, json=taken))[2]
    await http.delete(f"{services}/s")
    assert (await created(http, services, taken))["spec"]["clusterIP"] == address


async def test_empty_metadata_is_as_good_as_none(http):
    obj = config_map()
    obj["metadata"] |= {"labels": {}, "annotations": {}, "finalizers": []}
    made = await created(http, MAPS, obj)
    assert not {"labels", "annotations", "finalizers"} & set(made["metadata"])
    put = await http.put(f"{MAPS}/a", json=obj)
    assert put.json()["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
