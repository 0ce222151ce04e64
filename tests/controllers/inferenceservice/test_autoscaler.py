"""The HorizontalPodAutoscaler of a component, where the API has the kind."""

import pytest

from motorpool.controllers.inferenceservice.autoscaler import autoscaler_of
from tests.controllers.inferenceservice.objects import children, isvc, runtime


def metrics_of(**spec):
    found = []
    for metric in autoscaler_of({"name": "p"}, spec)["spec"]["metrics"]:
        resource = metric["resource"]
        target = resource["target"]
        value = target.get("averageUtilization") or target.get("averageValue")
        found.append((resource["name"], target["type"], value))
    return found


def test_with_autoscalers_the_deployment_leaves_its_replicas_to_one():
    service, deployment, scaler = children([isvc(minReplicas=2), runtime()], autoscaling=True)
    assert service["kind"] == "Service"
    assert "replicas" not in deployment["spec"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 2)


@pytest.mark.parametrize(
    ("spec", "bounds"),
    [({}, (1, 1)), ({"minReplicas": 0}, (1, 1)), ({"minReplicas": 1, "maxReplicas": 3}, (1, 3)),
     ({"minReplicas": 3, "maxReplicas": 0}, (3, 3))],
)  # fmt: skip
def test_there_is_always_one_replica_and_never_a_maximum_below_the_minimum(spec, bounds):
    scaler = autoscaler_of({"name": "p"}, spec)["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == bounds


def test_the_metric_is_cpu_at_80_percent_unless_told():
    assert metrics_of() == [("cpu", "Utilization", 80)]
    assert metrics_of(scaleMetric="cpu", scaleTarget=50) == [("cpu", "Utilization", 50)]
    assert metrics_of(scaleMetric="memory", scaleTarget=70) == [("memory", "Utilization", 70)]
    assert metrics_of(scaleMetric="memory") == []


def test_listed_metrics_and_behaviour_are_passed_on():
    listed = [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 60}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {
            "type": "AverageValue", "averageValue": "1Gi"}}},
        {"type": "External", "external": {}},
    ]  # fmt: skip
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 5}}
    scaling = {"metrics": listed, "behavior": behavior}
    assert metrics_of(autoScaling=scaling) == [
        ("cpu", "Utilization", 60), ("memory", "AverageValue", "1Gi"),
    ]  # fmt: skip
    assert autoscaler_of({"name": "p"}, {"autoScaling": scaling})["spec"]["behavior"] == behavior


@pytest.mark.parametrize("scaling", ["none", "external"])
def test_other_scaling_makes_no_autoscaler(scaling):
    wanted = isvc()
    wanted["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": scaling}
    kinds = [obj["kind"] for obj in children([wanted, runtime()], autoscaling=True)]
    assert kinds == ["Service", "Deployment"]
