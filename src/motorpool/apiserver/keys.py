"""Where an object stands in the store: ``deployments.apps/NAMESPACE/NAME``. Pure.

The views of a kind stand where that kind does.
"""

from motorpool.api.kinds import Kind


def key_of(kind: Kind, namespace: str, name: str) -> str:
    return f"{kind.stored.resource}/{namespace if kind.namespaced else ''}/{name}"


def prefix_of(kind: Kind, namespace: str = "") -> str:
    """What the keys of a kind, or of a kind in one namespace, begin with."""
    if kind.namespaced and namespace:
        return f"{kind.stored.resource}/{namespace}/"
    return f"{kind.stored.resource}/"
