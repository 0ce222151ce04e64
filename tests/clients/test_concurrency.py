"""Many clients at once: no update is lost, and all watchers see one history."""

import asyncio
import json
import ssl
from pathlib import Path

import httpx
import pytest
import yaml

pytestmark = [
    pytest.mark.slow,
    # httpx leaves the socket of a stream that is not read to its end to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

WRITERS = 12
WRITES = 15
WATCHERS = 10
MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}


def read(file):
    return Path(file).read_text()


@pytest.fixture
async def http(kubeconfig):
    config = yaml.safe_load(read(kubeconfig))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    async with httpx.AsyncClient(
        base_url=cluster["server"],
        headers={"authorization": f"Bearer {user['token']}"},
        verify=trust,
        timeout=60,
        limits=httpx.Limits(max_connections=WRITERS + WATCHERS),
    ) as http:
        yield http


async def create(http, name, **data):
    answer = await http.post(MAPS, json={"metadata": {"name": name}, "data": data})
    assert answer.status_code == 201
    return answer.json()


async def count_up(http, name):
    """Read, change, write: again wherever someone else was quicker."""
    for _ in range(WRITES):
        while True:
            obj = (await http.get(f"{MAPS}/{name}")).json()
            obj["data"]["count"] = str(int(obj["data"]["count"]) + 1)
            answer = await http.put(f"{MAPS}/{name}", json=obj)
            if answer.status_code == 200:
                break
            assert answer.status_code == 409


async def test_no_update_is_lost(http):
    await create(http, "counter", count="0")
    await asyncio.gather(*(count_up(http, "counter") for _ in range(WRITERS)))
    final = (await http.get(f"{MAPS}/counter")).json()
    assert final["data"]["count"] == str(WRITERS * WRITES)


async def test_patches_of_different_fields_all_last(http):
    await create(http, "many")

    async def add(writer):
        for number in range(WRITES):
            patch = {"data": {f"{writer}-{number}": "x"}}
            answer = await http.patch(f"{MAPS}/many", json=patch, headers=MERGE)
            assert answer.status_code == 200, answer.text

    await asyncio.gather(*(add(writer) for writer in range(WRITERS)))
    assert len((await http.get(f"{MAPS}/many")).json()["data"]) == WRITERS * WRITES


async def history(http, version, name, last):
    """The revisions that one watcher sees, in its order, up to the deletion."""
    seen = []
    query = {"watch": "1", "resourceVersion": version, "fieldSelector": f"metadata.name={name}"}
    async with http.stream("GET", MAPS, params=query) as answer:
        async for line in answer.aiter_lines():
            event = json.loads(line)
            seen.append((event["type"], int(event["object"]["metadata"]["resourceVersion"])))
            if event["type"] == last:
                return seen
    raise AssertionError("the watch ended early")


async def test_every_watcher_sees_every_revision_in_order(http):
    made = await create(http, "seen", count="0")
    first = int(made["metadata"]["resourceVersion"])
    watchers = [
        asyncio.create_task(history(http, str(first - 1), "seen", "DELETED"))
        for _ in range(WATCHERS)
    ]
    versions = []
    for number in range(50):
        patch = {"data": {"count": str(number + 1)}}
        answer = await http.patch(f"{MAPS}/seen", json=patch, headers=MERGE)
        versions.append(int(answer.json()["metadata"]["resourceVersion"]))
    await http.delete(f"{MAPS}/seen")
    histories = await asyncio.gather(*watchers)
    assert [version for _, version in histories[0]][:-1] == [first, *versions]
    assert [kind for kind, _ in histories[0]] == ["ADDED", *["MODIFIED"] * 50, "DELETED"]
    assert all(seen == histories[0] for seen in histories)
