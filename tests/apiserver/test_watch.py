"""Watches and logs: answers that come piece by piece."""

import asyncio
import json

import httpx

from tests.apiserver.conftest import TOKEN
from tests.apiserver.objects import MAPS, PODS, TABLE, config_map, created, refusal


async def watched(app, path, count, accept="*/*", **query):
    """The first *count* events of a watch; then the client goes away."""
    lines = []
    statuses = []
    enough = asyncio.Event()

    async def receive():
        if not lines and not statuses and not receive.asked:
            receive.asked = True
            return {"type": "http.request", "body": b""}
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        lines.extend(message.get("body", b"").splitlines())
        if len(lines) >= count:
            enough.set()

    receive.asked = False
    headers = [
        (b"authorization", f"Bearer {TOKEN}".encode()),
        (b"accept", accept.encode()),
    ]
    query_string = str(httpx.QueryParams({"watch": "true", **query})).encode()
    scope = {
        "type": "http", "method": "GET", "path": path, "query_string": query_string,
        "headers": headers,
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 30)
    assert statuses == [200]
    return [json.loads(line) for line in lines]


async def test_a_watch_from_anywhere_begins_with_what_is(app, http):
    await created(http, MAPS, config_map())
    for query in ({}, {"resourceVersion": "0"}, {"fieldSelector": "metadata.name=a"}):
        (event,) = await watched(app, MAPS, 1, **query)
        assert (event["type"], event["object"]["kind"]) == ("ADDED", "ConfigMap")


async def test_a_watch_list_ends_its_beginning_with_a_bookmark(app, http):
    await created(http, MAPS, config_map())
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    events = await watched(app, MAPS, 2, allowWatchBookmarks="true", **query)
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    annotations = events[1]["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}
    answer = await http.get(MAPS, params={"watch": "1", "sendInitialEvents": "true"})
    assert refusal(answer)[:2] == (422, "Invalid")


async def test_a_table_watch_sends_its_columns_once(app, http):
    await created(http, MAPS, config_map("a"))
    await created(http, MAPS, config_map("b"))
    events = await watched(app, MAPS, 2, accept=TABLE)
    first, second = [event["object"] for event in events]
    assert first["columnDefinitions"][0]["name"] == "Name"
    assert second["columnDefinitions"] is None
    assert len(second["rows"]) == 1


async def test_a_watch_from_too_long_ago_says_so_in_its_stream(app, http, store):
    for name in "abc":
        await created(http, MAPS, config_map(name))
    await store.compact(keep_s=0, keep_revisions=1)
    (event,) = await watched(app, MAPS, 1, resourceVersion="1")
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert event["object"]["reason"] == "Expired"


async def test_logs_come_from_the_node(http):
    containers = [{"name": "c", "image": "x"}, {"name": "d", "image": "x"}]
    one = {"metadata": {"name": "one"}, "spec": {"containers": containers[:1]}}
    two = {"metadata": {"name": "two"}, "spec": {"containers": containers}}
    await created(http, PODS, one)
    await created(http, PODS, two)
    answer = await http.get(f"{PODS}/one/log", params={"tailLines": "2"})
    assert answer.text == "c 1\nc 2\n"
    assert answer.headers["content-type"] == "text/plain"
    assert refusal(await http.get(f"{PODS}/two/log"))[2] == (
        "a container name must be specified for pod two, choose one of: [c d]"
    )
    answer = await http.get(f"{PODS}/two/log", params={"container": "e"})
    assert refusal(answer)[2] == "container e is not valid for pod two"
    answer = await http.get(f"{PODS}/one/log", params={"previous": "true"})
    assert refusal(answer)[:2] == (400, "BadRequest")
    assert refusal(await http.get(f"{PODS}/none/log"))[0] == 404
