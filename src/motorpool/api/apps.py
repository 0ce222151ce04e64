"""The apps group: Deployments and ReplicaSets."""

from motorpool.api import columns, deployments
from motorpool.api.kinds import STATUS, Kind, Subresource
from motorpool.api.kubernetestypes import built_in
from motorpool.api.selectors import field_at

SCALE = Subresource("scale", group="autoscaling", version="v1", kind="Scale")

DEPLOYMENT = Kind(
    group="apps", version="v1", kind="Deployment", plural="deployments", singular="deployment",
    short_names=("deploy",), categories=("all",), has_generation=True,
    subresources=(STATUS, SCALE),
    schema=built_in("apps", "v1", "Deployment"), columns=columns.DEPLOYMENT,
    default=deployments.default_deployment, validate=deployments.validate_deployment,
)  # fmt: skip
REPLICA_SET = Kind(
    group="apps", version="v1", kind="ReplicaSet", plural="replicasets", singular="replicaset",
    short_names=("rs",), categories=("all",), has_generation=True, subresources=(STATUS, SCALE),
    schema=built_in("apps", "v1", "ReplicaSet"), columns=columns.REPLICA_SET,
    selectable_fields={"status.replicas": field_at("status", "replicas", default="0")},
    default=deployments.default_replica_set, validate=deployments.validate_replica_set,
)  # fmt: skip

KINDS = (DEPLOYMENT, REPLICA_SET)
