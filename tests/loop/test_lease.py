"""Of those who want a Lease one works at a time."""

import asyncio
import contextlib

import pytest

from motorpool.api.coordination import LEASE
from motorpool.api.errors import Conflict
from motorpool.loop.lease import Election, LeaseLost, Times
from tests.memory_client import MemoryClient
from tests.virtualtime import in_virtual_time

pytestmark = pytest.mark.slow

QUICK = Times(duration_s=0.4, deadline_s=0.2, retry_s=0.02)


class Server(MemoryClient):
    """Keeps the rule of stale updates; can be cut off."""

    away = False

    async def get(self, kind, namespace, name):
        if self.away:
            raise ConnectionError("cut off")
        return await super().get(kind, namespace, name)

    async def update(self, kind, obj, *, subresource=""):
        if self.away:
            raise ConnectionError("cut off")
        there = await super().get(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
        if there["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise Conflict("stale")
        return await super().update(kind, obj, subresource=subresource)


class Worker:
    def __init__(self, client, name, times=QUICK):
        self.working = asyncio.Event()
        self.ended = asyncio.Event()
        self.election = Election(client, namespace="ns", name="one", identity=name, times=times)
        self.task = asyncio.ensure_future(self.election.lead(self.work))

    async def work(self):
        self.working.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.working.clear()
            self.ended.set()

    async def stop(self):
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, LeaseLost):
            await self.task


async def within(condition, deadline_s=30.0):
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.005)


def spec_of(client):
    return client.kept(LEASE, "ns", "one")["spec"]


@in_virtual_time
async def test_the_first_works_and_the_second_waits_until_it_gives_the_lease_back():
    client = Server()
    first = Worker(client, "first")
    await within(first.working.is_set)
    second = Worker(client, "second")
    await asyncio.sleep(0.6)  # longer than the Lease lasts without a renewal
    assert not second.working.is_set()
    await first.stop()
    assert first.ended.is_set()
    await within(second.working.is_set)
    assert spec_of(client)["holderIdentity"] == "second"
    assert spec_of(client)["leaseTransitions"] == 1
    await second.stop()
    assert spec_of(client)["holderIdentity"] == ""


@in_virtual_time
async def test_a_lease_of_one_who_vanished_is_taken_after_its_duration():
    client = Server(
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
         "metadata": {"name": "one", "namespace": "ns"},
         "spec": {"holderIdentity": "gone", "leaseDurationSeconds": 1,
                  "renewTime": "2099-01-01T00:00:00.000000Z"}},
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    began = loop.time()
    worker = Worker(client, "heir")
    await within(worker.working.is_set)
    assert loop.time() - began >= 1.0, "not before, whatever the other's clock says"
    await worker.stop()


@in_virtual_time
async def test_who_cannot_renew_stops_working_before_others_may_begin():
    client = Server()
    worker = Worker(client, "cut-off")
    await within(worker.working.is_set)
    client.away = True
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(LeaseLost, match="could not be renewed in time"):
        await worker.task
    assert worker.ended.is_set()
    assert loop.time() - began < QUICK.duration_s


@in_virtual_time
async def test_who_is_robbed_stops_at_once():
    client = Server()
    worker = Worker(client, "robbed")
    await within(worker.working.is_set)
    lease = client.kept(LEASE, "ns", "one")
    spec = {**lease["spec"], "holderIdentity": "robber", "leaseDurationSeconds": 60}
    await MemoryClient.update(client, LEASE, {**lease, "spec": spec})
    with pytest.raises(LeaseLost, match="robber holds the Lease one now"):
        await worker.task
    assert spec_of(client)["holderIdentity"] == "robber", "what is not ours is not given back"


@in_virtual_time
async def test_work_that_fails_ends_the_election_with_its_error():
    async def fail():
        raise ValueError("defect")

    election = Election(Server(), namespace="ns", name="one", identity="a", times=QUICK)
    with pytest.raises(ValueError, match="defect"):
        await election.lead(fail)
