"""The roles and bindings that every installation begins with. Data.

`view`, `edit` and `admin` are sums: their rules come from the roles that carry their label, so that
a role a user adds with that label counts too.
"""

from collections.abc import Iterable, Sequence

from motorpool.api import rbac
from motorpool.api.meta import Object

AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

READ = ("get", "list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")
OURS = ("serving.kserve.io",)

EVERYONE = ("system:authenticated", "system:unauthenticated")
API_PATHS = (
    "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*",
    "/readyz", "/version", "/version/",
)  # fmt: skip
PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version", "/version/")
ISSUER_PATHS = ("/.well-known/openid-configuration", "/.well-known/openid-configuration/")

# What a namespace's users see and change, by group. Secrets and RBAC stand apart on purpose.
SEEN: dict[str, tuple[str, ...]] = {
    "": (
        "bindings", "configmaps", "endpoints", "events", "limitranges", "namespaces",
        "namespaces/status", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods",
        "pods/log", "pods/status", "replicationcontrollers", "resourcequotas",
        "resourcequotas/status", "serviceaccounts", "services", "services/status",
    ),
    "apps": (
        "controllerrevisions", "daemonsets", "daemonsets/status", "deployments",
        "deployments/scale", "deployments/status", "replicasets", "replicasets/scale",
        "replicasets/status", "statefulsets", "statefulsets/scale", "statefulsets/status",
    ),
    "autoscaling": ("horizontalpodautoscalers", "horizontalpodautoscalers/status"),
    "batch": ("cronjobs", "cronjobs/status", "jobs", "jobs/status"),
    "discovery.k8s.io": ("endpointslices",),
    "events.k8s.io": ("events",),
    "metrics.k8s.io": ("nodes", "pods"),
    "networking.k8s.io": ("ingresses", "ingresses/status", "networkpolicies"),
    "policy": ("poddisruptionbudgets", "poddisruptionbudgets/status"),
    "route.openshift.io": ("routes", "routes/status"),
    "serving.kserve.io": (
        "inferencegraphs", "inferenceservices", "inferenceservices/status", "servingruntimes",
        "trainedmodels",
    ),
}  # fmt: skip
CHANGED: dict[str, tuple[str, ...]] = {
    "": (
        "configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "pods/attach",
        "pods/eviction", "pods/exec", "pods/portforward", "pods/proxy", "replicationcontrollers",
        "secrets", "serviceaccounts", "services", "services/proxy",
    ),
    "apps": (
        "daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets",
        "replicasets/scale", "statefulsets", "statefulsets/scale",
    ),
    "autoscaling": ("horizontalpodautoscalers",),
    "batch": ("cronjobs", "jobs"),
    "coordination.k8s.io": ("leases",),
    "networking.k8s.io": ("ingresses", "networkpolicies"),
    "policy": ("poddisruptionbudgets",),
    "route.openshift.io": ("routes", "routes/custom-host"),
    "serving.kserve.io": ("inferencegraphs", "inferenceservices", "servingruntimes",
                          "trainedmodels"),
}  # fmt: skip


def resources(groups: Iterable[str], names: Iterable[str], verbs: Iterable[str]) -> Object:
    return {"verbs": sorted(verbs), "apiGroups": list(groups), "resources": list(names)}


def paths(names: Iterable[str]) -> Object:
    return {"verbs": ["get"], "nonResourceURLs": list(names)}


def _role(name: str, rules: Sequence[Object], **labels: str) -> Object:
    return {
        "apiVersion": rbac.CLUSTER_ROLE.api_version,
        "kind": "ClusterRole",
        "metadata": {
            "name": name,
            "labels": {**LABELS, **{AGGREGATE + key: value for key, value in labels.items()}},
            "annotations": {AUTO_UPDATE: "true"},
        },
        "rules": list(rules),
    }


def _sum_of(name: str, part_of: str = "") -> Object:
    role = _role(name, (), **({part_of: "true"} if part_of else {}))
    selector = {"matchLabels": {AGGREGATE + name: "true"}}
    return {**role, "aggregationRule": {"clusterRoleSelectors": [selector]}}


