"""The profiles that users of OpenShift AI choose accelerators by."""

import pytest

from motorpool.api import profiles
from motorpool.node.accelerators.device import AMD, GAUDI, NVIDIA, inventory
from motorpool.node.accelerators.profiles import profiles_of
from tests.node.accelerators.conftest import device


def test_each_kind_that_is_here_has_one_of_each_sort() -> None:
    found = inventory({}, [device("a"), device("b", index=1), device("c", GAUDI)])

    made = list(profiles_of(found, "apps"))

    assert [(kind.kind, obj["metadata"]["name"]) for kind, obj in made] == [
        ("AcceleratorProfile", "migrated-gpu"),
        ("HardwareProfile", "migrated-gpu"),
        ("AcceleratorProfile", "intel-gaudi"),
        ("HardwareProfile", "intel-gaudi"),
    ]
    assert made[0][1]["spec"] == {
        "displayName": "NVIDIA GPU",
        "description": "Found by the node: NVIDIA A100-SXM4-40GB",
        "enabled": True,
        "identifier": "nvidia.com/gpu",
        "tolerations": [{"effect": "NoSchedule", "key": "nvidia.com/gpu", "operator": "Exists"}],
    }
    assert made[1][1]["spec"]["identifiers"][0]["maxCount"] == 2


@pytest.mark.parametrize("resource", [NVIDIA, AMD, GAUDI])
def test_what_the_node_makes_is_valid(resource: str) -> None:
    for kind, obj in profiles_of(inventory({}, [device("a", resource)]), "apps"):
        assert not list(kind.validate(obj, None))


def test_a_queue_needs_its_name_and_has_no_node() -> None:
    def errors(scheduling: object) -> list[str]:
        obj = {"metadata": {}, "spec": {"scheduling": scheduling}}
        return [str(error) for error in profiles.HARDWARE_PROFILE.validate(obj, None)]

    assert errors({"type": "Queue", "kueue": {"localQueueName": "q"}}) == []
    assert errors({"type": "Node", "node": {"nodeSelector": {"a": "b"}}}) == []
    assert "kueue is given where" in errors({"type": "Queue"})[0]
    assert "node is given only where" in errors(
        {"type": "Queue", "kueue": {"localQueueName": "q"}, "node": {}}
    )[0]  # fmt: skip
