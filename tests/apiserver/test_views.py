"""Two views of one stored object: what is written through one is read through the other."""

import asyncio
import json

from tests.apiserver.objects import TABLE, created, refusal

CORE = "/api/v1/namespaces/default/events"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


def core_event(name="e", **fields):
    return {
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
        "reason": "Started",
        "message": "it runs",
        "type": "Normal",
        "count": 2,
        **fields,
    }


def newer_event(name="n"):
    return {
        "metadata": {"name": name, "namespace": "default"},
        "regarding": {"kind": "Pod", "namespace": "default", "name": "q"},
        "reason": "Killing",
        "note": "it ends",
        "type": "Warning",
        "eventTime": "2026-01-01T12:00:00.000000Z",
        "reportingController": "tests",
        "reportingInstance": "one",
        "action": "Killing",
    }


async def test_an_event_of_the_core_group_is_one_of_the_events_group(http):
    stored = await created(http, CORE, core_event())

    seen = (await http.get(f"{EVENTS}/e")).json()

    assert (seen["apiVersion"], seen["kind"]) == ("events.k8s.io/v1", "Event")
    assert (seen["note"], seen["regarding"]["name"], seen["deprecatedCount"]) == ("it runs", "p", 2)
    for field in ("uid", "resourceVersion", "creationTimestamp"):
        assert seen["metadata"][field] == stored["metadata"][field]
    assert "message" not in seen


async def test_an_event_of_the_events_group_is_one_of_the_core_group(http):
    answer = await created(http, EVENTS, newer_event())
    assert answer["note"] == "it ends"

    listed = (await http.get(CORE, params={"fieldSelector": "involvedObject.name=q"})).json()
    [seen] = listed["items"]
    assert (seen["message"], seen["reportingComponent"]) == ("it ends", "tests")
    other = (await http.get(EVENTS, params={"fieldSelector": "regarding.name=p"})).json()
    assert other["items"] == []


async def test_a_patch_through_one_view_is_seen_through_the_other(http):
    await created(http, CORE, core_event())

    patched = await http.patch(
        f"{EVENTS}/e",
        content=json.dumps({"note": "changed"}),
        headers={"content-type": "application/merge-patch+json"},
    )

    assert patched.json()["note"] == "changed"
    assert (await http.get(f"{CORE}/e")).json()["message"] == "changed"
    again = await http.patch(
        f"{EVENTS}/e",
        content=json.dumps({"note": "changed"}),
        headers={"content-type": "application/merge-patch+json"},
    )
    assert again.json()["metadata"] == patched.json()["metadata"]


async def test_both_views_show_the_same_table(http):
    await created(http, CORE, core_event())
    tables = [
        (await http.get(path, headers={"accept": TABLE})).json()["rows"][0]["cells"]
        for path in (CORE, EVENTS)
    ]
    assert tables[0] == tables[1]
    assert "pod/p" in tables[0]


async def test_a_refusal_names_the_field_of_the_view(http):
    wrong = newer_event()
    wrong["regarding"]["namespace"] = "other"
    code, reason, message = refusal(await http.post(EVENTS, json=wrong))
    assert (code, reason) == (422, "Invalid")
    assert "regarding.namespace: Invalid value" in message


async def test_a_watch_shows_its_own_view(registry, local_client):
    from motorpool.api import core, events

    stream = local_client.watch(events.EVENT, "default", after=registry.resource_version)
    following = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    made = await local_client.create(
        core.EVENT, {**core_event(), "apiVersion": "v1", "kind": "Event"}
    )
    seen = await asyncio.wait_for(following, 30)
    assert (seen.type, seen.object["note"]) == ("ADDED", "it runs")
    assert seen.object["metadata"]["uid"] == made["metadata"]["uid"]
    await stream.aclose()
    shown = await local_client.patch(events.EVENT, "default", "e", {"note": "again"})
    assert shown["apiVersion"] == "events.k8s.io/v1"
    assert shown["note"] == "again"
