from datetime import UTC, datetime

from motorpool.api import core
from motorpool.workloads.namespace.status import status

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_remains_is_counted_and_its_finalizers_are_named():
    held = {"metadata": {"name": "a", "finalizers": ["x/y"]}}
    free = {"metadata": {"name": "b"}}

    found = status({}, {core.CONFIG_MAP: [held, free], core.POD: [free]}, NOW)

    assert found["phase"] == "Terminating"
    content, finalizers = found["conditions"][3:]
    assert content == {
        "type": "NamespaceContentRemaining",
        "status": "True",
        "reason": "SomeResourcesRemain",
        "message": (
            "Some resources are remaining: configmaps. has 2 resource instances, "
            "pods. has 1 resource instances"
        ),
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    assert finalizers["reason"] == "SomeFinalizersRemain"
    assert finalizers["message"].endswith("x/y in 1 resource instances")


def test_without_finalizers_that_is_said():
    found = status({}, {core.POD: [{"metadata": {"name": "b"}}]}, NOW)

    assert [each["status"] for each in found["conditions"]] == [
        "False", "False", "False", "True", "False",
    ]  # fmt: skip
