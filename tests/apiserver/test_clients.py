"""What both clients promise, on a real store; the HTTP one over real TLS."""

import asyncio

import pytest

from motorpool.api import apps, core
from motorpool.api.errors import AlreadyExists, Conflict, Expired, NotFound
from motorpool.loop.informer import Informer
from tests.apiserver.objects import config_map, deployment

pytestmark = pytest.mark.slow


async def test_what_is_created_can_be_read(client):
    created = await client.create(core.CONFIG_MAP, config_map(data={"k": "v"}))
    assert created["metadata"]["uid"]
    assert created["metadata"]["creationTimestamp"] == "2026-01-01T12:00:00Z"
    assert await client.get(core.CONFIG_MAP, "default", "a") == created
    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        await client.create(core.CONFIG_MAP, config_map())
    with pytest.raises(NotFound, match='configmaps "b" not found'):
        await client.get(core.CONFIG_MAP, "default", "b")


async def test_a_stale_update_is_refused(client):
    first = await client.create(core.CONFIG_MAP, config_map())
    second = await client.update(core.CONFIG_MAP, {**first, "data": {"n": "1"}})
    with pytest.raises(Conflict, match="the object has been modified"):
        await client.update(core.CONFIG_MAP, {**first, "data": {"n": "2"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


async def test_an_update_that_changes_nothing_writes_nothing(client, registry):
    first = await client.create(core.CONFIG_MAP, config_map(data={"k": "v"}))
    before = registry.resource_version
    assert await client.update(core.CONFIG_MAP, first) == first
    assert await client.patch(core.CONFIG_MAP, "default", "a", {"data": {"k": "v"}}) == first
    assert registry.resource_version == before


async def test_generation_counts_changes_of_the_spec_alone(client):
    first = await client.create(apps.DEPLOYMENT, deployment())
    assert first["metadata"]["generation"] == 1
    labelled = await client.patch(
        apps.DEPLOYMENT, "default", "web", {"metadata": {"labels": {"a": "b"}}}
    )
    assert labelled["metadata"]["generation"] == 1
    scaled = await client.patch(apps.DEPLOYMENT, "default", "web", {"spec": {"replicas": 3}})
    assert scaled["metadata"]["generation"] == 2


async def test_a_status_is_written_beside_the_spec_and_only_where_it_differs(client, registry):
    first = await client.create(apps.DEPLOYMENT, deployment())
    second = await client.replace_status(apps.DEPLOYMENT, first, {"replicas": 1})
    assert second["status"] == {"replicas": 1}
    assert second["spec"] == first["spec"]
    before = registry.resource_version
    assert await client.replace_status(apps.DEPLOYMENT, second, {"replicas": 1}) == second
    assert registry.resource_version == before
    with pytest.raises(Conflict):
        await client.replace_status(apps.DEPLOYMENT, first, {"replicas": 2})
    kept = await client.patch(apps.DEPLOYMENT, "default", "web", {"status": {"replicas": 9}})
    assert kept["status"] == {"replicas": 1}


async def test_selectors_choose(client):
    await client.create(core.CONFIG_MAP, config_map("a"))
    labelled = config_map("b")
    labelled["metadata"]["labels"] = {"x": "1"}
    await client.create(core.CONFIG_MAP, labelled)
    by_label = await client.list(core.CONFIG_MAP, labels="x=1")
    by_name = await client.list(core.CONFIG_MAP, "default", fields="metadata.name=a")
    assert [obj["metadata"]["name"] for obj in by_label.items] == ["b"]
    assert [obj["metadata"]["name"] for obj in by_name.items] == ["a"]


async def test_a_watch_shows_objects_enter_and_leave_a_selection(client):
    listed = await client.list(core.CONFIG_MAP)
    await client.create(core.CONFIG_MAP, config_map())
    patch = {"metadata": {"labels": {"x": "1"}}}
    labelled = await client.patch(core.CONFIG_MAP, "default", "a", patch)
    await client.patch(core.CONFIG_MAP, "default", "a", {"data": {"k": "v"}})
    unlabelled = await client.patch(core.CONFIG_MAP, "default", "a", {"metadata": {"labels": None}})
    events = client.watch(core.CONFIG_MAP, after=listed.resource_version, labels="x=1")
    seen = [await asyncio.wait_for(anext(events), 30) for _ in range(3)]
    await events.aclose()

    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert seen[0].object == labelled
    gone = seen[2].object["metadata"]
    assert gone["labels"] == {"x": "1"}
    assert gone["resourceVersion"] == unlabelled["metadata"]["resourceVersion"]


async def test_a_deleted_object_is_shown_as_it_was_last(client):
    created = await client.create(core.CONFIG_MAP, config_map(data={"k": "v"}))
    after = created["metadata"]["resourceVersion"]
    await client.delete(core.CONFIG_MAP, "default", "a", uid=created["metadata"]["uid"])
    events = client.watch(core.CONFIG_MAP, after=after)
    event = await asyncio.wait_for(anext(events), 30)
    await events.aclose()
    assert event.type == "DELETED"
    assert event.object["data"] == {"k": "v"}
    assert int(event.object["metadata"]["resourceVersion"]) > int(after)


async def test_deleting_another_object_of_that_name_is_refused(client):
    await client.create(core.CONFIG_MAP, config_map())
    with pytest.raises(Conflict, match="the UID in the precondition"):
        await client.delete(core.CONFIG_MAP, "default", "a", uid="another")


async def test_an_old_watch_is_told_to_list_again(client, store):
    for number in range(3):
        await client.create(core.CONFIG_MAP, config_map(f"a{number}"))
    await store.compact(keep_s=0, keep_revisions=1)
    events = client.watch(core.CONFIG_MAP, after="1")
    with pytest.raises(Expired, match=r"too old resource version: 1 \(\d+\)"):
        await anext(events)


async def test_an_informer_keeps_up(client):
    await client.create(core.CONFIG_MAP, config_map("before"))
    informer = Informer(client, core.CONFIG_MAP)
    running = asyncio.create_task(informer.run())
    await asyncio.wait_for(informer.synced(), 30)
    seen = asyncio.Event()
    informer.subscribe(lambda change: seen.set() if change.new is None else None)
    await client.create(core.CONFIG_MAP, config_map("after"))
    await client.delete(core.CONFIG_MAP, "default", "before")
    await asyncio.wait_for(seen.wait(), 30)
    assert [obj["metadata"]["name"] for obj in informer.list()] == ["after"]
    running.cancel()
