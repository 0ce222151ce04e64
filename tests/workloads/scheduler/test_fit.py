import pytest

from motorpool.workloads.scheduler.fit import placement
from motorpool.workloads.scheduler.resources import amounts, requests_of

NO_VICTIMS = " preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
NOT_HELPFUL = " preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."


def node(name="node1", *, allocatable=None, labels=None, **spec):
    allocatable = allocatable or {"cpu": "2", "memory": "4Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
        "status": {"allocatable": allocatable},
    }


def waiting(requests=None, **spec):
    spec = {"containers": [{"name": "c", "resources": {"requests": requests or {}}}], **spec}
    return {"metadata": {"name": "p", "namespace": "n"}, "spec": spec}


def placed(pod, *nodes, used=None):
    return placement(pod, requests_of(pod), nodes, {"node1": amounts(used)})


def test_a_pod_that_fits_goes_to_the_first_node():
    assert placed(waiting({"cpu": "2"}), node("b"), node("a")).node == "a"


def test_what_is_used_counts():
    assert placed(waiting({"cpu": "1"}), node(), used={"cpu": "1"}).node == "node1"
    assert placed(waiting({"cpu": "1"}), node(), used={"cpu": "1001m"}).message == (
        "0/1 nodes are available: 1 Insufficient cpu." + NO_VICTIMS
    )


def test_every_lack_is_named():
    pod = waiting({"cpu": "3", "memory": "5Gi", "nvidia.com/gpu": "1"})

    assert placed(pod, node(), used={"pods": "110"}).message == (
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, "
        "1 Insufficient nvidia.com/gpu, 1 Too many pods." + NOT_HELPFUL
    )


def test_without_a_node_it_says_so():
    assert placed(waiting()).message == "no nodes available to schedule pods"


def test_a_taint_needs_a_toleration():
    tainted = node(taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])
    soft = node(taints=[{"key": "gpu", "effect": "PreferNoSchedule"}])

    assert placed(waiting(), tainted).message == (
        "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}." + NOT_HELPFUL
    )
    assert placed(waiting(), soft).node == "node1"
    for toleration in (
        {"operator": "Exists"},
        {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "gpu", "value": "yes"},
    ):
        assert placed(waiting(tolerations=[toleration]), tainted).node == "node1"
    for toleration in ({"key": "gpu", "value": "no"}, {"key": "x", "operator": "Exists"}):
        assert placed(waiting(tolerations=[toleration]), tainted).node == ""


def test_a_cordoned_node_takes_nothing():
    assert placed(waiting(), node(unschedulable=True)).message == (
        "0/1 nodes are available: 1 node(s) were unschedulable." + NOT_HELPFUL
    )


def required(operator, *values):
    expression = {"key": "zone", "operator": operator, "values": list(values)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({"nodeSelector": {"zone": "7"}}, True),
        ({"nodeSelector": {"zone": "8"}}, False),
        ({"affinity": required("In", "7", "8")}, True),
        ({"affinity": required("NotIn", "7")}, False),
        ({"affinity": required("Exists")}, True),
        ({"affinity": required("DoesNotExist")}, False),
        ({"affinity": required("Gt", "6")}, True),
        ({"affinity": required("Lt", "7")}, False),
        ({"affinity": required("Gt", "-1")}, True),
        ({"affinity": required("Gt", "many")}, False),
    ],
)
def test_node_selectors_and_required_affinity_are_kept(spec, fits):
    found = placed(waiting(**spec), node(labels={"zone": "7"}))

    assert bool(found.node) == fits
    if not fits:
        assert found.message == (
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
            + NOT_HELPFUL
        )
