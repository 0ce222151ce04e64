from motorpool.api import rbac
from motorpool.workloads.clusterrole import reconcile as clusterrole
from tests.workloads.cluster import Cluster, quiet, running, until

PODS = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
MODELS = {"verbs": ["get"], "apiGroups": ["x.example"], "resources": ["models"]}


def role(name, *rules, labels=None, sums=None):
    obj = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels or {}},
        "rules": list(rules),
    }
    if sums:
        obj["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": sums}]}
    return obj


async def test_a_role_that_joins_a_sum_counts_and_one_that_leaves_does_not():
    cluster = Cluster(
        role("pods", PODS, labels={"to": "view"}),
        role("view", sums={"to": "view"}, labels={"to": "edit"}),
        role("edit", sums={"to": "edit"}),
    )

    def rules(name):
        return cluster.kept(rbac.CLUSTER_ROLE, "", name)["rules"]

    async with running(cluster, clusterrole.controller):
        await until(lambda: rules("view") == [PODS] == rules("edit"))
        await cluster.create(rbac.CLUSTER_ROLE, role("models", MODELS, labels={"to": "view"}))
        await until(lambda: rules("view") == [MODELS, PODS] == rules("edit"))
        await cluster.delete(rbac.CLUSTER_ROLE, "", "models")
        await until(lambda: rules("view") == [PODS] == rules("edit"))
        await quiet(cluster)
