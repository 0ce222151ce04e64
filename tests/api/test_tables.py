from datetime import UTC, datetime, timedelta

import pytest

from motorpool.api import apps, core, discovery, scheme
from motorpool.api.duration import duration, since
from motorpool.api.jsonpath import BadPath, find
from motorpool.api.kinds import Kind
from motorpool.api.tables import columns_of, json_path_column, table

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = 60, 3600, 86400


def ago(seconds):
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (72, "72s"),
        (119, "119s"),
        (123, "2m3s"),
        (180, "3m"),
        (10 * MINUTE, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (5 * HOUR + 3 * MINUTE, "5h3m"),
        (8 * HOUR, "8h"),
        (47 * HOUR, "47h"),
        (3 * DAY + 4 * HOUR, "3d4h"),
        (2 * DAY, "2d"),
        (8 * DAY, "8d"),
        (729 * DAY, "729d"),
        (2 * 365 * DAY, "2y"),
        (2 * 365 * DAY + DAY, "2y1d"),
        (9 * 365 * DAY, "9y"),
    ],
)
def test_durations_read_as_kubectl_prints_them(seconds, text):
    assert duration(seconds) == text


def test_an_object_without_a_time_has_no_age():
    assert since(None, NOW) == "<unknown>"
    assert since("soon", NOW) == "<invalid>"


def obj(**fields):
    return {"metadata": {"name": "x", "creationTimestamp": ago(5 * HOUR)}, **fields}


def cells(kind, value):
    shown = table(kind, [value], now=NOW)
    assert len(shown["columnDefinitions"]) == len(shown["rows"][0]["cells"])
    return shown["rows"][0]["cells"]


def running(name="c", ready=True, restarts=0, **more):
    return {
        "name": name,
        "ready": ready,
        "restartCount": restarts,
        "state": {"running": {}},
        **more,
    }


def waiting(reason, restarts=0, **more):
    return {"name": "c", "ready": False, "restartCount": restarts,
            "state": {"waiting": {"reason": reason}}, **more}  # fmt: skip


def ended(exit_code, **more):
    return {"name": "c", "ready": False, "restartCount": 0,
            "state": {"terminated": {"exitCode": exit_code, **more}}}  # fmt: skip


def pod(phase="Running", containers=1, *, init=(), gated=False, deleting=False, **status):
    spec = {"containers": [{"name": f"c{i}"} for i in range(containers)], "nodeName": "n"}
    if init:
        spec["initContainers"] = list(init)
    made = obj(spec=spec, status={"phase": phase, **status})
    if deleting:
        made["metadata"]["deletionTimestamp"] = ago(1)
    if gated:
        condition = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
        made["status"]["conditions"] = [condition]
    return made


SIDECAR = {"name": "side", "restartPolicy": "Always"}
LAST = {"terminated": {"finishedAt": ago(126)}}


