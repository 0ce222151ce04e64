"""What a Pod may say about itself: ``fieldRef`` and ``resourceFieldRef``. Pure."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal

from motorpool.api.meta import Object, annotations_of, at, labels_of

_KEYED = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")
_QUANTITY = re.compile(
    r"^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
)
_SCALE = {
    "n": Decimal(10) ** -9, "u": Decimal(10) ** -6, "m": Decimal(10) ** -3, "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}  # fmt: skip


class FieldError(ValueError):
    """A field that a Pod cannot be asked for."""


def quantity(text: object) -> Decimal:
    """Raises FieldError where *text* is no quantity."""
    match = _QUANTITY.match(str(text))
    if match is None:
        raise FieldError(f"{text!r} is not a quantity")
    return Decimal(match[1]) * _SCALE[match[2] or ""]


def field_value(pod: Object, path: str, *, pod_ip: str, host_ip: str) -> str:
    """The value of a ``fieldPath``. Raises FieldError."""
    keyed = _KEYED.match(path)
    if keyed is not None:
        source = labels_of(pod) if keyed[1] == "labels" else annotations_of(pod)
        return str(source.get(keyed[2], ""))
    plain = {
        "metadata.name": ("metadata", "name"),
        "metadata.namespace": ("metadata", "namespace"),
        "metadata.uid": ("metadata", "uid"),
        "spec.nodeName": ("spec", "nodeName"),
        "spec.serviceAccountName": ("spec", "serviceAccountName"),
    }
    if path in plain:
        return str(at(pod, *plain[path], default=""))
    addresses = {
        "status.podIP": pod_ip, "status.podIPs": pod_ip,
        "status.hostIP": host_ip, "status.hostIPs": host_ip,
    }  # fmt: skip
    if path in addresses:
        return addresses[path]
    if path in ("metadata.labels", "metadata.annotations"):
        source = labels_of(pod) if path == "metadata.labels" else annotations_of(pod)
        return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(source.items()))
    raise FieldError(f"unsupported fieldPath: {path}")


def resource_value(container: Object, reference: Object, allocatable: Mapping[str, str]) -> str:
    """The value of a ``resourceFieldRef``; a limit that is not set is what the node has."""
    side, _, name = str(reference["resource"]).partition(".")
    if side not in ("limits", "requests") or not name:
        raise FieldError(f"unsupported container resource: {reference['resource']}")
    found = at(container, "resources", side, name)
    if found is None and side == "limits":
        found = allocatable.get(name)
    divisor = quantity(reference.get("divisor") or "1") or Decimal(1)
    return str(math.ceil(quantity(found or "0") / divisor))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
