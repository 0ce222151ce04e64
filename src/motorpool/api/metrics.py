"""The metrics group: what pods and nodes use at this moment. Read only, and never stored."""

from motorpool.api.kinds import Kind, Schema

_TIMES = {
    "timestamp": {"type": "string", "format": "date-time"},
    "window": {"type": "string"},
}
_USAGE: Schema = {
    "type": "object",
    "additionalProperties": {"x-kubernetes-int-or-string": True, "format": "quantity"},
}


def _pod_schema() -> Schema:
    container = {"type": "object", "properties": {"name": {"type": "string"}, "usage": _USAGE}}
    containers = {"type": "array", "items": container}
    return {"type": "object", "properties": {**_TIMES, "containers": containers}}


def _node_schema() -> Schema:
    return {"type": "object", "properties": {**_TIMES, "usage": _USAGE}}


POD_METRICS = Kind(
    group="metrics.k8s.io", version="v1beta1", kind="PodMetrics", plural="pods", singular="pod",
    verbs=("get", "list"), schema=_pod_schema, is_virtual=True,
)  # fmt: skip
NODE_METRICS = Kind(
    group="metrics.k8s.io", version="v1beta1", kind="NodeMetrics", plural="nodes",
    singular="node", namespaced=False, verbs=("get", "list"), schema=_node_schema,
    is_virtual=True,
)  # fmt: skip

KINDS = (POD_METRICS, NODE_METRICS)
