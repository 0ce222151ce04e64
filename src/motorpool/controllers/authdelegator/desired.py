"""The ClusterRoleBindings that a namespace's protected InferenceServices need. Pure.

One for each account of their pods, shared by all that run as it. The binding is of the whole
cluster, so that no owner reference can clear it away: a label says which namespace it is for.
"""

from collections.abc import Iterable

from motorpool.api.meta import Object, at, is_deleting, labels_of, namespace_of
from motorpool.api.serving_fields import protected_components

NAMESPACE_LABEL = "motorpool.dev/auth-delegator-of"
ROLE = "system:auth-delegator"


def bindings(namespace: str, isvcs: Iterable[Object]) -> list[Object]:
    accounts = {
        str(at(isvc, "spec", component, "serviceAccountName") or "default")
        for isvc in isvcs
        if namespace_of(isvc) == namespace and not is_deleting(isvc)
        for component in protected_components(isvc)
    }
    return [_binding(namespace, account) for account in sorted(accounts)]


def is_ours(binding: Object) -> bool:
    return NAMESPACE_LABEL in labels_of(binding)


def _binding(namespace: str, account: str) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {
            "name": f"{namespace}-{account}-auth-delegator",
            "labels": {NAMESPACE_LABEL: namespace},
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
