"""Every kind that Motorpool serves, and how to find one. Pure."""

from motorpool.api import (
    apiextensions,
    apps,
    autoscaling,
    batch,
    coordination,
    core,
    discovery,
    events,
    metrics,
    networking,
    profiles,
    rbac,
    route,
    serving,
    storage,
)
from motorpool.api.kinds import Kind

KINDS: tuple[Kind, ...] = (
    *core.KINDS,
    *apps.KINDS,
    *events.KINDS,
    *autoscaling.KINDS,
    *batch.KINDS,
    *networking.KINDS,
    *storage.KINDS,
    *discovery.KINDS,
    *coordination.KINDS,
    *metrics.KINDS,
    *apiextensions.KINDS,
    *rbac.KINDS,
    *route.KINDS,
    *serving.KINDS,
    *profiles.KINDS,
)

_BY_RESOURCE = {(k.group, k.version, k.plural): k for k in KINDS}
_BY_KIND = {(k.api_version, k.kind): k for k in KINDS}


def by_resource(group: str, version: str, plural: str) -> Kind | None:
    return _BY_RESOURCE.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> Kind | None:
    """The entry for what a manifest says of itself, or None."""
    return _BY_KIND.get((api_version, kind))
