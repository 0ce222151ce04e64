"""The ClusterRoleBindings that a namespace's protected InferenceServices need. Pure.

One for each account of their pods, shared by all that run as it. The binding is of the whole
cluster, so that no owner reference can clear it away: a label says which namespace it is for. The
name is OpenDataHub's, which two pairs of namespace and account can share; the second one gets a
name of its own.
"""

import hashlib
from collections.abc import Iterable, Mapping

from motorpool.api.meta import Object, at, is_deleting, labels_of, namespace_of
from motorpool.api.serving_fields import protected_components

NAMESPACE_LABEL = "motorpool.dev/auth-delegator-of"
ROLE = "system:auth-delegator"


def bindings(
    namespace: str, isvcs: Iterable[Object], present: Mapping[str, Object]
) -> list[Object]:
    """*present*: every ClusterRoleBinding that there is, by name."""
    accounts = {
        str(at(isvc, "spec", component, "serviceAccountName") or "default")
        for isvc in isvcs
        if namespace_of(isvc) == namespace and not is_deleting(isvc)
        for component in protected_components(isvc)
    }
    return [_binding(namespace, account, present) for account in sorted(accounts)]


def is_ours(binding: Object) -> bool:
    return NAMESPACE_LABEL in labels_of(binding)


def holds(there: Object, wanted: Object) -> bool:
    """Whether *there* does what *wanted* should."""
    keys = ("kind", "name", "namespace")
    has = [{key: subject.get(key) for key in keys} for subject in there.get("subjects") or ()]
    bound = (there.get("roleRef") or {}).get("name") == ROLE
    return bound and all(subject in has for subject in wanted["subjects"])


def _binding(namespace: str, account: str, present: Mapping[str, Object]) -> Object:
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    name = f"{namespace}-{account}-auth-delegator"
    there = present.get(name)
    if there is not None and labels_of(there).get(NAMESPACE_LABEL) != namespace and not holds(
        there, {"subjects": [subject]}
    ):  # fmt: skip
        name += "-" + hashlib.sha256(f"{namespace}/{account}".encode()).hexdigest()[:8]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {
            "name": name,
            "labels": {NAMESPACE_LABEL: namespace},
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
        "subjects": [subject],
    }
