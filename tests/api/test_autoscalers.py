"""The two versions of a HorizontalPodAutoscaler say the same."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from motorpool.api.autoscalers import default_autoscaler, v1_of, v2_of

percents = st.integers(1, 200)
resources = st.builds(
    lambda name, percent: {
        "type": "Resource",
        "resource": {
            "name": name, "target": {"type": "Utilization", "averageUtilization": percent},
        },
    },
    st.sampled_from(["memory", "nvidia.com/gpu"]),
    percents,
)  # fmt: skip


def autoscaler(metrics, behavior=None, status=None):
    made = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "annotations": {"note": "kept"}},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "web"},
            "maxReplicas": 3,
            "metrics": metrics,
            **({"behavior": behavior} if behavior is not None else {}),
        },
        "status": status or {"currentReplicas": 0},
    }
    default_autoscaler(made)
    return made


@given(st.lists(resources, min_size=0, max_size=3), percents)
def test_nothing_is_lost_on_the_way_there_and_back(others, percent):
    target = {"type": "Utilization", "averageUtilization": percent}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    made = autoscaler([*others, cpu], {"scaleUp": {"selectPolicy": "Min"}})
    before = copy.deepcopy(made)
    assert v2_of(v1_of(made)) == made == before


def test_v1_shows_the_cpu_and_annotates_the_rest():
    condition = {"type": "AbleToScale", "status": "True"}
    current = [
        {
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "current": {"averageUtilization": 20, "averageValue": "2m"},
            },
        }
    ]
    status = {"currentReplicas": 1, "currentMetrics": current, "conditions": [condition]}
    seen = v1_of(autoscaler([], status=status))
    assert seen["spec"]["targetCPUUtilizationPercentage"] == 80
    assert seen["status"]["currentCPUUtilizationPercentage"] == 20
    assert "metrics" not in seen["spec"]
    assert "autoscaling.alpha.kubernetes.io/conditions" in seen["metadata"]["annotations"]
    assert seen["metadata"]["annotations"]["note"] == "kept"
