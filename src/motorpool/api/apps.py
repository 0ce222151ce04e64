"""The apps group: Deployments and ReplicaSets."""

from motorpool.api.kinds import STATUS, Kind, Subresource

SCALE = Subresource("scale", group="autoscaling", version="v1", kind="Scale")

DEPLOYMENT = Kind(
    group="apps", version="v1", kind="Deployment", plural="deployments", singular="deployment",
    short_names=("deploy",), categories=("all",), has_generation=True,
    subresources=(STATUS, SCALE),
)  # fmt: skip
REPLICA_SET = Kind(
    group="apps", version="v1", kind="ReplicaSet", plural="replicasets", singular="replicaset",
    short_names=("rs",), categories=("all",), has_generation=True, subresources=(STATUS, SCALE),
)  # fmt: skip

KINDS = (DEPLOYMENT, REPLICA_SET)
