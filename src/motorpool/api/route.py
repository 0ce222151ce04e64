"""The route.openshift.io group: how the world reaches a Service."""

from motorpool.api.kinds import STATUS, Kind

ROUTE = Kind(
    group="route.openshift.io", version="v1", kind="Route", plural="routes", singular="route",
    categories=("all",), subresources=(STATUS,),
)  # fmt: skip

KINDS = (ROUTE,)