@pytest.mark.parametrize(
    ("made", "ready", "status", "restarts"),
    [
        (pod("Pending"), "0/1", "Pending", "0"),
        (pod("Pending", gated=True), "0/1", "SchedulingGated", "0"),
        (
            pod("Pending", containerStatuses=[waiting("ContainerCreating")]),
            "0/1",
            "ContainerCreating",
            "0",
        ),
        (pod(containerStatuses=[running()]), "1/1", "Running", "0"),
        (pod(containerStatuses=[running(ready=False)]), "0/1", "Running", "0"),
        (
            pod(containerStatuses=[waiting("CrashLoopBackOff", 3, lastState=LAST)]),
            "0/1",
            "CrashLoopBackOff",
            "3 (2m6s ago)",
        ),
        (pod("Failed", containerStatuses=[ended(1, reason="Error")]), "0/1", "Error", "0"),
        (pod("Failed", containerStatuses=[ended(3)]), "0/1", "ExitCode:3", "0"),
        (pod("Failed", containerStatuses=[ended(137, signal=9)]), "0/1", "Signal:9", "0"),
        (
            pod("Succeeded", containerStatuses=[ended(0, reason="Completed")]),
            "0/1",
            "Completed",
            "0",
        ),
        (pod("Failed", reason="Evicted"), "0/1", "Evicted", "0"),
        (
            pod(
                "Pending",
                init=[{"name": "a"}, {"name": "b"}],
                initContainerStatuses=[running("a", False)],
            ),
            "0/1",
            "Init:0/2",
            "0",
        ),
        (
            pod(
                "Pending",
                init=[{"name": "a"}, {"name": "b"}],
                initContainerStatuses=[ended(0, reason="Completed"), waiting("PodInitializing")],
            ),
            "0/1",
            "Init:1/2",
            "0",
        ),
        (
            pod("Pending", init=[{"name": "a"}], initContainerStatuses=[ended(4)]),
            "0/1",
            "Init:ExitCode:4",
            "0",
        ),
        (
            pod(
                init=[SIDECAR],
                initContainerStatuses=[running("side", started=True)],
                containerStatuses=[running()],
            ),
            "2/2",
            "Running",
            "0",
        ),
        (
            pod("Pending", init=[SIDECAR], initContainerStatuses=[running("side", False)]),
            "0/2",
            "Init:0/1",
            "0",
        ),
        (pod(deleting=True, containerStatuses=[running()]), "1/1", "Terminating", "0"),
        (
            pod(
                containers=2,
                containerStatuses=[ended(0, reason="Completed"), running("b")],
                conditions=[{"type": "Ready", "status": "False"}],
            ),
            "1/2",
            "NotReady",
            "0",
        ),
    ],
)
def test_a_pod_says_what_it_is_doing(made, ready, status, restarts):
    assert cells(core.POD, made)[1:5] == [ready, status, restarts, "5h"]


def test_wide_cells_of_a_pod():
    made = pod(containerStatuses=[running()], podIPs=[{"ip": "127.64.0.1"}])

    assert cells(core.POD, made)[5:] == ["127.64.0.1", "n", "<none>", "<none>"]


def test_a_finished_pod_has_a_row_condition():
    row = table(core.POD, [pod("Failed")], now=NOW)["rows"][0]

    assert row["conditions"] == [
        {"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}
    ]


TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}}
SELECTOR = {"matchLabels": {"b": "2", "a": "1"}}


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (
            apps.DEPLOYMENT,
            obj(
                spec={"replicas": 3, "selector": SELECTOR, "template": TEMPLATE},
                status={"readyReplicas": 1, "updatedReplicas": 2},
            ),
            ["x", "1/3", 2, 0, "5h", "a,b", "i,j", "a=1,b=2"],
        ),
        (
            apps.REPLICA_SET,
            obj(spec={"replicas": 3, "selector": {}}, status={"replicas": 2}),
            ["x", 3, 2, 0, "5h", "", "", "<none>"],
        ),
        (
            core.SERVICE,
            obj(
                spec={
                    "type": "NodePort",
                    "clusterIP": "10.0.0.1",
                    "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 9}],
                    "selector": {"b": "1", "a": "2"},
                }
            ),
            ["x", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP,9/TCP", "5h", "a=2,b=1"],
        ),
        (
            core.SERVICE,
            obj(spec={"type": "ClusterIP", "clusterIPs": ["None"]}),
            ["x", "ClusterIP", "None", "<none>", "<none>", "5h", "<none>"],
        ),
        (
            core.SERVICE,
            obj(spec={"type": "LoadBalancer", "clusterIP": "1.2.3.4"}),
            ["x", "LoadBalancer", "1.2.3.4", "<pending>", "<none>", "5h", "<none>"],
        ),
        (
            core.SERVICE,
            obj(spec={"type": "ExternalName", "externalName": "e.x"}),
            ["x", "ExternalName", "<none>", "e.x", "<none>", "5h", "<none>"],
        ),
        (
            discovery.ENDPOINT_SLICE,
            obj(
                addressType="IPv4",
                ports=[{"port": 80}],
                endpoints=[{"addresses": [f"1.1.1.{i}"]} for i in range(5)],
            ),
            ["x", "IPv4", "80", "1.1.1.0,1.1.1.1,1.1.1.2 + 2 more...", "5h"],
        ),
        (core.NAMESPACE, obj(status={"phase": "Active"}), ["x", "Active", "5h"]),
        (core.CONFIG_MAP, obj(data={"a": ""}, binaryData={"b": ""}), ["x", 2, "5h"]),
        (core.SECRET, obj(type="Opaque"), ["x", "Opaque", 0, "5h"]),
        (core.SERVICE_ACCOUNT, obj(), ["x", 0, "5h"]),
        (
            core.EVENT,
            obj(
                type="Normal",
                reason="Pulled",
                message="done\n",
                involvedObject={"kind": "Pod", "name": "p", "fieldPath": "spec"},
                source={"component": "node", "host": "h"},
                firstTimestamp=ago(180),
                lastTimestamp=ago(60),
                count=4,
            ),
            ["60s", "Normal", "Pulled", "pod/p", "spec", "node, h", "done", "3m", 4, "x"],
        ),
        (
            core.NODE,
            obj(
                spec={"unschedulable": True},
                status={
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                    "nodeInfo": {"kubeletVersion": "v1.32.0", "osImage": "Debian"},
                },
            ),
            [
                "x", "Ready,SchedulingDisabled", "<none>", "5h", "v1.32.0", "127.0.0.1", "<none>",
                "Debian", "<unknown>", "<unknown>",
            ],
        ),
    ],
)  # fmt: skip
def test_cells_of_built_in_kinds(kind, value, shown):
    assert cells(kind, value) == shown


