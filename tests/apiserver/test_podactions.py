"""Binding and eviction: what is created below a pod."""

from tests.apiserver.objects import PODS, created, refusal


def pod(name="p", **spec):
    spec = {"containers": [{"name": "c", "image": "x"}], **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def binding(node="n1"):
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": node},
    }


def eviction(**fields):
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "p", "namespace": "default"},
        **fields,
    }


async def test_a_binding_gives_the_pod_its_node_once(http):
    await created(http, PODS, pod())

    answer = await http.post(f"{PODS}/p/binding", json=binding())

    assert answer.status_code == 201
    assert answer.json()["status"] == "Success"
    bound = (await http.get(f"{PODS}/p")).json()
    assert bound["spec"]["nodeName"] == "n1"
    [scheduled] = bound["status"]["conditions"]
    assert (scheduled["type"], scheduled["status"]) == ("PodScheduled", "True")
    assert bound["status"]["phase"] == "Pending"
    code, reason, message = refusal(await http.post(f"{PODS}/p/binding", json=binding("n2")))
    assert (code, reason) == (409, "Conflict")
    assert message.endswith('pod p is already assigned to node "n1"')


async def test_a_binding_needs_a_node(http):
    await created(http, PODS, pod())
    code, _, message = refusal(await http.post(f"{PODS}/p/binding", json=binding("")))
    assert code == 422
    assert "target.name: Required value" in message


async def test_an_eviction_deletes_the_pod(http):
    await created(http, PODS, pod())
    answer = await http.post(f"{PODS}/p/eviction", json=eviction())
    assert (answer.status_code, answer.json()["status"]) == (201, "Success")
    assert (await http.get(f"{PODS}/p")).status_code == 404


async def test_an_evicted_pod_that_runs_says_why_it_goes(http):
    await created(http, PODS, pod(nodeName="n1"))
    await http.post(f"{PODS}/p/eviction", json=eviction())
    going = (await http.get(f"{PODS}/p")).json()
    assert "deletionTimestamp" in going["metadata"]
    [condition] = going["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "EvictionByEvictionAPI")


async def test_a_dry_eviction_evicts_nothing(http):
    await created(http, PODS, pod())
    dry = eviction(deleteOptions={"dryRun": ["All"]})
    assert (await http.post(f"{PODS}/p/eviction", json=dry)).status_code == 201
    assert (await http.get(f"{PODS}/p")).status_code == 200


async def test_eviction_with_a_stale_precondition_is_a_conflict(http):
    await created(http, PODS, pod())
    stale = eviction(deleteOptions={"preconditions": {"uid": "other"}})
    assert (await http.post(f"{PODS}/p/eviction", json=stale)).status_code == 409
    assert (await http.get(f"{PODS}/p")).status_code == 200


async def test_what_is_only_created_cannot_be_read(http):
    await created(http, PODS, pod())
    assert (await http.get(f"{PODS}/p/eviction")).status_code == 405
    assert (await http.post(f"{PODS}/p/status", json={})).status_code == 405
