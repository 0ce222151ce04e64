import pytest

from motorpool.api import core
from motorpool.workloads.tainteviction.plan import driving_taints, stays_s
from motorpool.workloads.tainteviction.reconcile import controller
from tests.workloads.cluster import Cluster, quiet, running, until

TAINT = {"key": "maintenance", "value": "now", "effect": "NoExecute"}
OTHER = {"key": "other", "effect": "NoExecute"}


def node(*taints):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"},
            "spec": {"taints": list(taints)}}  # fmt: skip


def pod(name, *tolerations, phase="Running", on="node1"):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "n"},
        "spec": {"nodeName": on, "tolerations": list(tolerations), "containers": []},
        "status": {"phase": phase},
    }


def for_seconds(seconds=None, key="maintenance"):
    found = {"key": key, "operator": "Exists", "effect": "NoExecute"}
    return found if seconds is None else {**found, "tolerationSeconds": seconds}


@pytest.mark.parametrize(
    ("tolerations", "taints", "stays"),
    [
        ([], [TAINT], 0.0),
        ([for_seconds()], [TAINT], None),
        ([for_seconds(30)], [TAINT], 30.0),
        ([for_seconds(-5)], [TAINT], 0.0),
        ([for_seconds(30)], [TAINT, OTHER], 0.0),
        ([for_seconds(30), for_seconds(20, "other")], [TAINT, OTHER], 20.0),
        ([{"operator": "Exists"}], [TAINT, OTHER], None),
        ([{"key": "maintenance", "value": "later"}], [TAINT], 0.0),
    ],
)
def test_a_pod_stays_as_long_as_it_tolerates_all(tolerations, taints, stays):
    assert stays_s(pod("a", *tolerations), taints) == stays


def test_only_what_drives_away_counts():
    assert driving_taints(node({"key": "a", "effect": "NoSchedule"}, TAINT)) == [TAINT]


def names(client):
    return {one["metadata"]["name"] for one in client.all(core.POD)}


async def test_a_taint_drives_away_who_does_not_tolerate_it():
    client = Cluster(
        node(), pod("goes"), pod("stays", for_seconds()), pod("soon", for_seconds(0.2)),
        pod("over", phase="Succeeded"), pod("elsewhere", on="node2"),
    )  # fmt: skip
    async with running(client, controller):
        await quiet(client)
        assert len(names(client)) == 5
        client.set(core.NODE, client.kept(core.NODE, "", "node1"), spec={"taints": [TAINT]})
        await until(lambda: names(client) == {"soon", "stays", "over", "elsewhere"})
        await until(lambda: names(client) == {"stays", "over", "elsewhere"})
        await client.create(core.POD, pod("late"))
        await until(lambda: "late" not in names(client))

    assert "Marking for deletion Pod n/goes" in client.events("TaintManagerEviction")


async def test_who_is_given_time_stays_where_the_taint_goes_before():
    client = Cluster(node(TAINT), pod("given", for_seconds(0.3)))
    async with running(client, controller):
        await quiet(client)
        client.set(core.NODE, client.kept(core.NODE, "", "node1"), spec={})
        await quiet(client)
    assert names(client) == {"given"}
