"""Strategic merge, as Kubernetes does it for pods: maps by key, some lists by item. Pure.

Lists that have a merge key are merged item by item; all other lists are replaced. The order of a
merged list is that of strategic merge patch: the overlay's items keep their order, and each item
that only the base has stands before the first overlay item that followed it in the base.
"""

from typing import Any

from motorpool.api.meta import Object

MERGE_KEYS = {
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "volumes": "name",
    "imagePullSecrets": "name",
    "containers": "name",
    "initContainers": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
}


def merged(base: Object, overlay: Object) -> Object:
    """*base* with *overlay* laid over it. A null in the overlay removes the key."""
    result = dict(base)
    for key, value in overlay.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            result[key] = merged(base[key], value)
        elif key in MERGE_KEYS and isinstance(value, list) and isinstance(base.get(key), list):
            result[key] = _merged_list(base[key], value, key)
        else:
            result[key] = value
    return result


def merged_container(base: Object, overlay: Object) -> Object:
    """A runtime's container with what the user set over it; arguments are appended.

    The base's name stays. Of two servers' flags the last one wins, which is why the user's
    arguments come after the runtime's instead of replacing them.
    """
    result = merged(base, {k: v for k, v in overlay.items() if k not in ("name", "args")})
    args = [*(base.get("args") or ()), *(overlay.get("args") or ())]
    if args:
        result["args"] = args
    return result


def _merged_list(base: list[Any], overlay: list[Any], key: str) -> list[Any]:
    merge_key = MERGE_KEYS[key]
    before = {item.get(merge_key): item for item in base}
    place = {item.get(merge_key): number for number, item in enumerate(base)}
    result = [
        _merged_item(before.get(item.get(merge_key)), item, key) for item in overlay
    ]  # fmt: skip
    named = {item.get(merge_key) for item in overlay}
    start = 0
    for item in base:
        own = item.get(merge_key)
        if own in named:
            continue
        position = start
        while (
            position < len(result) and place.get(result[position].get(merge_key), -1) < place[own]
        ):
            position += 1
        result.insert(position, item)
        start = position + 1
    return result


def _merged_item(base: Object | None, overlay: Object, key: str) -> Object:
    if base is None:
        return overlay
    if key == "env" and ("value" in overlay) != ("value" in base):
        # An environment variable has one source: the user's kind of source replaces the other.
        return overlay
    if key == "volumes" and set(overlay) != set(base):
        # A volume has one source, too.
        return overlay
    return merged(base, overlay)