@pytest.mark.parametrize("kind", scheme.KINDS, ids=lambda kind: kind.kind)
def test_every_kind_shows_an_empty_object(kind):
    shown = cells(kind, {"metadata": {"name": "bare"}})

    assert "bare" in shown


@pytest.mark.parametrize("kind", scheme.KINDS, ids=lambda kind: kind.kind)
def test_no_column_is_shown_twice(kind):
    shown = [column.name for column in columns_of(kind)]

    assert len(set(shown)) == len(shown)
    assert shown.count("Name") == 1


WIDGET = Kind(
    group="ex.io", version="v1", kind="Widget", plural="widgets", singular="widget", is_custom=True
)


def test_a_table_carries_what_was_asked_for():
    one = obj(spec={})

    shown = table(WIDGET, [one], now=NOW, resource_version="7", continue_="c", remaining=3)

    assert shown["metadata"] == {"resourceVersion": "7", "continue": "c", "remainingItemCount": 3}
    assert [column["name"] for column in shown["columnDefinitions"]] == ["Name", "Age"]
    assert shown["rows"][0]["object"] == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": one["metadata"],
    }
    none = table(WIDGET, [one], now=NOW, include_object="None", with_definitions=False)
    assert none["columnDefinitions"] is None
    assert none["rows"][0]["object"] is None
    whole = table(WIDGET, [one], now=NOW, include_object="Object")["rows"][0]["object"]
    assert whole == {**one, "kind": "Widget", "apiVersion": "ex.io/v1"}


@pytest.mark.parametrize(
    ("path", "type_", "shown"),
    [
        (".spec.size", "integer", 5),
        (".spec.size", "string", "5"),
        (".spec.on", "boolean", True),
        (".spec.nope", "string", None),
        (".status.conditions[?(@.type=='Ready')].status", "string", "True"),
        ('.status.conditions[?(@.type=="Other")].status', "string", None),
        (".status.traffic[?(@.latestRevision==true)].percent", "integer", 80),
        (".metadata.annotations.a\\.b/c", "string", "v"),
        (".metadata.annotations['a.b/c']", "string", "v"),
        (".spec.list[1]", "string", "y"),
        (".spec.list[*]", "string", "x"),
        (".spec.list", "string", '["x","y"]'),
        (".spec.when", "date", "5h"),
        (".spec.size", "date", "<invalid>"),
    ],
)
def test_a_printer_column_reads_its_path(path, type_, shown):
    widget = {
        "metadata": {"name": "w", "annotations": {"a.b/c": "v"}},
        "spec": {"size": 5, "on": True, "list": ["x", "y"], "when": ago(5 * HOUR)},
        "status": {
            "conditions": [{"type": "Age", "status": "?"}, {"type": "Ready", "status": "True"}],
            "traffic": [{"percent": 20}, {"latestRevision": True, "percent": 80}],
        },
    }

    assert json_path_column("C", path, type_).cell(widget, NOW) == shown


@pytest.mark.parametrize("path", [".spec[", ".a[?(x)]", ".a[?(@.b==c)]"])
def test_a_path_that_cannot_be_read_is_an_error(path):
    with pytest.raises(BadPath):
        find(path)