def _binding(role: str, *groups: str) -> Object:
    return {
        "apiVersion": rbac.CLUSTER_ROLE_BINDING.api_version,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": role, "labels": LABELS, "annotations": {AUTO_UPDATE: "true"}},
        "roleRef": {"apiGroup": rbac.GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "apiGroup": rbac.GROUP, "name": name} for name in groups],
    }


def _view() -> list[Object]:
    return [resources([group], names, READ) for group, names in SEEN.items()]


def _edit() -> list[Object]:
    rules = [resources([group], names, WRITE) for group, names in CHANGED.items()]
    connecting = ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy")
    return [
        resources([""], ("secrets", *connecting), READ),
        resources(["coordination.k8s.io"], ("leases",), READ),
        resources([""], ("serviceaccounts",), ("impersonate",)),
        resources([""], ("serviceaccounts/token",), ("create",)),
        *rules,
    ]


def _admin() -> list[Object]:
    return [
        resources(["authorization.k8s.io"], ("localsubjectaccessreviews",), ("create",)),
        resources([rbac.GROUP], ("rolebindings", "roles"), (*READ, *WRITE)),
    ]


def _node() -> list[Object]:
    """What a node agent needs that runs elsewhere and speaks for its node."""
    return [
        resources([""], ("nodes",), ("create", "get", "list", "watch", "patch", "update")),
        resources([""], ("nodes/status",), ("patch", "update")),
        resources([""], ("pods",), (*READ, "create", "delete")),
        resources([""], ("pods/status",), ("patch", "update")),
        resources([""], ("pods/eviction", "serviceaccounts/token"), ("create",)),
        resources([""], ("services", "configmaps", "secrets", "persistentvolumeclaims",
                         "persistentvolumes", "serviceaccounts"), READ),
        resources(["", "events.k8s.io"], ("events",), ("create", "patch", "update")),
        resources(["coordination.k8s.io"], ("leases",), ("create", "delete", "get", "patch",
                                                         "update")),
        resources(["authentication.k8s.io"], ("tokenreviews",), ("create",)),
        resources(["authorization.k8s.io"], ("localsubjectaccessreviews", "subjectaccessreviews"),
                  ("create",)),
    ]  # fmt: skip


def default_roles() -> list[Object]:
    every = resources(["*"], ["*"], ["*"]), {"verbs": ["*"], "nonResourceURLs": ["*"]}
    asks_of_self = (
        resources(["authorization.k8s.io"],
                  ("selfsubjectaccessreviews", "selfsubjectrulesreviews"), ("create",)),
        resources(["authentication.k8s.io"], ("selfsubjectreviews",), ("create",)),
    )  # fmt: skip
    delegates = (
        resources(["authentication.k8s.io"], ("tokenreviews",), ("create",)),
        resources(["authorization.k8s.io"], ("subjectaccessreviews",), ("create",)),
    )
    return [
        _role("cluster-admin", every),
        _role("system:aggregate-to-view", _view(), view="true"),
        _role("system:aggregate-to-edit", _edit(), edit="true"),
        _role("system:aggregate-to-admin", _admin(), admin="true"),
        _sum_of("view", part_of="edit"),
        _sum_of("edit", part_of="admin"),
        _sum_of("admin"),
        _role("system:auth-delegator", delegates),
        _role("system:basic-user", asks_of_self),
        _role("system:discovery", [paths(API_PATHS)]),
        _role("system:monitoring", [paths(("/healthz", "/healthz/*", "/livez", "/livez/*",
                                           "/metrics", "/readyz", "/readyz/*"))]),
        _role("system:node", _node()),
        _role("system:public-info-viewer", [paths(PUBLIC_PATHS)]),
        _role("system:service-account-issuer-discovery",
              [paths((*ISSUER_PATHS, "/openid/v1/jwks", "/openid/v1/jwks/"))]),
    ]  # fmt: skip


def default_bindings() -> list[Object]:
    return [
        _binding("cluster-admin", "system:masters"),
        _binding("system:basic-user", "system:authenticated"),
        _binding("system:discovery", "system:authenticated"),
        _binding("system:monitoring", "system:monitoring"),
        _binding("system:node"),
        _binding("system:public-info-viewer", *EVERYONE),
        _binding("system:service-account-issuer-discovery", "system:serviceaccounts"),
    ]
